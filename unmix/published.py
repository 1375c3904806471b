"""The networks and scores that the authors of Open-Unmix published.

The networks are not part of this repository. ``unmix.load("umxhq")`` downloads its
four files once; ``python -m unmix.published`` lists the addresses and the folders of
the cache, for a machine without internet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.evaluation import published as numbers
from common.weights.card import NOT_MEASURED
from common.weights.download import expected_digest
from common.weights.registry import Entry, File, published_file, shipped
from unmix import weights
from unmix.weights import (
    BUNDLED,
    HOST,
    MODELS,
    Publication,
    download_folder,
)


def _scores() -> dict[str, dict[str, dict[str, float]]]:
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for number in numbers.read(Path(__file__).parent):
        if number.amount is not None:
            cells = rows.setdefault(number.row, {}).setdefault(number.condition, {})
            cells[number.measure] = number.amount
    return rows


SCORES: Mapping[str, Mapping[str, Mapping[str, float]]] = _scores()
"""Medians in dB by publication, target and metric: the test set of MUSDB18, four
targets, one iteration of the filter. All numbers are quoted from the authors.
"""


def fetch(name: str) -> None:
    """Download the files of a publication that the cache does not hold.

    Args:
        name: Key of :data:`unmix.weights.MODELS`.

    Raises:
        DownloadError: A file cannot be downloaded or is not the published one.
    """
    weights.fetch(name)


def entries() -> list[Entry]:
    """Describe all models for the registry, the bundled ones first."""
    published = (_entry(name, model) for name, model in MODELS.items())
    return [*shipped("unmix", BUNDLED), *published]


def _entry(name: str, model: Publication) -> Entry:
    names = dict.fromkeys(model.files.values())
    paths = [download_folder(name) / file for file in names]
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
    if name not in SCORES:
        return NOT_MEASURED
    values = (f"{target} {row['SDR']}" for target, row in SCORES[name].items())
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
            row = name, download_folder(name), model.url(file), size
            sys.stdout.write("\t".join(map(str, row)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
