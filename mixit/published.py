"""Published models with their addresses, and published scores beside ours.

None of the models is part of this repository; ``mixit.load("yfcc100m")`` downloads its
files into the cache once, and ``./run_verify_published_weights.sh`` compares each model
with the meta graph that was published with it.

``published.csv`` holds the numbers of publications that could be read. ``python -m
mixit.evaluate --table SUMMARY...`` writes the table of ``mixit/results.md`` from the
``summary.json`` of evaluations. Rows without a run are marked, and the synthetic
miniature has its own table without published numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from common import files
from common.download import DownloadError, obtain
from common.weights.card import NOT_MEASURED
from common.weights.entry import Entry, published_file
from mixit.config import FUSS, FUSS_SUPERVISED, MixitConfig

if TYPE_CHECKING:
    from mixit.google.architecture import Options

SYNTHETIC = "verified on a synthetic file of the same layout"
VERIFIED = "verified on the published file"

HOSTS = {
    "GRESEARCH_URL": "https://storage.googleapis.com/gresearch/sound_separation",
    "ZENODO_URL": "https://zenodo.org/record/3743844/files",
}
"""Addresses of the hosts, by the environment variable that replaces each."""

BIRDS = "bird_mixit_model_checkpoints"
APACHE = "Apache-2.0"
UNSTATED = "none is stated; Google's code is Apache-2.0, FUSS is CC BY 4.0"
ROWS = {"yfcc100m": "yfcc100m", "fuss_baseline": "fuss_supervised"}
"""Row of the table of published scores that a model belongs to, by its name."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        host: Key of :data:`HOSTS`.
        path: Folder on the host, empty for its top.
        files: Files to download, with their sizes in bytes, 0 if unknown.
        prefix: Name of the checkpoint.
        sample_rate: Rate that it was trained at, in Hz.
        num_sources: Number of its outputs.
        licence: Licence of the weights.
        state: How the native network was verified for this release.
    """

    host: str
    path: str
    files: Mapping[str, int]
    prefix: str
    sample_rate: int
    num_sources: int
    licence: str = APACHE
    state: str = SYNTHETIC

    def url(self, file: str, published: bool = False) -> str:
        """Return the address of a file, or its published address."""
        root = (not published and os.environ.get(self.host)) or HOSTS[self.host]
        return "/".join(part for part in (root.rstrip("/"), self.path, file) if part)


def _folder(
    path: str, step: int, sizes: tuple[int, int], sample_rate: int, num_sources: int
) -> Model:
    """Describe a folder with the names of a training, and sizes of index and data."""
    prefix = f"model.ckpt-{step}"
    index, data = sizes
    files = {
        "inference.meta": 0,
        f"{prefix}.index": index,
        f"{prefix}.data-00000-of-00001": data,
    }
    return Model("GRESEARCH_URL", path, files, prefix, sample_rate, num_sources)


def _archive(name: str, prefix: str) -> Model:
    files = {f"{name}.tar.gz": 0}
    return Model("ZENODO_URL", "", files, prefix, 16000, 4, UNSTATED)


# Data files hold 12 bytes for every weight, because Adam's moments are in them, and 16.
MODELS: Mapping[str, Model] = MappingProxyType(
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


NOT_RUN = "not run here"
NOT_ESTABLISHED = "not established"
RATES = ("under", "equal", "over")


class PublishedScore(NamedTuple):
    """A row of a publication.

    Attributes:
        model: The model and its training data.
        test_set: The test set.
        values: Numbers as printed, by measure; missing ones could not be read.
        source: The publication.
    """

    model: str
    test_set: str
    values: dict[str, str]
    source: str


@functools.cache
def scores() -> Mapping[str, PublishedScore]:
    """Return the published rows by the preset that reproduces each.

    The row ``sparse`` is that of any run with this loss.
    """
    # Separation needs no scores.
    from common.evaluation import published as numbers

    rows: dict[str, PublishedScore] = {}
    for number in numbers.read(Path(__file__).parent):
        empty = PublishedScore(number.model, number.condition, {}, number.source)
        row = rows.setdefault(number.row, empty)
        if number.value:
            row.values[number.measure] = number.text
    return rows


def folder(name: str) -> Path:
    """Return the folder of the cache for a model.

    >>> folder("bird4").name
    'bird4'
    """
    return files.cache_folder("published", name)


def checkpoint(name: str) -> Path:
    """Return the prefix of a published checkpoint, downloaded unless it is cached.

    Args:
        name: Key of :data:`MODELS`.

    Raises:
        DownloadError: It cannot be downloaded, or its archive lacks it.
    """
    return _cached(name) or fetch(name)


def fetch(name: str) -> Path:
    """Download the files of a published model that the cache does not hold.

    Args:
        name: Key of :data:`MODELS`.

    Returns:
        Prefix of its checkpoint in the cache.

    Raises:
        DownloadError: A file cannot be downloaded or is not the published one, or the
            archive lacks the model.
    """
    model, cached = MODELS[name], folder(name)
    logger.info("%s: licence of the weights: %s", name, model.licence)
    # The index is downloaded last: a model that has one is complete.
    for file in sorted(model.files, key=lambda file: file.endswith(".index")):
        path = obtain(model.url(file), cached / file, size=model.files[file] or None)
        if file.endswith(".tar.gz"):
            _unpack(path, cached / path.name.removesuffix(".tar.gz"))
    prefix = _cached(name)
    if prefix is None:
        raise DownloadError(
            f"{cached} does not hold {model.prefix} after the download; remove the "
            "folder and start again"
        )
    return prefix


def _cached(name: str) -> Path | None:
    # An archive may hold its files in a folder of their own.
    indices = sorted(folder(name).rglob(f"{MODELS[name].prefix}.index"))
    return indices[0].with_suffix("") if indices else None


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the files of an archive into the folder of the target only."""
    with files.replacing_folder(target, overwrite=True) as work:
        try:
            with tarfile.open(archive) as content:
                for member in filter(tarfile.TarInfo.isfile, content):
                    inner = content.extractfile(member)
                    with (work / Path(member.name).name).open("wb") as file:
                        shutil.copyfileobj(inner, file)  # type: ignore[arg-type]
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            archive.unlink()
            raise DownloadError(
                f"{archive} is not an archive, or a damaged one ({error}); it was "
                "removed, so start again to download it"
            ) from error


def with_rate(prefix: Path, options: Options) -> Options:
    """Set the sample rate of a checkpoint with the name of a published one.

    Args:
        prefix: Prefix of the checkpoint.
        options: Options of the caller; a given rate is kept.
    """
    if options.sample_rate is not None:
        return options
    for name, model in MODELS.items():
        if model.prefix == prefix.name:
            logger.info("%s is %s: %d Hz", prefix, name, model.sample_rate)
            return dataclasses.replace(options, sample_rate=model.sample_rate)
    return options


def entries() -> list[Entry]:
    """Describe all models for the registry."""
    return [_entry(name, model) for name, model in MODELS.items()]


def _entry(name: str, model: Model) -> Entry:
    return Entry(
        name,
        "mixit",
        f"{HOSTS[model.host]}/{model.path}".rstrip("/"),
        model.licence,
        _score(name),
        _cached(name) is not None,
        [
            published_file(folder(name) / file, model.url(file), size or None)
            for file, size in model.files.items()
        ],
        {
            "sample rate": f"{model.sample_rate} Hz",
            "outputs": model.num_sources,
            "state": model.state,
        },
    )


def _score(name: str) -> str:
    row = scores()[ROWS[name]] if name in ROWS else None
    if row is None or not row.values:
        return NOT_MEASURED
    values = ", ".join(f"{measure} {value}" for measure, value in row.values.items())
    return f"{values} on {row.test_set} ({row.source})"


def row_of(config: MixitConfig) -> str | None:
    """Return the published row that a run reproduces.

    Args:
        config: Configuration of the run.

    Returns:
        Its name in :func:`scores`; None if network, losses or corpus differ.
    """
    if config.dataset != "fuss":
        return None
    if config.sparsity != "none":
        shape = dataclasses.replace(config.model, num_sources=FUSS.model.num_sources)
        return "sparse" if shape == FUSS.model and not config.labelled else None
    # The network of the published baseline differs from that of Google's later program.
    baseline = dataclasses.replace(
        FUSS_SUPERVISED.model, skip_connections=True, front_padding=False
    )
    for name, preset in (("fuss", FUSS), ("fuss_supervised", FUSS_SUPERVISED)):
        models = (preset.model, baseline) if preset.labelled else (preset.model,)
        same = (config.labelled, config.segment_seconds)
        if config.model in models and same == (preset.labelled, preset.segment_seconds):
            return name
    return None


def read_summary(path: str | Path) -> dict[str, Any]:
    """Read a ``summary.json``.

    Raises:
        ValueError: The file is not a summary.
    """
    try:
        summary = json.loads(Path(path).read_text("utf-8"))
        return {**summary, "examples": int(summary["examples"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a summary.json of an evaluation ({error!r}); name one that "
            "python -m mixit.evaluate wrote"
        ) from error


def summary_table(summary: Mapping[str, Any]) -> str:
    """Write the summary of one evaluation as a Markdown table.

    Args:
        summary: Of :func:`mixit.metrics.summarise` or
            ``summarise_mixtures``, with ``row`` (a name in :func:`scores` or None) and
            ``synthetic``.

    Returns:
        A line of origin and a table, with a published column if there is a row.
    """
    from common.evaluation.table import markdown

    row = None if summary.get("synthetic") else scores().get(summary.get("row") or "")
    pooled = "mixtures" if "MoMi" in summary else "sources"
    head = ["measure", "mean", "deviation", pooled]
    columns = [*head, "published"] if row else head
    table = markdown(columns, _cells(summary, row))
    return f"{_origin(summary, row)}\n\n{table}"


def scores_table(summaries: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write published numbers and ours beside them as Markdown tables.

    Args:
        summaries: Contents of ``summary.json`` files.

    Returns:
        A table of the published rows, and one of the runs on synthetic sounds.
    """
    from common.evaluation.table import markdown

    real = {
        summary.get("row"): summary
        for summary in summaries
        if not summary.get("synthetic")
    }
    head = ["preset", "model", "test set", "1S", "published", "MSi", "published"]
    cells = []
    for name, row in scores().items():
        line = [f"`{name}`", row.model, row.test_set]
        for measure in ("1S", "MSi"):
            ours = _mean(real[name], measure) if name in real else NOT_RUN
            line += [ours, row.values.get(measure, NOT_ESTABLISHED)]
        cells.append([*line, row.source])
    text = markdown([*head, "published in"], cells)
    synthetic = [
        [f"`{summary.get('model')}`", str(summary["examples"])]
        + [_mean(summary, measure) for measure in ("1S", "MSi")]
        for summary in summaries
        if summary.get("synthetic")
    ]
    if synthetic:
        text += "\nOn synthetic sounds, which say nothing about recordings:\n\n"
        text += markdown(["model", "examples", "1S", "MSi"], synthetic)
    return text


def measures(summary: Mapping[str, Any]) -> list[str]:
    """List the measures of a summary that are means of dB, in their order."""
    return [
        name
        for name, cell in summary.items()
        if isinstance(cell, dict) and "deviation" in cell
    ]


def _origin(summary: Mapping[str, Any], row: PublishedScore | None) -> str:
    if summary.get("synthetic"):
        return "Synthetic sounds: these numbers say nothing about real recordings."
    if row is None:
        return "There is no published number for this model and this set."
    return f"Published: {row.model}, measured on {row.test_set} ({row.source})."


def _cells(summary: Mapping[str, Any], row: PublishedScore | None) -> list[list[str]]:
    lines = []
    for name in measures(summary):
        cell = summary[name]
        numbers = [_mean(summary, name), _decibels(cell["deviation"])]
        line = [name, *numbers, str(cell["sources"])]
        lines.append([*line, row.values.get(name, NOT_ESTABLISHED)] if row else line)
    examples = f"{summary['examples']} examples"
    for name in RATES:
        if name in summary:
            line = [f"{name}-separation", f"{summary[name]:.2f}", "", examples]
            lines.append([*line, ""] if row else line)
    return lines


def _mean(summary: Mapping[str, Any], measure: str) -> str:
    cell = summary.get(measure)
    if cell is None:
        return NOT_RUN
    return _decibels(cell["mean"]) or "none in this set"


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} dB"
