"""The paper's measures on a split: ``python -m mixit.evaluate --model RUN``.

One row for each example goes to ``scores.csv``, the means to ``summary.json``,
``summary.md`` and, in the words of the FUSS baseline, ``scores_summary.txt``. The
measures are those of the baseline: SI-SNR of single sources (1S), improvement of SI-SNR
by number of sources (2Si, 3Si, 4Si) and for all mixtures of several (MSi), each a mean
over sources, and the rates of fewer, equally many and more active estimates than
references.
``--moms`` measures mixtures of mixtures instead (MoMi), which needs no sources.

After an interruption the same command continues after the last measured example.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from common import audio, plots
from common.audio.resample import resample
from common.config import load as load_config
from common.corpora import fuss, waveforms
from common.corpora.track import CorpusError, CorpusName, Track
from common.evaluation import command, score_key
from common.evaluation.command import Evaluation
from common.evaluation.table import Row, Rows
from common.files import write_json, write_text
from common.separation.separator import Separator
from common.synthetic import miniature
from mixit import data, metrics, published, weights
from mixit.config import MixitConfig
from mixit.convert import add_options
from mixit.google.restore import OPTIONS
from mixit.separate import load

# Google's program pads or trims every example to this.
FUSS_SECONDS = 10.0

Group = Sequence[Track]
"""Tracks whose mixtures are added up, or one track whose sources are mixtures."""

SPLITS = {
    "train": "train",
    "valid": "validation",
    "test": "eval",
    "validation": "validation",
    "eval": "eval",
}
"""Names of the splits in FUSS by the words of the command line."""
ALIASES = {"model": ["-cp", "--checkpoint_path"], "output": ["-op", "--output_path"]}
"""Flags of Google's program."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the evaluation; return the exit code."""
    return command.command(_parser(), _main, argv)


def evaluate(
    separator: Separator,
    tracks: Sequence[Track],
    rows: MutableMapping[str, Row] | None = None,
    jobs: int = 1,
) -> Evaluation:
    """Measure a separator on tracks.

    Args:
        separator: The separator.
        tracks: Mixtures with their sources; the mixture is the sum of the sources.
        rows: Rows by name; existing ones are not measured again.
        jobs: Number of tracks to measure at once.

    Returns:
        One row of measures for each track that is not silent, and their summary.

    Raises:
        ValueError: A track has more sources than the separator has outputs.
    """

    def measure(track: Track) -> Row | None:
        sources = read_sources(track, separator.sample_rate)
        if not metrics.active(sources).any():
            return None
        mixture = sources.sum(axis=0)
        return metrics.row(track.name, sources, _estimates(separator, mixture), mixture)

    items = {track.name: track for track in tracks}
    measured = _collect(items, measure, rows, jobs)
    return Evaluation(measured, metrics.summarise(measured))


def evaluate_mixtures(
    separator: Separator,
    groups: Sequence[Group],
    rows: MutableMapping[str, Row] | None = None,
    jobs: int = 1,
) -> Evaluation:
    """Measure how well mixtures are reconstructed from estimates of their sum.

    Args:
        separator: The separator.
        groups: Tracks whose mixtures are added up, as many in each group.
        rows: As for :func:`evaluate`.
        jobs: Number of groups to measure at once.

    Returns:
        One row for each group without a silent mixture, and their summary.
    """

    def measure(group: Group) -> Row | None:
        mixtures = read_mixtures(group, separator.sample_rate)
        if not metrics.active(mixtures).all():
            return None
        estimates = _estimates(separator, mixtures.sum(axis=0))
        return metrics.mixture_row(group_name(group), mixtures, estimates)

    items = {group_name(group): group for group in groups}
    measured = _collect(items, measure, rows, jobs)
    return Evaluation(measured, metrics.summarise_mixtures(measured))


def listed(path: str | Path) -> tuple[Path, str]:
    """Return the corpus folder and the split of an example list by its path.

    Raises:
        CorpusError: The file is not named as a list of a split.

    >>> listed("fuss/ssdata/eval_example_list.txt")[1]
    'eval'
    """
    path = Path(path)
    splits = {fuss.list_name(split): split for split in fuss.SPLITS}
    if path.name not in splits:
        raise CorpusError(
            f"{path} is not an example list; expected {', '.join(splits)}"
        )
    return path.parent, splits[path.name]


def with_length(tracks: Sequence[Track], seconds: float | None) -> list[Track]:
    """Set the length to which tracks are padded or trimmed; None keeps their own.

    Raises:
        CorpusError: The length is less than a sample.
    """
    if seconds is None:
        return list(tracks)
    lengths = [round(seconds * track.sample_rate) for track in tracks]
    if min(lengths, default=1) < 1:
        raise CorpusError(f"examples of {seconds:g} s: expected at least one sample")
    return [replace(t, samples=n) for t, n in zip(tracks, lengths, strict=True)]


def read_sources(track: Track, sample_rate: int) -> np.ndarray:
    """Read a track's sources as one channel at a rate; [sources, samples]."""
    sources = []
    for sound in track.sources.values():
        waveform, rate = waveforms.read(sound, track.sample_rate)
        mono = waveform.mean(axis=0, keepdims=True)[:, : track.samples]
        missing = track.samples - mono.shape[1]
        padded = np.pad(mono, [(0, 0), (0, missing)])
        sources.append(resample(padded, rate, sample_rate)[0])
    return np.stack(sources)


def pairs(tracks: Sequence[Track]) -> list[Group]:
    """Pair neighbours of a list; a last one without a partner is left out."""
    return list(zip(tracks[::2], tracks[1::2], strict=False))


def of_mixtures(tracks: Sequence[Track]) -> list[Group]:
    """Use tracks as mixtures of mixtures: their two sources are the mixtures.

    Raises:
        CorpusError: A track has another number of sources.
    """
    for track in tracks:
        if len(track.sources) != 2:
            raise CorpusError(
                f"{track.name} has {len(track.sources)} sources; a mixture of mixtures "
                "has two, its mixtures"
            )
    return [(track,) for track in tracks]


def read_mixtures(group: Group, sample_rate: int) -> np.ndarray:
    """Read the mixtures of a group [mixtures, samples], short ones zero padded."""
    if len(group) == 1:
        return read_sources(group[0], sample_rate)
    mixtures = [read_sources(track, sample_rate).sum(axis=0) for track in group]
    longest = max(map(len, mixtures))
    return np.stack(
        [np.pad(mixture, (0, longest - len(mixture))) for mixture in mixtures]
    )


def group_name(group: Group) -> str:
    """Name a group after its tracks."""
    return "+".join(track.name for track in group)


def draw(separator: Separator, track: Track, folder: Path) -> None:
    """Write a mixture, its sources and the estimates as sounds and as one plot."""
    folder.mkdir(parents=True, exist_ok=True)
    rate = separator.sample_rate
    waveforms = read_sources(track, rate)
    sources = dict(zip(track.sources, waveforms[:, np.newaxis], strict=True))
    mixture = waveforms.sum(axis=0, keepdims=True)
    estimates = separator(mixture)
    for name, sound in {"mixture": mixture, **sources, **estimates}.items():
        audio.write(folder / f"{name}.wav", sound, rate)
    figure = plots.separation(mixture, sources, estimates, rate)
    plots.save(figure, folder / "picture.png")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "mixit.evaluate",
        "Measure a model on a corpus in the layout of FUSS.",
        splits=SPLITS,
        aliases=ALIASES,
    )
    add = parser.add_argument
    add(
        "--dataset",
        choices=get_args(CorpusName),
        metavar="NAME",
        help="corpus in --data (default: the run's, else fuss)",
    )
    add(
        *("-mp", "--metagraph_path"),
        help="run this meta graph unchanged, with the weights of the checkpoint",
    )
    add(
        "-dp",
        "--data_list_path",
        help="SPLIT_example_list.txt, instead of --data and --split",
    )
    add(
        "--seconds",
        type=float,
        help="pad or trim every example to this length (default: its own length; with "
        "-dp, 10)",
    )
    add(
        "--moms",
        nargs="?",
        const="neighbours",
        choices=("neighbours", "sources"),
        help="measure mixtures of mixtures: sums of neighbours in the list, or "
        "(sources) the examples themselves, whose sources are mixtures",
    )
    add(
        "--draw",
        type=int,
        default=0,
        help="number of examples to write as sound and plot",
    )
    add(
        "--row",
        choices=[*published.scores(), "none"],
        help="published row to compare with (default: the one of the run's preset)",
    )
    add(
        "--table",
        nargs="*",
        metavar="SUMMARY",
        help="only print the table of published scores, with those of these "
        "summary.json files",
    )
    add_options(parser)
    return parser


def _main(options: argparse.Namespace) -> int:
    if options.table is not None:
        summaries = [published.read_summary(path) for path in options.table]
        sys.stdout.write(published.scores_table(summaries))
        return 0
    if not options.model:
        raise CorpusError("no model is named; give --model RUN, or a TF1 checkpoint")
    if options.draw < 0:
        raise CorpusError(f"--draw is {options.draw}; expected 0 or more")
    separator = _load(options)
    root, split, dataset = _data(options)
    seconds, rate = options.seconds, separator.sample_rate
    if seconds is None and options.data_list_path:
        seconds = FUSS_SECONDS
    whole = with_length(data.tracks(root, split, rate, dataset), seconds)
    tracks = whole[: options.limit]
    path = _scores_path(options, split)
    # Without the limit, so that examples of a shorter evaluation are used again.
    key = score_key.key(score_key.digest(separator), whole, moms=options.moms)
    columns = metrics.columns(len(separator.sources))
    rows = Rows(path, metrics.mixture_columns() if options.moms else columns, key)
    if len(rows):
        sys.stdout.write(f"continuing after {len(rows)} examples in {rows.part}\n")
    measured, summary, _ = _measure(options, separator, tracks, rows)
    if not measured:
        raise CorpusError(
            f"nothing was measured: every example of {split} in {root} is silent, or "
            "there is none to pair"
        )
    is_whole = (dataset, split, options.limit) == ("fuss", "eval", None)
    is_whole = is_whole and options.seconds in (None, FUSS_SECONDS)
    summary = {**_origin(options, root, split, is_whole), **summary}
    rows.finish(row["example"] for row in measured)
    _write(summary, path)
    sys.stdout.write(f"{split} split of {root}\n{published.summary_table(summary)}")
    # Those with the most sources first.
    by_sources = sorted(tracks, key=lambda track: -len(track.sources))
    for track in by_sources[: options.draw]:
        draw(separator, track, path.parent / track.name)
    sys.stdout.write(f"results: {path.parent}\n")
    return 0


def _load(options: argparse.Namespace) -> Separator:
    """Load the model; with the path of a meta graph, run that graph."""
    names = (*OPTIONS, "checkpoint")
    chosen: dict[str, Any] = {name: getattr(options, name) for name in names}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if options.metagraph_path:
        chosen["metagraph"] = options.metagraph_path
    return load(options.model, **chosen)


def _data(options: argparse.Namespace) -> tuple[Path, str, str]:
    """Return folder, split and name of the corpus: by the options, else of the run."""
    if options.data_list_path:
        if options.data or options.split_word:
            raise CorpusError(
                "--data_list_path names corpus and split already; leave out --data and "
                "--split"
            )
        return *listed(options.data_list_path), "fuss"
    config = _config(options.model)
    dataset = options.dataset or (config.dataset if config else "fuss")
    if options.data:
        return data.find_root(options.data, dataset), options.split, dataset
    if config is None:
        raise CorpusError(
            f"{options.model} is no run folder, so it names no corpus; give --data"
        )
    return data.root(config), options.split, dataset


def _measure(
    options: argparse.Namespace, separator: Separator, tracks: list[Track], rows: Rows
) -> Evaluation:
    if options.moms is None:
        return evaluate(separator, tracks, rows, options.jobs)
    group = pairs if options.moms == "neighbours" else of_mixtures
    return evaluate_mixtures(separator, group(tracks), rows, options.jobs)


def _collect(
    items: Mapping[str, Any],
    measure: Callable[[Any], Row | None],
    rows: MutableMapping[str, Row] | None,
    jobs: int,
) -> list[Row]:
    """Measure items without a row, and return the rows in the order of the items."""
    kept = {} if rows is None else rows
    pending = [item for name, item in items.items() if name not in kept]
    for row in command.each(measure, pending, jobs, "mixture"):
        if row is not None:
            kept[row["example"]] = row
    return [kept[name] for name in items if name in kept]


def _estimates(separator: Separator, mixture: np.ndarray) -> np.ndarray:
    """Separate [samples] into [outputs, samples]."""
    return np.concatenate(list(separator(mixture[np.newaxis]).values()))


def _scores_path(options: argparse.Namespace, split: str) -> Path:
    """Return the path of the table, which a flag of the original may name."""
    options.split = split
    folder = command.results_folder(options, weights.locate(options.model).own)
    return folder if folder.suffix == ".csv" else folder / "scores.csv"


def _origin(
    options: argparse.Namespace, root: Path, split: str, is_whole: bool
) -> dict[str, Any]:
    """Describe model and data of the measurement, and its published row.

    By itself a row is chosen only for all examples that were published.
    """
    config, row = _config(options.model), options.row
    if row is None and config and is_whole and options.moms is None:
        row = published.row_of(config)
    return {
        "model": str(options.model),
        "data": str(root),
        "split": split,
        "row": None if row == "none" else row,
        "synthetic": (root / miniature.MARKER).exists(),
    }


def _config(model: str) -> MixitConfig | None:
    run = weights.locate(model).run
    return load_config(MixitConfig, run / "config.json") if run else None


def _write(summary: dict[str, Any], path: Path) -> None:
    """Write the summary in three formats, each atomically."""
    write_json(summary, path.with_name("summary.json"))
    texts = {path.with_name("summary.md"): published.summary_table(summary)}
    if "MSi" in summary:
        texts[path.with_name(f"{path.stem}_summary.txt")] = metrics.report(summary)
    for target, text in texts.items():
        write_text(target, text)


if __name__ == "__main__":
    sys.exit(main())
