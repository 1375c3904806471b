"""The models that Google published: where they lie, and what is known of them.

None of them is part of this repository; ``./run_verify_published_weights.sh`` downloads
them into the cache and compares each with the meta graph that was published with it.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from common import files
from common.files import user_path
from common.training.checkpoint import CheckpointError
from common.weights.registry import UNKNOWN, Entry, File, shipped
from mixit import embedded
from mixit.checkpoints.architecture import Options
from mixit.scoring.results import PUBLISHED

SYNTHETIC = "verified on a synthetic file of the same layout"
VERIFIED = "verified on the published file"

HOSTS = {
    "GRESEARCH_URL": "https://storage.googleapis.com/gresearch/sound_separation",
    "ZENODO_URL": "https://zenodo.org/record/3743844/files",
}
"""Where models lie, by the environment variable that names another place."""

BIRDS = "bird_mixit_model_checkpoints"
APACHE = "Apache-2.0"
UNSTATED = "none is stated; Google's code is Apache-2.0, FUSS is CC BY 4.0"
ROWS = {"yfcc100m": "yfcc100m", "fuss_baseline": "fuss_supervised"}
"""Row of the table of published scores that a model belongs to, by its name."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Published:
    """One published model.

    Attributes:
        host: Key of :data:`HOSTS`.
        place: Folder on the host, empty for its top.
        files: What is downloaded, with its size in bytes, 0 where it is not known.
        prefix: Name of the checkpoint.
        sample_rate: Rate that it was trained at, in Hz.
        num_sources: Number of its outputs.
        licence: Of the weights.
        state: What the native network was compared with for this release.
    """

    host: str
    place: str
    files: Mapping[str, int]
    prefix: str
    sample_rate: int
    num_sources: int
    licence: str = APACHE
    state: str = SYNTHETIC

    def url(self, file: str, published: bool = False) -> str:
        """Name the address of one of the files, or the one that was published."""
        root = (not published and os.environ.get(self.host)) or HOSTS[self.host]
        return "/".join(part for part in (root.rstrip("/"), self.place, file) if part)


def _folder(
    place: str, step: int, sizes: tuple[int, int], sample_rate: int, num_sources: int
) -> Published:
    """Describe a folder with names as training gives them; sizes of index and data."""
    prefix = f"model.ckpt-{step}"
    index, data = sizes
    files = {
        "inference.meta": 0,
        f"{prefix}.index": index,
        f"{prefix}.data-00000-of-00001": data,
    }
    return Published("GRESEARCH_URL", place, files, prefix, sample_rate, num_sources)


def _archive(name: str, prefix: str) -> Published:
    files = {f"{name}.tar.gz": 0}
    return Published("ZENODO_URL", "", files, prefix, 16000, 4, UNSTATED)


# Data files hold 12 bytes for every weight, because Adam's moments are in them, and 16.
MODELS: Mapping[str, Published] = MappingProxyType(
    {
        "yfcc100m": _folder(
            "yfcc100m_mixit_model_checkpoint", 3547330, (0, 0), 16000, 8
        ),
        "bird4": _folder(
            f"{BIRDS}/output_sources4", 3223090, (17_670, 110_260_324), 22050, 4
        ),
        "bird8": _folder(
            f"{BIRDS}/output_sources8", 2178900, (0, 113_406_052), 22050, 8
        ),
        "fuss_baseline": _archive("FUSS_baseline_model", "baseline_model"),
        "fuss_baseline_dry": _archive("FUSS_baseline_dry_model", "baseline_dry_model"),
    }
)
"""Models by the names that ``mixit.load`` takes."""


def folder(name: str) -> Path:
    """Name the folder of the cache that a model is downloaded to.

    >>> folder("bird4").name
    'bird4'
    """
    return files.cache_folder("published", name)


def resolve(path: str | Path) -> Path:
    """Find the checkpoint that a name or a path stands for.

    Args:
        path: Name of the embedded or of a published model, or any path, whose ``~`` is
            expanded. A checkpoint or folder that exists goes before a name.

    Raises:
        CheckpointError: The model is not in the cache.
    """
    name, found = str(path), user_path(path)
    if found.exists() or Path(f"{found}.index").exists():
        return found
    if name not in MODELS:
        return embedded.find(name) or found
    place, prefix = folder(name), MODELS[name].prefix
    # An archive may hold its files in a folder of their own.
    indices = sorted(place.rglob(f"{prefix}.index"))
    if indices:
        return indices[0].with_suffix("")
    raise CheckpointError(
        f"{name} is a published model, but {place} does not hold {prefix}; "
        f"'./run_verify_published_weights.sh {name}' downloads and checks it"
    )


def with_rate(prefix: Path, options: Options) -> Options:
    """Give a checkpoint with the name of a published one the rate of its training.

    Args:
        prefix: Prefix of the checkpoint.
        options: Those of the caller; a rate that is given stays.
    """
    if options.sample_rate is not None:
        return options
    for name, model in MODELS.items():
        if model.prefix == prefix.name:
            logger.info("%s is %s: %d Hz", prefix, name, model.sample_rate)
            return dataclasses.replace(options, sample_rate=model.sample_rate)
    return options


def entries() -> list[Entry]:
    """Describe all models, the bundled ones first, for the registry."""
    models = (_entry(name, model) for name, model in MODELS.items())
    return [*shipped("mixit", embedded.FOLDER), *models]


def _entry(name: str, model: Published) -> Entry:
    place = folder(name)
    return Entry(
        name,
        "mixit",
        f"{HOSTS[model.host]}/{model.place}".rstrip("/"),
        model.licence,
        _score(name),
        any(place.rglob(f"{model.prefix}.index")),
        [
            File(place / file, model.url(file), size or None)
            for file, size in model.files.items()
        ],
        {
            "sample rate": f"{model.sample_rate} Hz",
            "outputs": model.num_sources,
            "state": model.state,
        },
    )


def _score(name: str) -> str:
    if name not in ROWS:
        return UNKNOWN
    row = PUBLISHED[ROWS[name]]
    values = ", ".join(f"{measure} {value}" for measure, value in row.values.items())
    return f"{values or UNKNOWN} on {row.test_set} ({row.source})"


def main(argv: Sequence[str] | None = None) -> int:
    """Print name, folder, address and size of every download; returns the exit code."""
    wanted = list(sys.argv[1:] if argv is None else argv) or list(MODELS)
    unknown = [name for name in wanted if name not in MODELS]
    if unknown:
        sys.stderr.write(
            f"mixit.published: {unknown[0]} is no published model; expected "
            f"{', '.join(MODELS)}\n"
        )
        return 1
    for name in wanted:
        for file, size in MODELS[name].files.items():
            row = name, folder(name), MODELS[name].url(file), size
            sys.stdout.write("\t".join(map(str, row)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
