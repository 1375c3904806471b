"""Scores on MUSDB18 by museval: ``python -m unmix.evaluate --model RUN --root MUSDB``.

``EVALDIR/test/SONG.json`` holds the scores of every second of a song in museval's form,
``scores.csv`` their medians for each song, ``summary.json`` and ``summary.md`` the
medians over all songs beside the published ones, and ``scores.png`` a plot. The
words are those of the original's ``evaluate.py``, and of ``eval.py`` of 2019.

Songs are scored in processes of their own while the next ones are separated. Stopped at
any time, the same command goes on with the songs that have no scores yet. A song that
cannot be scored is reported, the others are scored, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import plots
from common.audio.decoding import FFMPEG_CURE
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.files import refuse_overwriting, user_path, write_json, write_text
from common.separation.command import Names, add_checkpoint
from common.separation.separator import Separator
from common.startup import hide_gpus
from common.synthetic import miniature
from common.training.checkpoint import run_of, scores_folder
from common.training.loop import say
from unmix import corpus, weights
from unmix.config import UMX, UnmixConfig
from unmix.published import SCORES
from unmix.scoring import tables
from unmix.scoring.run import (
    PROGRAM,
    Folders,
    check_record,
    evaluate,
    find_songs,
    scored_targets,
)
from unmix.scoring.worker import HOP_SECONDS, MODE, WINDOW_SECONDS
from unmix.separate import add_filter_options, load

ROOT_VARIABLE = "MUSDB_PATH"
"""Names the corpus where ``--root`` does not, as for the original."""

__all__ = ["evaluate", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the evaluation; returns the exit code."""
    parser = _parser()
    options = parser.parse_intermixed_args(argv)
    models = [*filter(None, [options.model_dir]), *options.named_input]
    if len(models) > 1:
        parser.error(f"unrecognized arguments: {' '.join(models[1:])}")
    options.model_dir = next(iter(models), None)
    return exit_code(PROGRAM, lambda: _main(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM, description="Score a model on MUSDB18 as museval does."
    )
    add = parser.add_argument
    add("model_dir", nargs="?", metavar="MODEL", help="the same as --model (2019)")
    add("--model", help="name of a publication, or folder (default: umxl)")
    add_checkpoint(parser)
    add(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="networks to use (default: all of the model)",
    )
    add("--outdir", metavar="ESTIMATES", help="keep the estimates here, as 32-bit wav")
    add(
        "--evaldir",
        metavar="SCORES",
        help="folder of the results; default: RUN/evaluation, or evaluation/NAME; "
        "evaluation-train for --subset train",
    )
    add(
        "--root",
        help=f"MUSDB18 or MUSDB18-HQ; default: {ROOT_VARIABLE}, that of the run, else "
        "the previews",
    )
    add("--subset", choices=("test", "train"), default="test", help="default: test")
    add("--is-wav", action="store_true", help="leave out stem files")
    add(
        "--cores",
        type=int,
        default=1,
        help="songs scored at once, each in 1.5 GB a minute of four targets "
        "(default: 1)",
    )
    add("--limit", type=int, metavar="SONGS", help="score no more than so many")
    add("--overwrite", action="store_true", help="score all again")
    add("--no-cuda", action="store_true", help="use no GPU")
    add_filter_options(
        parser,
        window=None,
        window_help="frames that are filtered at once; default: all of a song, as "
        "published, which takes 1.6 GB a minute: with 300 frames a quarter of it",
    )
    add(
        "--row",
        choices=[*SCORES, "none"],
        help="published row to print beside; default: the one that the model repeats",
    )
    add(
        "--table",
        nargs="*",
        metavar="SUMMARY",
        help="only print the table of published numbers with those of summary.json",
    )
    add("--input", help=argparse.SUPPRESS)
    return parser


def _main(options: argparse.Namespace) -> int:
    if options.table is not None:
        sys.stdout.write(
            tables.published_table([tables.read_summary(s) for s in options.table])
        )
        return 0
    _check(options)
    model = options.model or options.model_dir or "umxl"
    config = weights.run_config(model)
    root = _root(options, config)
    songs = find_songs(root, options.subset, is_wav=options.is_wav)[: options.limit]
    default = _default_folder(model, options.subset, options.checkpoint)
    output = Path(options.evaldir or default)
    folders = _folders(options, root, output)
    separator = _load(options, model)
    settings = {
        "subset": options.subset,
        "root": str(root.resolve()),
        "options": _score_options(options),
    }
    names = [song.name for song in songs]
    repeated = (names if options.limit else None) if options.overwrite else ()
    check_record(separator, folders, settings, repeated)
    failed = evaluate(separator, songs, folders, options.cores)
    files = {name: folders.json(name) for name in names if folders.json(name).exists()}
    if not files:
        raise CorpusError(f"none of the {len(songs)} songs in {root} has scores")
    row = options.row or (model if model in SCORES else None)
    row = row or (tables.row_of(config) if config else None)
    summary = {
        "model": model,
        **settings,
        "row": None if row == "none" else row,
        "synthetic": (root / miniature.MARKER).exists(),
        "museval": _museval(separator),
        "tracks": len(files),
        "seconds": statistics.median(map(tables.count_seconds, files.values())),
        "failed": failed,
    }
    _write(summary, {n: tables.read_scores(file) for n, file in files.items()}, output)
    say(f"results: {output}")
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what would fail only after a while, or not be done as asked."""
    if options.input:
        raise CorpusError(
            "--input names a file to separate, and a file has no score: "
            f"python -m unmix.separate {options.input}"
        )
    if options.model and options.model_dir:
        raise CorpusError(
            f"two models are named, {options.model_dir} and {options.model}; give one"
        )
    if options.limit is not None and options.limit < 1:
        raise CorpusError(f"--limit is {options.limit}; expected at least 1 song")
    missing = [name for name in ("ffmpeg", "ffprobe") if not shutil.which(name)]
    if missing:
        raise CorpusError(
            f"museval does not load without ffmpeg and ffprobe, and {missing[0]} is "
            f"not on PATH; {FFMPEG_CURE}"
        )
    if options.no_cuda:
        hide_gpus()


def _root(options: argparse.Namespace, config: UnmixConfig | None) -> Path:
    """Find the corpus: as asked, else that of the run, else as for a training."""
    root = options.root or os.environ.get(ROOT_VARIABLE)
    if root:
        return corpus.root(replace(UMX, root=root))
    if config and config.dataset == "musdb":
        return corpus.root(config)
    return corpus.root(UMX)


def _default_folder(model: str, subset: str, checkpoint: str | None = None) -> Path:
    name = "evaluation" if subset == "test" else f"evaluation-{subset}"
    path = user_path(model)
    folder = run_of(path) or path
    if folder.is_dir():
        return folder / scores_folder(path, checkpoint, name)
    return Path(name, model)


def _folders(options: argparse.Namespace, root: Path, output: Path) -> Folders:
    if options.outdir is None:
        return Folders(output / options.subset)
    kept = Path(options.outdir) / options.subset
    refuse_overwriting([options.outdir, kept], [root, root / options.subset])
    return Folders(output / options.subset, kept)


def _load(options: argparse.Namespace, model: str) -> Separator:
    """Load the model; by default a song is filtered in one window, as published."""
    separator = load(
        model,
        options.targets,
        options.niter,
        options.softmask,
        options.residual,
        options.wiener_win_len,
        options.aggregate,
        alpha=options.alpha,
        logit=options.logit,
        segment_seconds=None,
        checkpoint=options.checkpoint,
    )
    scored_targets(separator.sources)
    return separator


def _score_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the scores depend on beside model and songs."""
    names = ("targets", "niter", "wiener_win_len", "softmask", "alpha", "logit")
    values = {n: getattr(options, n) for n in (*names, "residual", "aggregate")}
    return {name: value for name, value in values.items() if value is not None}


def _museval(separator: Separator) -> dict[str, Any]:
    """Describe how scores were made: sources, windows and medians."""
    targets = scored_targets(separator.sources)
    together = [target for target in targets if target != "accompaniment"]
    pair = ["vocals", "accompaniment"]
    if not set(pair) <= set(targets):
        together, pair = targets, []
    return {
        "mode": MODE,
        "window_seconds": WINDOW_SECONDS,
        "hop_seconds": HOP_SECONDS,
        "scored_together": [each for each in (together, pair) if len(each) > 1],
        "over_seconds": "median of those with a score",
        "over_tracks": "median",
    }


def _write(
    summary: tables.Summary, scores: Mapping[str, tables.Medians], output: Path
) -> None:
    """Write the summary, the scores of the songs and their plot; print the summary."""
    summary = {**summary, "targets": tables.summarise(scores)}
    write_json(summary, output / "summary.json")
    tables.write_csv(scores, output / "scores.csv")
    text = tables.summary_table(summary)
    write_text(output / "summary.md", text)
    sys.stdout.write(text)
    title = f"{summary['model']}, {summary['tracks']} songs of {summary['subset']}"
    title += ", synthetic sounds" if summary["synthetic"] else ""
    row = None if summary["synthetic"] else SCORES.get(summary["row"] or "")
    try:
        plots.save(tables.plot_scores(scores, title, row), output / "scores.png")
    except plots.PlotError as error:
        sys.stdout.write(f"no scores.png: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
