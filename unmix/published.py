"""The networks that the authors of Open-Unmix published, and how to get them.

None of them is part of this repository. ``unmix.load("umxhq")`` downloads its four
files into the cache once; without a network they can be put there by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import logging
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from common import files
from common.weights.download import digest
from common.weights.registry import UNKNOWN, Entry, File, shipped
from unmix.config import UMX, UMXHQ, UMXL, UMXSE, Network
from unmix.scoring.results import PUBLISHED

HOST = "https://zenodo.org/records"
"""Where the records lie; the environment variable ``UNMIX_URL`` names another place."""

UNSTATED = "none is stated; the original's code is MIT"
NON_COMMERCIAL = "CC BY-NC-SA 4.0"
TIMEOUT_SECONDS = 30
BLOCK = 1 << 20
logger = logging.getLogger(__name__)


class PublishedError(ValueError):
    """A published file that cannot be had, or is not the published one."""


@dataclasses.dataclass(frozen=True)
class Published:
    """The networks of one publication.

    Attributes:
        record: Number of the record on Zenodo.
        files: File by target, in the order of the sources. The eight digits in its name
            are the head of its SHA-256.
        network: Shape of the networks.
        weights: Number of trained weights of each.
        licence: Of the weights.
    """

    record: int
    files: Mapping[str, str]
    network: Network
    weights: int
    licence: str

    def url(self, file: str) -> str:
        """Name the address of one of the files."""
        root = os.environ.get("UNMIX_URL") or HOST
        return f"{root.rstrip('/')}/{self.record}/files/{file}"


def _music(record: int, heads: str, network: Network, weights: int) -> Published:
    """Describe four targets by the heads of their SHA-256."""
    targets = zip(("vocals", "drums", "bass", "other"), heads.split(), strict=True)
    files = {target: f"{target}-{head}.pth" for target, head in targets}
    licence = NON_COMMERCIAL if network == UMXL.model else UNSTATED
    return Published(record, files, network, weights, licence)


MODELS: Mapping[str, Published] = MappingProxyType(
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
        "umxse": Published(
            3786908,
            {"speech": "speech_f5e0d9f9.pth", "noise": "noise_04a6fc2d.pth"},
            UMXSE.model,
            1_583_622,
            UNSTATED,
        ),
    }
)
"""Publications by the names that ``unmix.load`` takes."""


def folder(name: str) -> Path:
    """Name the folder of the cache that a publication is downloaded to.

    >>> folder("umxhq").name
    'umxhq'
    """
    return files.cache_folder("published", name)


def is_published(path: str | Path) -> bool:
    """Say whether a name is that of a publication; what exists goes before it.

    >>> is_published("umxhq")
    True
    """
    return str(path) in MODELS and not Path(path).exists()


def fetch(name: str, targets: Sequence[str] | None = None) -> dict[str, Path]:
    """Get files of a publication, from the cache where they are there.

    Args:
        name: Name of the publication.
        targets: The targets; by default all.

    Returns:
        Its file in the cache by target, in the order of the targets.

    Raises:
        PublishedError: There is no such target, or a file is not in the cache and
            cannot be downloaded, or is not the published one.
    """
    model, place = MODELS[name], folder(name)
    wanted = list(model.files) if targets is None else list(targets)
    unknown = [target for target in wanted if target not in model.files]
    if unknown:
        raise PublishedError(
            f"{name} has no target {unknown[0]}; expected one of "
            f"{', '.join(model.files)}"
        )
    found = {target: place / model.files[target] for target in wanted}
    missing = [path.name for path in found.values() if not path.exists()]
    for file in missing:
        with files.locked(place / file):
            _obtain(model, place / file, missing)
    return found


def expected_digest(path: Path) -> str | None:
    """Find the head of the SHA-256 that a file's name tells, if it tells one.

    >>> expected_digest(Path("vocals-b62c91ce.pth"))
    'b62c91ce'
    """
    match = re.search(r"[-_]([0-9a-f]{8})$", path.stem)
    return match and match[1]


def verify(path: Path) -> str:
    """Compare a file with the head of the SHA-256 in its name.

    Args:
        path: The file; any content will do where its name tells nothing.

    Returns:
        The whole SHA-256.

    Raises:
        PublishedError: It is another one.
    """
    whole, head = digest(path), expected_digest(path)
    if head and not whole.startswith(head):
        raise PublishedError(
            f"{path} has SHA-256 {whole[:8]}..., expected {head}... by its name; it "
            "is damaged or another file, so remove and download it again"
        )
    return whole


def _obtain(model: Published, path: Path, missing: Sequence[str]) -> None:
    """Download a file under another name; it appears when it is whole and checked."""
    if path.exists():
        return  # Another process was faster.
    url, part = model.url(path.name), path.with_name(f"{path.name}.part")
    logger.info("downloading %s (weights: %s)", url, model.licence)
    try:
        _download(url, part)
    except (OSError, http.client.HTTPException) as error:
        others = ", ".join(model.url(file) for file in missing)
        raise PublishedError(
            f"{url} cannot be downloaded ({error}); connect to the network and start "
            f"again to go on, or put {others} into {path.parent}"
        ) from error
    head = expected_digest(path)
    if head and not digest(part).startswith(head):
        part.unlink()
        raise PublishedError(
            f"{url} gave a file whose SHA-256 does not begin with {head}; it was "
            f"removed, so start again, or download it by hand into {path.parent}"
        )
    part.replace(path)


def _download(url: str, part: Path) -> None:
    """Download the rest of a file, or all of it where the server knows no parts."""
    begun = part.stat().st_size if part.exists() else 0
    ask = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"})
    try:
        answer = urllib.request.urlopen(ask, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not begun:
            raise
        return  # There is nothing after what we have.
    goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    with answer, part.open("ab" if goes_on else "wb") as file:
        length = answer.headers.get("Content-Length")
        received = 0
        while block := answer.read(BLOCK):
            file.write(block)
            received += len(block)
    if length is not None and received != int(length):
        raise ConnectionError(f"it broke off after {received} of {length} bytes")


def entries() -> list[Entry]:
    """Describe all models, the bundled ones first, for the registry."""
    models = (_entry(name, model) for name, model in MODELS.items())
    return [*shipped("unmix", Path(__file__).parent / "models"), *models]


def _entry(name: str, model: Published) -> Entry:
    paths = [folder(name) / file for file in model.files.values()]
    network = model.network
    return Entry(
        name,
        "unmix",
        f"{HOST}/{model.record}",
        model.licence,
        _score(name),
        all(path.exists() for path in paths),
        [_file(model, path) for path in paths],
        {
            "targets": ", ".join(model.files),
            "sample rate": f"{network.sample_rate} Hz",
            "channels": network.channels,
            "hidden size": network.hidden_size,
            "weights": f"{model.weights} for each target",
        },
    )


def _file(model: Published, path: Path) -> File:
    there = path.exists()
    size = path.stat().st_size if there else 4 * model.weights
    head = expected_digest(path) or ""
    return File(path, model.url(path.name), size, about=not there, sha256=head)


def _score(name: str) -> str:
    """Tell the medians of the signal to distortion ratio."""
    if name not in PUBLISHED:
        return UNKNOWN
    values = (f"{target} {row['SDR']}" for target, row in PUBLISHED[name].items())
    return f"SDR {', '.join(values)} dB (MUSDB18 test, medians)"


def main(argv: Sequence[str] | None = None) -> int:
    """Print name, folder, address and size of every download."""
    parser = argparse.ArgumentParser("unmix.published", description=main.__doc__)
    parser.add_argument(
        "model", nargs="*", help=f"of {', '.join(MODELS)} (default: all)"
    )
    wanted = parser.parse_args(argv).model or list(MODELS)
    unknown = [name for name in wanted if name not in MODELS]
    if unknown:
        sys.stderr.write(
            f"unmix.published: {unknown[0]} is no published model; expected "
            f"{', '.join(MODELS)}\n"
        )
        return 1
    for name in wanted:
        model = MODELS[name]
        for file in model.files.values():
            row = name, folder(name), model.url(file), 4 * model.weights
            sys.stdout.write("\t".join(map(str, row)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
