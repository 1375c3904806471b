"""The embedded miniature corpus: made-up sounds in the real layouts, built in seconds.

``python -m common.corpora.miniature fuss|musdb|wsj0_2mix DIR`` writes what the loaders
of FUSS, MUSDB18-HQ and WSJ0-2mix read, so that every script runs on a fresh machine
with no download, through the code of the real corpus. Scores on it say that training
works; they compare with no published number.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from common import cache
from common.corpora import fuss, scenes, sounds, synthesis, talkers, writing
from common.corpora.track import CorpusError
from common.errors import exit_code

LOG = logging.getLogger(__name__)

MARKER = "miniature.json"
TALKERS = {"tr": range(8), "cv": range(8), "tt": range(8, 12)}
"""Talkers of each split: those of the test set are heard in no other."""
README = """This is the miniature corpus {kind}: synthetic sounds, made by code.

Nothing here was recorded, and nothing of the real data set is in it but its layout.
Use it to see that everything runs and learns, and never compare scores on it with
published ones. Written by python -m common.corpora.miniature with these parameters:
{parameters}
It may be deleted at any time: the same command makes the same files again.
"""


def write_fuss(  # noqa: PLR0913 (each is one number of the set)
    folder: Path | str,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    seconds: float = 4.0,
    train: int = 200,
    validation: int = 20,
    eval: int = 40,  # noqa: A002 (the name of the split)
    max_sources: int = 2,
) -> Path:
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

    Returns:
        The folder.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "validation": validation, "eval": eval}
    parameters = {
        "seed": seed,
        "sample_rate": sample_rate,
        "seconds": seconds,
        "max_sources": max_sources,
        **counts,
    }
    if max_sources > 1 + len(sounds.EVENTS):
        raise CorpusError(
            f"max_sources is {max_sources}; the miniature has a background and "
            f"{len(sounds.EVENTS)} kinds of events."
        )

    def write(root: Path) -> None:
        for number, (split, count) in enumerate(counts.items()):
            lines = []
            for index in range(count):
                rng = np.random.default_rng([seed, 1, number, index])
                shape = (
                    scenes.num_sources(split, index, max_sources, rng),
                    round(seconds * sample_rate),
                )
                sources = scenes.universal_mixture(shape, sample_rate, rng)
                lines.append(
                    fuss.write_example(root, split, index, sources, sample_rate)
                )
            fuss.write_list(root, split, lines)

    return _build(Path(folder), "fuss", parameters, write)


def write_musdb(
    folder: Path | str,
    *,
    seed: int = 0,
    sample_rate: int = 44100,
    seconds: float = 7.0,
    train: int = 4,
    test: int = 2,
) -> Path:
    """Write stereo music of four stems in the layout of MUSDB18-HQ, or find it written.

    Args:
        folder: Folder to make, with ``{train,test}/<Artist - Title>/<stem>.wav``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz.
        seconds: Length of every track.
        train: Number of training tracks.
        test: Number of test tracks.

    Returns:
        The folder.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    counts = {"train": train, "test": test}
    parameters = {
        "seed": seed,
        "sample_rate": sample_rate,
        "seconds": seconds,
        **counts,
    }

    def write(root: Path) -> None:
        for number, (split, count) in enumerate(counts.items()):
            for index in range(count):
                rng = np.random.default_rng([seed, 2, number, index])
                stems = scenes.song(round(seconds * sample_rate), sample_rate, rng)
                place = root / split / f"Miniature {split} - Piece {index + 1:02d}"
                _write_sum(place, "{}.wav", "mixture", stems, sample_rate)

    return _build(Path(folder), "musdb", parameters, write)


def write_wsj0_2mix(
    folder: Path | str,
    *,
    seed: int = 0,
    sample_rate: int = 8000,
    train: int = 60,
    validation: int = 10,
    test: int = 10,
) -> Path:
    """Write mixtures of two made-up talkers in the layout of WSJ0-2mix, or find them.

    Utterances of 2 to 5 s, the mixture cut to the shorter one (``min``), levels up to
    2.5 dB up and down as in the file name; the talkers of ``tt`` speak nowhere else.

    Args:
        folder: Folder to make, with ``2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}``.
        seed: Equal parameters give equal files.
        sample_rate: In Hz; names the folder ``wav8k``.
        train: Number of mixtures in ``tr``.
        validation: Number of mixtures in ``cv``, talkers of ``tr`` in new utterances.
        test: Number of mixtures in ``tt``.

    Returns:
        The folder.

    Raises:
        CorpusError: The folder holds something else, or a number is out of range.
    """
    parameters = {
        "seed": seed,
        "sample_rate": sample_rate,
        "train": train,
        "validation": validation,
        "test": test,
    }

    def write(root: Path) -> None:
        parent = root / "2speakers" / f"wav{sample_rate // 1000}k" / "min"
        counts = {"tr": train, "cv": validation, "tt": test}
        for number, (split, count) in enumerate(counts.items()):
            for kind in ("mix", "s1", "s2"):
                (parent / split / kind).mkdir(parents=True)
            for index in range(count):
                rng = np.random.default_rng([seed, 3, number, index])
                take = 10 * index + number
                name, sources = scenes.dialogue(TALKERS[split], take, sample_rate, rng)
                _write_sum(
                    parent / split, f"{{}}/{name}.wav", "mix", sources, sample_rate
                )

    return _build(Path(folder), "wsj0_2mix", parameters, write)


WRITERS: dict[str, Callable[..., Path]] = {
    "fuss": write_fuss,
    "musdb": write_musdb,
    "wsj0_2mix": write_wsj0_2mix,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line; None takes the program's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m common.corpora.miniature",
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


def _build(
    folder: Path,
    kind: str,
    parameters: Mapping[str, float],
    write: Callable[[Path], None],
) -> Path:
    """Write a corpus as a whole, unless it stands already with these parameters."""
    for name, value in parameters.items():
        least = 0 if name in ("seed", "train", "validation", "eval", "test") else 1e-3
        if not value >= least:
            raise CorpusError(f"{name} is {value}; it must be {least:g} or more.")
    digest = _digest(kind, parameters)
    if _marker(folder).get("digest") == digest:
        return folder
    with cache.locked(folder):
        if _marker(folder).get("digest") != digest:
            _build_now(folder, kind, parameters, digest, write)
    return folder


def _build_now(
    folder: Path,
    kind: str,
    parameters: Mapping[str, float],
    digest: str,
    write: Callable[[Path], None],
) -> None:
    LOG.info("Making the synthetic miniature %s in %s.", kind, folder)
    with writing.whole_folder(folder, replace=_is_ours(folder)) as work:
        write(work)
        text = README.format(kind=kind, parameters=json.dumps(parameters))
        (work / "README.txt").write_text(text, encoding="utf-8")
        entries = sorted(entry.name for entry in work.iterdir())
        marker = {"kind": kind, "parameters": dict(parameters), "digest": digest}
        marker["entries"] = [*entries, MARKER]
        (work / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")


def _digest(kind: str, parameters: Mapping[str, float]) -> str:
    """Fingerprint of all that the files depend on, this code included."""
    state = hashlib.sha256(json.dumps([kind, dict(parameters)]).encode())
    for module in (
        synthesis,
        sounds,
        talkers,
        scenes,
        writing,
        fuss,
        sys.modules[__name__],
    ):
        state.update(Path(str(module.__file__)).read_bytes())
    return state.hexdigest()


def _marker(folder: Path) -> dict:
    """What a finished miniature says of itself; empty where there is none."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds a miniature and nothing that was put there since."""
    entries = _marker(folder).get("entries", [])
    return bool(entries) and {each.name for each in folder.iterdir()} <= set(entries)


def _write_sum(
    folder: Path,
    pattern: str,
    mixture: str,
    sources: Mapping[str, np.ndarray],
    sample_rate: int,
) -> None:
    """Write sources and their exact sum as 16-bit files of one folder."""
    whole = writing.quantise(np.stack(list(sources.values())))
    for name, wave in zip(
        (mixture, *sources), [whole.sum(axis=0), *whole], strict=True
    ):
        writing.write_wav(folder / pattern.format(name), wave, sample_rate)


if __name__ == "__main__":
    raise SystemExit(main())
