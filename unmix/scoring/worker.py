"""A process that scores with museval: jobs in on standard input, scores out.

It is a process of its own, because museval takes minutes and gigabytes for a song, and
it imports no TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from common import audio
from common.evaluation import bss_eval

WINDOW_SECONDS = 1.0
HOP_SECONDS = 1.0
MODE = "v4"
"""One distortion filter for the whole song, as in the campaign of 2018 and since."""


class ScoringError(ValueError):
    """A song that museval has no score for."""


def score(
    name: str,
    references: Mapping[str, Sequence[Path | str]],
    estimates: Mapping[str, Path | str],
) -> str:
    """Score the estimates of one song as museval does.

    Args:
        name: Of the song.
        references: Sound files by target, in museval's order; several are added up.
        estimates: Sound file by target.

    Returns:
        The scores of every second in museval's JSON, rounded as it rounds them.

    Raises:
        AudioError: A file cannot be read.
        ScoringError: A sound is silent throughout, or they do not fit together.
        MeasureError: Museval cannot be loaded.
    """
    museval = bss_eval.load()
    sounds = {target: _sum(files) for target, files in references.items()}
    guesses = {target: _read(file) for target, file in estimates.items()}
    rate = _check_alike(sounds, guesses)
    _check_heard("reference", sounds)
    _check_heard("estimate", guesses)
    samples = min(sound.shape[1] for sound, _ in sounds.values())
    track = SimpleNamespace(
        name=name,
        rate=rate,
        targets={
            target: SimpleNamespace(audio=sound[:, :samples].T)
            for target, (sound, _) in sounds.items()
        },
    )
    with bss_eval.repaired(museval):
        store = museval.eval_mus_track(
            track,
            {target: guess[:, :samples].T for target, (guess, _) in guesses.items()},
            mode=MODE,
            win=WINDOW_SECONDS,
            hop=HOP_SECONDS,
        )
    return store.json


def main() -> int:
    """Answer each line of standard input by one line; returns the exit code."""
    # Whatever prints on the way must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()
    return 0


def _answer(job: dict[str, Any]) -> dict[str, str]:
    try:
        return {"scores": score(job["name"], job["references"], job["estimates"])}
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "there is not enough memory to score it; use fewer --cores"}
    except Exception:
        # It comes up again in the process that asked.
        return {"fault": traceback.format_exc()}


def _read(file: Path | str) -> tuple[np.ndarray, int]:
    return audio.read(file)


def _sum(files: Sequence[Path | str]) -> tuple[np.ndarray, int]:
    """Add sounds up in float64 [channels, samples], as the reader of museval does.

    Lengths that differ by less than a second are cut to the shortest.
    """
    sounds = {str(file): audio.read(file) for file in files}
    rate = _check_alike(sounds, {})
    samples = min(sound.shape[1] for sound, _ in sounds.values())
    total = sum(sound[:, :samples].astype(np.float64) for sound, _ in sounds.values())
    return np.asarray(total), rate


def _check_alike(
    sounds: Mapping[str, tuple[np.ndarray, int]],
    guesses: Mapping[str, tuple[np.ndarray, int]],
) -> int:
    """See that all have one rate, as many channels and about one length."""
    every = [*sounds.items(), *((f"estimated {n}", s) for n, s in guesses.items())]
    (first, (one, rate)), *others = every
    for name, (sound, its_rate) in others:
        alike = its_rate == rate and len(sound) == len(one)
        if not alike or abs(sound.shape[1] - one.shape[1]) >= rate:
            raise ScoringError(
                f"{first} has {_described(one, rate)}, but {name} has "
                f"{_described(sound, its_rate)}; expected sounds of one rate, length "
                "and number of channels"
            )
    return rate


def _described(sound: np.ndarray, rate: int) -> str:
    return f"{len(sound)} channels of {sound.shape[1]} samples at {rate} Hz"


def _check_heard(kind: str, sounds: Mapping[str, tuple[np.ndarray, int]]) -> None:
    """Refuse what museval refuses: a sum over the channels that is zero throughout."""
    for name, (sound, _) in sounds.items():
        if not sound.sum(axis=0).any():
            raise ScoringError(
                f"the {kind} of {name} is silent throughout, and museval has no score "
                "for a song with a silent source; leave it out with --targets"
            )


if __name__ == "__main__":
    sys.exit(main())
