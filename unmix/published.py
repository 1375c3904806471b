"""The networks and scores that the authors of Open-Unmix published.

The networks are not part of this repository. ``unmix.load("umxhq")`` downloads its
four files once; ``python -m unmix.published`` lists the addresses and the folders of
the cache, for a machine without internet.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from common.download import DownloadError, expected_digest, obtain
from common.files import cache_folder
from common.weights.card import NOT_MEASURED
from common.weights.entry import Entry, File, published_file
from unmix.config import UMX, UMXHQ, UMXL, UMXSE, Network

HOST = "https://zenodo.org/records"
"""Host of the records; the environment variable ``UNMIX_URL`` replaces it."""

UNSTATED = "none is stated; the original's code is MIT"
NON_COMMERCIAL = "CC BY-NC-SA 4.0"
NOT_VERIFIED = "not verified, see its record; asteroid's code is MIT"
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Publication:
    """The networks of one publication.

    Attributes:
        record: Number of the record on Zenodo.
        files: File by target, in the order of the sources. The eight digits in its name
            are the first of its SHA-256. Networks that are bridged lie in one file.
        network: Shape of the networks.
        weights: Number of trained weights of each, None if it is not known.
        licence: Licence of the weights.
    """

    record: int
    files: Mapping[str, str]
    network: Network
    weights: int | None
    licence: str

    def url(self, file: str) -> str:
        """Return the address of one of the files."""
        root = os.environ.get("UNMIX_URL") or HOST
        return f"{root.rstrip('/')}/{self.record}/files/{file}"


def _music(record: int, heads: str, network: Network, weights: int) -> Publication:
    """Describe four targets by the first digits of their SHA-256."""
    targets = zip(("vocals", "drums", "bass", "other"), heads.split(), strict=True)
    names = {target: f"{target}-{head}.pth" for target, head in targets}
    licence = NON_COMMERCIAL if network == UMXL.model else UNSTATED
    return Publication(record, names, network, weights, licence)


def _bridged(
    record: int, file: str, network: Network, weights: int | None
) -> Publication:
    """Describe the four targets of X-UMX, which lie in one file."""
    targets = "vocals", "drums", "bass", "other"
    shape = dataclasses.replace(network, bridged=True)
    files = dict.fromkeys(targets, file)
    return Publication(record, files, shape, weights, NOT_VERIFIED)


MODELS: Mapping[str, Publication] = MappingProxyType(
    {
        "umx": _music(
            3370486, "c8df74a5 5a48008b 646024d3 f8e132cc", UMX.model, 8_893_348
        ),
        "umxhq": _music(
            3370489, "b62c91ce 9619578f 8d85a5bd b52fbbf7", UMXHQ.model, 8_893_348
        ),
        "umxl": _music(
            5069601, "bccbd9aa 69e0ebd4 2ca1ce51 c8c5b3e6", UMXL.model, 28_257_188
        ),
        "umxse": Publication(
            3786908,
            {"speech": "speech_f5e0d9f9.pth", "noise": "noise_04a6fc2d.pth"},
            UMXSE.model,
            1_583_622,
            UNSTATED,
        ),
        "xumx": _bridged(4704231, "pretrained_xumx.pth", UMX.model, 8_893_348),
        "xumxhq": _bridged(
            4740378, "pretrained_xumx_musdb18HQ.pth", UMXHQ.model, 8_893_348
        ),
        "xumxl": _bridged(7128659, "pretrained_xumxl.pth", UMX.model, None),
    }
)
"""Publications by the names that ``unmix.load`` takes."""


@functools.cache
def medians() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Return published medians in dB by publication, target and metric.

    They are of the test set of MUSDB18, four targets, one iteration of the filter. All
    numbers are quoted from the authors.
    """
    # Separation needs no scores.
    from common.evaluation import published as numbers

    rows: dict[str, dict[str, dict[str, float]]] = {}
    for number in numbers.read(Path(__file__).parent):
        if number.amount is not None:
            cells = rows.setdefault(number.row, {}).setdefault(number.condition, {})
            cells[number.measure] = number.amount
    return rows


def folder(name: str) -> Path:
    """Return the folder of the cache that a publication is downloaded to.

    >>> folder("umxhq").name
    'umxhq'
    """
    return cache_folder("published", name)


def fetch(name: str, targets: Sequence[str] | None = None) -> dict[str, Path]:
    """Download the files of a publication that the cache does not hold.

    Args:
        name: Name of the publication.
        targets: The targets; by default all.

    Returns:
        File in the cache by target, in the order of the targets.

    Raises:
        DownloadError: There is no such target, or a file cannot be downloaded or is
            not the published one.
    """
    publication = MODELS[name]
    chosen = list(publication.files) if targets is None else list(targets)
    unknown = [target for target in chosen if target not in publication.files]
    if unknown:
        raise DownloadError(
            f"{name} has no target {unknown[0]}; expected one of "
            f"{', '.join(publication.files)}"
        )
    paths = {target: folder(name) / publication.files[target] for target in chosen}
    missing = [path for path in paths.values() if not path.exists()]
    if missing:
        logger.info("%s: licence of the weights: %s", name, publication.licence)
    for path in missing:
        try:
            obtain(publication.url(path.name), path, expected_digest(path) or "")
        except DownloadError as error:
            urls = ", ".join(publication.url(file.name) for file in missing)
            raise DownloadError(f"{error}; {name} needs {urls}") from error
    return paths


def entries() -> list[Entry]:
    """Describe all models for the registry."""
    return [_entry(name, model) for name, model in MODELS.items()]


def _entry(name: str, model: Publication) -> Entry:
    names = dict.fromkeys(model.files.values())
    paths = [folder(name) / file for file in names]
    network = model.network
    facts: dict[str, object] = {
        "targets": ", ".join(model.files),
        "sample rate": f"{network.sample_rate} Hz",
        "channels": network.channels,
    }
    if model.weights is not None:
        facts["hidden size"] = network.hidden_size
        facts["weights"] = f"{model.weights} for each target"
    if network.bridged:
        facts["checked"] = "verified on a synthetic file of the same layout"
    return Entry(
        name,
        "unmix",
        f"{HOST}/{model.record}",
        model.licence,
        _score(name),
        all(path.exists() for path in paths),
        [_file(model, path) for path in paths],
        facts,
    )


def _file(model: Publication, path: Path) -> File:
    head = expected_digest(path) or ""
    return published_file(path, model.url(path.name), _size(model), True, head)


def _size(model: Publication) -> int | None:
    """Return the size of each file of a publication, in bytes."""
    if model.weights is None:
        return None
    return 4 * model.weights * len(model.files) // len(set(model.files.values()))


def _score(name: str) -> str:
    """Return the medians of the signal-to-distortion ratio as text."""
    if name not in medians():
        return NOT_MEASURED
    values = (f"{target} {row['SDR']}" for target, row in medians()[name].items())
    return f"SDR {', '.join(values)} dB (MUSDB18 test, medians)"


def main(argv: Sequence[str] | None = None) -> int:
    """Print name, folder, address and size of every download."""
    parser = argparse.ArgumentParser("unmix.published", description=main.__doc__)
    parser.add_argument(
        "model", nargs="*", help=f"of {', '.join(MODELS)} (default: all)"
    )
    names = parser.parse_args(argv).model or list(MODELS)
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        sys.stderr.write(
            f"unmix.published: {unknown[0]} is not a published model; expected "
            f"{', '.join(MODELS)}\n"
        )
        return 1
    for name in names:
        model = MODELS[name]
        for file in dict.fromkeys(model.files.values()):
            size = _size(model) or "unknown"
            row = name, folder(name), model.url(file), size
            sys.stdout.write("\t".join(map(str, row)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
