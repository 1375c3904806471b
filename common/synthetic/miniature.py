"""The miniature corpus: synthetic sounds in the real layouts, built in seconds.

``python -m common.synthetic.miniature KIND DIR`` writes the files of a corpus (FUSS,
MUSDB18-HQ, WSJ0-2mix, WHAM!, MIR-1K, Slakh2100, ...), so that every script runs on a
fresh machine with no download, through the code of the real corpus. Scores on it show
that training works; they cannot be compared with published ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import files
from common.corpora import fuss
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.synthetic import scenes, sounds
from common.synthetic.building import MARKER, Sizes, Writer, layout
from common.synthetic.miniature_music import (
    write_ccmixter,
    write_dsd100,
    write_mir1k,
    write_moisesdb,
    write_musdb,
    write_remixpacks600,
    write_scaper,
    write_slakh,
    write_snippets,
    write_song_folders,
)
from common.synthetic.miniature_speech import (
    write_mix_folders,
    write_wham,
    write_wsj0_2mix,
    write_wsj0_3mix,
)

__all__ = ["MARKER", "WRITERS", "main", "write_dsd100", "write_fuss", "write_musdb"]


@layout(
    "fuss",
    {"train": 200, "validation": 20, "eval": 40},
    sample_rate=8000,
    seconds=4.0,
    max_sources=2,
)
def write_fuss(folder: Path, sizes: Sizes) -> None:
    """Write universal sound mixtures in the layout of FUSS.

    Backgrounds last throughout (rain, engine, bowed string), foregrounds are events
    (voice, plucks, bars, chirps, drums) within 5 dB of them. A tenth of the training
    examples is only a background; in validation and eval a quarter is. For
    ``max_sources`` above 2, training draws 2 to that many, and some of eval have 3 or
    more.
    """
    most = sizes.options["max_sources"]
    if most > 1 + len(sounds.EVENTS):
        raise CorpusError(
            f"max_sources is {most}; the miniature has a background and "
            f"{len(sounds.EVENTS)} kinds of events."
        )
    lines: dict[str, list[str]] = {split: [] for split in sizes.counts}
    for split, index, rng in sizes.draws(1):
        shape = (scenes.num_sources(split, index, most, rng), sizes.samples)
        sources = scenes.universal_mixture(shape, sizes.sample_rate, rng)
        line = fuss.write_example(folder, split, index, sources, sizes.sample_rate)
        lines[split].append(line)
    for split, texts in lines.items():
        fuss.write_list(folder, split, texts)


WRITERS: dict[str, Writer] = {
    writer.layout: writer
    for writer in (
        write_fuss,
        write_musdb,
        write_wsj0_2mix,
        write_wsj0_3mix,
        write_wham,
        write_mir1k,
        write_slakh,
        write_remixpacks600,
        write_scaper,
        write_mix_folders,
        write_moisesdb,
        write_dsd100,
        write_ccmixter,
        write_snippets,
        write_song_folders,
    )
}


def cached(corpus: str, folder: str, **sizes: Any) -> Path:
    """Make the miniature in the cache, unless it is there, and print where.

    Args:
        corpus: Its layout, a key of :data:`WRITERS`.
        folder: Name of its folder in the cache, one for each choice of sizes.
        **sizes: Sizes and options of the layout.

    Returns:
        The folder of the corpus.
    """
    path = files.cache_folder("miniature", folder)
    sys.stdout.write(
        f"no corpus is named: using the synthetic miniature corpus in {path}; its "
        "numbers say nothing about real recordings\n"
    )
    sys.stdout.flush()
    return WRITERS[corpus](path, **sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line; None takes that of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m common.synthetic.miniature",
        description="Write synthetic sounds in the layout of a real corpus.",
    )
    commands = parser.add_subparsers(dest="kind", required=True)
    for name, writer in WRITERS.items():
        command = commands.add_parser(
            name, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.add_argument("folder", type=Path, help="folder to make")
        for option, default in writer.parameters.items():
            flag = f"--{option.replace('_', '-')}"
            command.add_argument(flag, type=type(default), default=default, help=" ")
    options = vars(parser.parse_args(arguments))

    def run() -> int:
        folder = WRITERS[options.pop("kind")](options.pop("folder"), **options)
        sys.stdout.write(f"{folder}\n")
        return 0

    return exit_code(parser.prog, run)


if __name__ == "__main__":
    raise SystemExit(main())
