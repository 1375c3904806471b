"""The models that Google published: where they lie, and what is known of them.

The folders are not part of this repository; ``run_verify_published_weights.sh``
downloads them into the cache and compares each with its own meta graph.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from common import cache
from common.checkpoint import CheckpointError
from mixit.architecture import PUBLISHED_RATE, Options

APACHE = "Apache-2.0"
SYNTHETIC = "verified on a synthetic file of the same layout"
VERIFIED = "verified on the published file"
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Published:
    """One published model.

    Attributes:
        place: Folder below the root of its host, or an archive.
        files: Size in bytes of each file, 0 where it is not known.
        prefix: Name of the checkpoint among them.
        sample_rate: Rate that it was trained at, in Hz.
        num_sources: Number of its outputs.
        state: What the native network was compared with.
        licence: Of the weights.
    """

    place: str
    files: Mapping[str, int]
    prefix: str
    sample_rate: int
    num_sources: int
    state: str = SYNTHETIC
    licence: str = APACHE


def _folder(
    place: str, step: int, sample_rate: int, num_sources: int, data: int, index: int = 0
) -> Published:
    """Describe a folder of files with the names that training gives them."""
    prefix = f"model.ckpt-{step}"
    files = {
        "inference.meta": 0,
        f"{prefix}.index": index,
        f"{prefix}.data-00000-of-00001": data,
    }
    return Published(place, files, prefix, sample_rate, num_sources)


def _archive(name: str, stem: str) -> Published:
    return Published(
        f"{name}.tar.gz",
        {
            f"{stem}_inference.meta": 0,
            f"{stem}_model.index": 0,
            f"{stem}_model.data-00000-of-00001": 0,
        },
        f"{stem}_model",
        16000,
        4,
        licence="see the record",
    )


BIRDS = "bird_mixit_model_checkpoints"

MODELS: Mapping[str, Published] = MappingProxyType(
    {
        "yfcc100m": _folder("yfcc100m_mixit_model_checkpoint", 3547330, 16000, 8, 0),
        "bird4": _folder(
            f"{BIRDS}/output_sources4", 3223090, 22050, 4, 110_260_324, 17_670
        ),
        "bird8": _folder(f"{BIRDS}/output_sources8", 2178900, 22050, 8, 113_406_052),
        "fuss_baseline": _archive("FUSS_baseline_model", "baseline"),
        "fuss_baseline_dry": _archive("FUSS_baseline_dry_model", "baseline_dry"),
    }
)
"""Models by the names that ``mixit.load`` takes."""


def folder(name: str) -> Path:
    """Name the folder of the cache that a model is downloaded to.

    >>> folder("bird4").name
    'bird4'
    """
    return cache.folder("published", name)


def resolve(path: str | Path) -> Path:
    """Find the checkpoint that a name or a path stands for.

    Args:
        path: Name of a published model, or any path, which is returned as it is. What
            exists goes before a name.

    Raises:
        CheckpointError: The model is not in the cache.
    """
    name = str(path)
    if Path(path).exists() or name not in MODELS:
        return Path(path)
    prefix = _within(folder(name), MODELS[name].prefix)
    if prefix is None:
        raise CheckpointError(
            f"{name} is a published model that is not in {folder(name)}; "
            f"'./run_verify_published_weights.sh {name}' downloads and checks it"
        )
    return prefix


def with_rate(prefix: Path, options: Options) -> Options:
    """Give a checkpoint with a published name the rate of its training.

    Args:
        prefix: Prefix of the checkpoint.
        options: Those of the caller; a rate other than the default stays.
    """
    if options.sample_rate != PUBLISHED_RATE:
        return options
    for name, model in MODELS.items():
        if model.prefix == prefix.name and model.sample_rate != options.sample_rate:
            logger.warning("%s is %s: %d Hz", prefix, name, model.sample_rate)
            return dataclasses.replace(options, sample_rate=model.sample_rate)
    return options


def _within(place: Path, prefix: str) -> Path | None:
    """Find a checkpoint in a folder or a folder of that, as archives have them."""
    found = sorted(place.rglob(f"{prefix}.index"))
    return found[0].with_suffix("") if found else None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of published models; returns the exit code."""
    lines = [
        "\t".join((name, model.place, file, str(size), str(folder(name)), model.prefix))
        for name, model in MODELS.items()
        for file, size in model.files.items()
        if not argv or name in argv
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if lines else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
