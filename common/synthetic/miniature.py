"""The miniature corpus: synthetic sounds in the real layouts, built in seconds.

``python -m common.synthetic.miniature KIND DIR`` writes the files of a corpus (FUSS,
MUSDB18-HQ, WSJ0-2mix, WHAM!, MIR-1K, Slakh2100, ...), so that every script runs on a
fresh machine with no download, through the code of the real corpus. Scores on it say
that training works; they compare with no published number.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common.corpora import fuss
from common.corpora.track import CorpusError
from common.errors import exit_code
from common.synthetic import scenes, sounds
from common.synthetic.building import MARKER, draws, layout, write_sum
from common.synthetic.miniature_music import (
    write_mir1k,
    write_remixpacks600,
    write_scaper,
    write_slakh,
    write_snippets,
)
from common.synthetic.miniature_songs import (
    write_ccmixter,
    write_dsd100,
    write_moisesdb,
)
from common.synthetic.miniature_speech import (
    write_mix_folders,
    write_wham,
    write_wsj0_2mix,
    write_wsj0_3mix,
)

__all__ = [
    "MARKER",
    "WRITERS",
    "main",
    "write_ccmixter",
    "write_dsd100",
    "write_fuss",
    "write_mir1k",
    "write_mix_folders",
    "write_moisesdb",
    "write_musdb",
    "write_remixpacks600",
    "write_scaper",
    "write_slakh",
    "write_snippets",
    "write_wham",
    "write_wsj0_2mix",
    "write_wsj0_3mix",
]


@layout("fuss")
def write_fuss(  # noqa: PLR0913 (each is one number of the set)
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    seconds: float = 4.0,
    train: int = 200,
    validation: int = 20,
    eval: int = 40,  # noqa: A002 (the name of the split)
    max_sources: int = 2,
) -> None:
    """Write universal sound mixtures in the layout of FUSS, or find them written.

    Backgrounds last throughout (rain, engine, bowed string), foregrounds are events
    (voice, plucks, bars, chirps, drums) within 5 dB of them. A tenth of the training
    examples is a background alone; in validation and eval a quarter is. With more than
    two sources allowed, training draws 2 to that many, and some of eval have 3 or more.

    Args:
        folder: Folder to make; it gets the lists and the splits.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every example.
        train: Number of training examples.
        validation: Number of validation examples.
        eval: Number of evaluation examples.
        max_sources: Most sources in an example, 1 to 6.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "validation": validation, "eval": eval}
    if max_sources > 1 + len(sounds.EVENTS):
        raise CorpusError(
            f"max_sources is {max_sources}; the miniature has a background and "
            f"{len(sounds.EVENTS)} kinds of events."
        )
    for number, (split, count) in enumerate(counts.items()):
        lines = []
        for index in range(count):
            rng = np.random.default_rng([seed, 1, number, index])
            shape = (
                scenes.num_sources(split, index, max_sources, rng),
                round(seconds * sample_rate),
            )
            sources = scenes.universal_mixture(shape, sample_rate, rng)
            lines.append(fuss.write_example(folder, split, index, sources, sample_rate))
        fuss.write_list(folder, split, lines)


@layout("musdb")
def write_musdb(
    folder: Path,
    *,
    seed: int = 0,
    sample_rate: int = 44100,
    seconds: float = 7.0,
    train: int = 4,
    test: int = 2,
) -> None:
    """Write stereo music of four stems in the layout of MUSDB18-HQ, or find it written.

    Args:
        folder: Folder to make, with ``{train,test}/<Artist - Title>/<stem>.wav``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every track.
        train: Number of training tracks.
        test: Number of test tracks.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "test": test}
    for split, index, rng in draws([seed, 2], counts):
        stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
        place = folder / split / f"Miniature {split} - Piece {index + 1:02d}"
        write_sum(place, "{}.wav", "mixture", stems, sample_rate)


WRITERS: dict[str, Callable[..., Path]] = {
    "fuss": write_fuss,
    "musdb": write_musdb,
    "wsj0_2mix": write_wsj0_2mix,
    "wsj0_3mix": write_wsj0_3mix,
    "wham": write_wham,
    "mir1k": write_mir1k,
    "slakh": write_slakh,
    "remixpacks600": write_remixpacks600,
    "scaper": write_scaper,
    "mix_folders": write_mix_folders,
    "moisesdb": write_moisesdb,
    "dsd100": write_dsd100,
    "ccmixter": write_ccmixter,
    "snippets": write_snippets,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line; None takes the program's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m common.synthetic.miniature",
        description="Write synthetic sounds in the layout of a real corpus.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, writer in WRITERS.items():
        command = kinds.add_parser(
            kind, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.add_argument("folder", type=Path, help="folder to make")
        for name, usual in _options(writer).items():
            flag = f"--{name.replace('_', '-')}"
            command.add_argument(flag, type=type(usual), default=usual, help=" ")
    options = vars(parser.parse_args(arguments))

    def run() -> int:
        folder = WRITERS[options.pop("kind")](options.pop("folder"), **options)
        sys.stdout.write(f"{folder}\n")
        return 0

    return exit_code(parser.prog, run)


def _options(writer: Callable[..., Path]) -> dict[str, float]:
    """Keywords of a writer with their defaults, which are its command's options."""
    every = inspect.signature(writer).parameters
    return {name: each.default for name, each in every.items() if name != "folder"}


if __name__ == "__main__":
    raise SystemExit(main())
