"""Scores on MUSDB18 or another corpus: ``python -m unmix.evaluate --model RUN``.

``OUTPUT/test/SONG.json`` holds the scores of every second by BSS Eval 4, in museval's
form, ``scores.csv`` their medians for each song, ``summary.json`` and ``summary.md``
the medians over all songs beside the published ones, and ``scores.png`` a plot. The
flags of the original's ``evaluate.py``, and of ``eval.py`` of 2019, work as well.

The corpus is that of the run, or ``--dataset NAME --data FOLDER``, see
:mod:`common.corpora.catalogue`. Models of speech and noise are scored on
``DATA/test/NAME/{mixture,speech,noise}.wav``, or on
``DATA/test/{mix,speech,noise}/NAME.wav``; ``--stoi`` adds the intelligibility of
speech.

Songs are scored in worker processes while the next ones are separated. After an
interruption the same command continues with the songs without scores. A song that
cannot be scored is reported, the others are scored, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from common import plots
from common.corpora import catalogue
from common.corpora.track import CorpusError, CorpusName
from common.evaluation import command, intelligibility
from common.evaluation.table import Row
from common.files import write_json, write_text
from common.overwriting import refuse_overwriting
from common.separation.command import Names
from common.separation.separator import Separator
from common.startup import hide_gpus
from common.synthetic import miniature
from common.training.loop import say
from common.weights.locate import locate_model
from unmix import corpus, weights
from unmix.config import UMX, UnmixConfig
from unmix.published import medians
from unmix.scoring import tables
from unmix.scoring.run import PROGRAM, Folders, check_record, evaluate
from unmix.scoring.songs import (
    SPEECH_PARTS,
    Song,
    check_residual,
    find_songs,
    find_tracks,
    parts_of,
    scored_targets,
)
from unmix.scoring.worker import (
    HOP_SECONDS,
    MODE,
    SPEECH,
    WINDOW_SECONDS,
    ScoringError,
    scored_together,
)
from unmix.separate import add_filter_options, filter_options, load

ROOT_VARIABLE = "MUSDB_PATH"
"""Variable with the corpus if there is no ``--data``, as in the original."""
SPLITS = {"train": "train", "valid": "valid", "test": "test"}
MUSDB: CorpusName = "musdb"
ALIASES = {"split": ["--subset"], "jobs": ["--cores"], "output": ["--evaldir"]}
"""Flags of the original's programs."""

__all__ = ["evaluate", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the evaluation; return the exit code."""
    return command.command(_parser(), _main, argv)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        PROGRAM,
        "Score a model (default: umxl) on MUSDB18, or on the corpus of the run, as "
        f"museval does. Without --data, MUSDB18 is read from {ROOT_VARIABLE}, else "
        "from the data_root of the run; --data previews downloads its 7-second "
        "previews. Each of --jobs needs 0.3 GB, and 0.2 GB more for each minute of "
        "four targets.",
        splits=SPLITS,
        aliases=ALIASES,
    )
    add = parser.add_argument
    add(
        "--dataset",
        choices=list(catalogue.CORPORA),
        metavar="NAME",
        help=f"corpus in --data, of {', '.join(catalogue.CORPORA)} (default: that of "
        f"the run, else {MUSDB})",
    )
    add(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="networks to use (default: all of the model)",
    )
    add("--outdir", metavar="ESTIMATES", help="keep the estimates here, as 32-bit wav")
    add("--is-wav", action="store_true", help="leave out stem files")
    add("--overwrite", action="store_true", help="score all songs again")
    add("--stoi", action="store_true", help="add STOI of speech, which needs pystoi")
    add("--no-cuda", action="store_true", help="use no GPU")
    add_filter_options(
        parser,
        window=None,
        window_help="frames that are filtered at once (default: all of a song, as "
        "published, which needs 1.7 GB for each minute; 300 frames need 0.2 GB)",
    )
    add(
        "--row",
        choices=[*medians(), "none"],
        help="published row to compare with (default: the one of the model's preset)",
    )
    add(
        "--table",
        nargs="*",
        metavar="SUMMARY",
        help="only print the table of published scores, with those of these "
        "summary.json files",
    )
    add("--input", help=argparse.SUPPRESS)
    return parser


def _main(options: argparse.Namespace) -> int:
    if options.table is not None:
        summaries = [tables.read_summary(path) for path in options.table]
        sys.stdout.write(tables.published_table(summaries))
        return 0
    _check(options)
    options.model = options.model or "umxl"
    config = weights.run_config(options.model)
    dataset = options.dataset or _dataset(config)
    root = _root(options, config, dataset)
    skip = config is not None and config.dataset == dataset and config.skip
    songs = _songs(options, dataset, root, skip)[: options.limit]
    model = locate_model(options.model, weights.MODELS).own
    output = command.results_folder(options, model)
    folders = _folders(options, root, output)
    separator = _load(options, parts_of(songs))
    settings = _settings(options, dataset, root)
    names = [song.name for song in songs]
    repeated = (names if options.limit else None) if options.overwrite else ()
    check_record(separator, folders, settings, repeated, songs)
    evaluation = evaluate(separator, songs, folders, options.jobs, stoi=options.stoi)
    if not evaluation.rows:
        raise CorpusError(f"none of the {len(songs)} songs in {root} has scores")
    summary = {
        "model": options.model,
        **settings,
        "row": _row(options, dataset, config),
        "synthetic": (root / miniature.MARKER).exists(),
        "museval": _museval(scored_targets(separator.sources, parts_of(songs))),
        **evaluation.summary,
    }
    _write(summary, evaluation.rows, output)
    say(f"results: {output}")
    return 1 if evaluation.failed else 0


def _settings(options: argparse.Namespace, dataset: str, root: Path) -> dict[str, Any]:
    """List what scores depend on besides the model."""
    return {
        **({} if dataset == MUSDB else {"dataset": dataset}),
        "subset": options.split,
        "root": str(root.resolve()),
        "options": _score_options(options),
    }


def _row(
    options: argparse.Namespace, dataset: str, config: UnmixConfig | None
) -> str | None:
    """Choose the row of the published table to compare with, if any."""
    row = options.row
    if dataset == MUSDB and row is None:
        row = options.model if options.model in medians() else None
        row = row or (tables.row_of(config) if config else None)
    return None if row == "none" else row


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would fail later, or that would have no effect."""
    if options.input:
        raise CorpusError(
            "--input names a file to separate, and a file has no score: "
            f"python -m unmix.separate {options.input}"
        )
    if options.no_cuda:
        hide_gpus()


def _dataset(config: UnmixConfig | None) -> CorpusName:
    """Return the corpus of a run; layouts of folders without a test set have none."""
    if config is None or _is_speech(config) or config.dataset not in catalogue.CORPORA:
        return MUSDB
    return cast(CorpusName, config.dataset)


def _songs(
    options: argparse.Namespace, dataset: str, root: Path, skip: bool
) -> list[Song]:
    if dataset != MUSDB:
        return find_tracks(dataset, root, options.split, skip=skip)
    if options.split == "valid":
        raise CorpusError(
            "--split valid: MUSDB18 has no folder of validation songs, they are among "
            "those of --split train; expected train or test"
        )
    return find_songs(root, options.split, is_wav=options.is_wav)


def _root(
    options: argparse.Namespace, config: UnmixConfig | None, dataset: CorpusName
) -> Path:
    """Return the corpus: by the options, else of the run, else as for a training."""
    if dataset != MUSDB:
        own = config.data_root if config and config.dataset == dataset else None
        named = replace(UMX, dataset=dataset, data_root=options.data or own)
        return corpus.root(named)
    root = options.data or os.environ.get(ROOT_VARIABLE)
    if root:
        return corpus.root(replace(UMX, data_root=root))
    if config and (
        config.dataset == "musdb" or (config.data_root and _is_speech(config))
    ):
        return corpus.root(config)
    return corpus.root(UMX)


def _is_speech(config: UnmixConfig) -> bool:
    return config.dataset == "mix_folders" and not {*config.target} - {*SPEECH_PARTS}


def _folders(options: argparse.Namespace, root: Path, output: Path) -> Folders:
    if options.outdir is None:
        return Folders(output / options.split)
    kept = Path(options.outdir) / options.split
    refuse_overwriting([options.outdir, kept], [root, root / options.split])
    return Folders(output / options.split, kept)


def _load(options: argparse.Namespace, parts: Mapping[str, Sequence[str]]) -> Separator:
    """Load the model; by default a song is filtered in one window, as published."""
    separator = load(
        options.model,
        options.targets,
        **filter_options(options),
        segment_seconds=None,
        checkpoint=options.checkpoint,
    )
    targets = scored_targets(separator.sources, parts)
    if options.residual in targets:
        check_residual(options.residual, separator.sources, parts)
    if options.stoi and not {*targets} & {*SPEECH}:
        raise ScoringError(
            f"--stoi measures speech and the model makes {', '.join(targets)}; leave "
            "it out"
        )
    if options.stoi:
        intelligibility.load(separator.sample_rate)
    return separator


def _score_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the scores depend on beside model and songs."""
    values = {"targets": options.targets, **filter_options(options)}
    values["stoi"] = options.stoi or None
    return {name: value for name, value in values.items() if value is not None}


def _museval(targets: Sequence[str]) -> dict[str, Any]:
    """Describe the scores: sources, windows and medians."""
    groups = scored_together(targets)
    return {
        "mode": MODE,
        "window_seconds": WINDOW_SECONDS,
        "hop_seconds": HOP_SECONDS,
        "scored_together": groups,
        "over_seconds": "median of those with a score",
        "over_tracks": "median",
    }


def _write(summary: tables.Summary, rows: Sequence[Row], output: Path) -> None:
    """Write the summary, the scores of the songs and their plot; print the summary."""
    write_json(summary, output / "summary.json")
    tables.write_csv(rows, output / "scores.csv")
    text = tables.summary_table(summary)
    write_text(output / "summary.md", text)
    sys.stdout.write(text)
    title = f"{summary['model']}, {summary['tracks']} songs of {summary['subset']}"
    title += ", synthetic sounds" if summary["synthetic"] else ""
    row = None if summary["synthetic"] else medians().get(summary["row"] or "")
    try:
        plots.save(tables.plot_scores(rows, title, row), output / "scores.png")
    except plots.PlotError as error:
        sys.stdout.write(f"no scores.png: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
