"""Make a corpus of YFCC100m from its clip lists and a folder of its videos.

``python -m mixit.yfcc --videos VIDEOS --output DIR --train A.csv --validation B.csv
--eval C.csv --moms D.csv``, any of the four: each clip becomes an example in the layout
of FUSS, with itself as its only source. A clip shorter than an example is padded with
silence at its offset. Clips that cannot be made are skipped, counted, and listed in
DIR/skipped_SPLIT.csv. A video is looked up as VIDEOS/data/videos/mp4/a/b/ab.mp4, then
with ever fewer leading folders, and last as VIDEOS/ab.mp4.

The mixtures of mixtures of ``--moms`` become the eval split of DIR/moms, with their two
clips as sources: ``python -m mixit.evaluate --model RUN --data DIR/moms --moms
sources`` scores them. Run again, the command makes only missing files.

``--beam --runner=FlinkRunner ...``, the last words, makes the same files on the workers
of an Apache Beam pipeline with these options, which must see all folders as they are.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from common import beam, cpus
from common.corpora import fuss
from common.corpora.track import CorpusError
from common.errors import exit_code
from mixit.yfcc import clip_list
from mixit.yfcc.clip_corpus import ClipFormat, counts, make
from mixit.yfcc.clip_list import ClipList

MOMS = "moms"
"""Folder of the mixtures of mixtures, below that of the corpus."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("mixit.yfcc", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    shape = ClipFormat(options.seconds, options.sample_rate)
    if not (math.isfinite(shape.seconds) and shape.samples > 0 < shape.sample_rate):
        raise CorpusError(
            f"--seconds {shape.seconds:g} and --sample-rate {shape.sample_rate} make "
            "no example; both must be above 0."
        )
    jobs = cpus.threads(options.jobs)
    named = {name: getattr(options, name) for name in (*fuss.SPLITS, MOMS)}
    named = {name: paths for name, paths in named.items() if paths}
    if not named:
        raise CorpusError(
            "No list is named; give --train, --validation, --eval or --moms LIST.csv."
        )
    lists = {}
    for name, paths in named.items():
        lists[name] = clip_list.read(
            paths,
            2 if name == MOMS else 1,
            seconds=shape.seconds,
            header=options.header,
            strict=options.strict,
        )
        sys.stdout.write("".join(f"{remark}\n" for remark in lists[name].remarks))
    for name, clips in lists.items():
        root = options.output / MOMS if name == MOMS else options.output
        split = "eval" if name == MOMS else name
        done = make(
            clips,
            options.videos,
            root,
            split,
            shape,
            jobs=jobs,
            spread=beam.spread(options.beam),
        )
        sys.stdout.write(_summary(name, clips, done, root / fuss.list_name(split)))
    return 0


def _summary(name: str, clips: ClipList, done: Counter[str], path: Path) -> str:
    total = len(clips.rows) + len(clips.skipped)
    before = f" ({done['before']} of them before)" if done["before"] else ""
    what = "mixtures of two clips" if name == MOMS else "clips"
    skipped = f", {counts(done)}" if counts(done) else ""
    summary = f"{done['written']} of {total} {what} written{before}{skipped}"
    return f"{name}: {summary}: {path}\n"


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    usual = ClipFormat()
    parser = argparse.ArgumentParser(
        "python -m mixit.yfcc",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--videos", type=Path, required=True, help="folder of the videos")
    add("--output", type=Path, required=True, help="folder of the corpus")
    for split in fuss.SPLITS:
        add(f"--{split}", type=Path, nargs="+", help=f"clip lists for {split}")
    add("--moms", type=Path, nargs="+", help="lists of mixtures of mixtures")
    about = "length of an example in seconds (default: 10)"
    add("--seconds", type=float, default=usual.seconds, help=about)
    about = "rate of the examples in Hz (default: 16000)"
    add("--sample-rate", type=int, default=usual.sample_rate, help=about)
    about = "whether the lists begin with a header (default: auto)"
    add("--header", choices=("auto", "yes", "no"), default="auto", help=about)
    add("--strict", action="store_true", help="reject lists that contain a bad row")
    add("--jobs", type=int, help="threads (default: one for each CPU)")
    beam.add_option(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
