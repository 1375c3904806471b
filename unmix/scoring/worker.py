"""A process that scores one song by museval: a job on standard input, scores out.

It is a process of its own, because museval takes minutes and gigabytes for a song. It
imports no TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from common import audio
from common.evaluation import bss_eval

WINDOW_SECONDS = 1.0
HOP_SECONDS = 1.0
MODE = "v4"
"""One distortion filter for the whole song, as in the campaign of 2018 and since."""

Waveform = tuple[np.ndarray, int]
"""Samples [channels, samples], and their rate in Hz."""


class ScoringError(ValueError):
    """A song that museval has no score for."""


class Job(NamedTuple):
    """One song to score, see :func:`score`."""

    name: str
    references: Mapping[str, Sequence[Path | str]]
    estimates: Mapping[str, Path | str]


def score(
    name: str,
    references: Mapping[str, Sequence[Path | str]],
    estimates: Mapping[str, Path | str],
) -> str:
    """Score the estimates of one song as museval does.

    Args:
        name: Name of the song.
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
    sums = {target: _sum(files) for target, files in references.items()}
    guesses = {target: audio.read(file) for target, file in estimates.items()}
    rate = _check_alike(sums, guesses)
    _refuse_silence("reference", sums)
    _refuse_silence("estimate", guesses)
    samples = min(wave.shape[1] for wave, _ in sums.values())
    track = SimpleNamespace(
        name=name,
        rate=rate,
        targets={
            target: SimpleNamespace(audio=wave[:, :samples].T)
            for target, (wave, _) in sums.items()
        },
    )
    with bss_eval.repaired(museval):
        store = museval.eval_mus_track(
            track,
            {target: wave[:, :samples].T for target, (wave, _) in guesses.items()},
            mode=MODE,
            win=WINDOW_SECONDS,
            hop=HOP_SECONDS,
        )
    return store.json


def main() -> int:
    """Score the song of standard input; returns the exit code."""
    # Whatever prints on the way must not get into the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        json.dump(_answer(Job(**json.load(sys.stdin))), answers)
    return 0


def _answer(job: Job) -> dict[str, str]:
    try:
        return {"scores": score(*job)}
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "there is not enough memory to score it; use fewer --jobs"}


def _sum(files: Sequence[Path | str]) -> Waveform:
    """Add sounds up in float64 [channels, samples], as the reader of museval does.

    Lengths that differ by less than a second are trimmed to the shortest.
    """
    waves = {str(file): audio.read(file) for file in files}
    rate = _check_alike(waves, {})
    samples = min(wave.shape[1] for wave, _ in waves.values())
    total = sum(wave[:, :samples].astype(np.float64) for wave, _ in waves.values())
    return np.asarray(total), rate


def _check_alike(
    references: Mapping[str, Waveform], estimates: Mapping[str, Waveform]
) -> int:
    """Return the common rate; channels must be as many, and lengths about the same."""
    named = [
        *references.items(),
        *((f"estimated {n}", w) for n, w in estimates.items()),
    ]
    (first, (one, rate)), *others = named
    for name, (wave, its_rate) in others:
        alike = its_rate == rate and len(wave) == len(one)
        if not alike or abs(wave.shape[1] - one.shape[1]) >= rate:
            raise ScoringError(
                f"{first} has {_described(one, rate)}, but {name} has "
                f"{_described(wave, its_rate)}; expected sounds of one rate, length "
                "and number of channels"
            )
    return rate


def _described(wave: np.ndarray, rate: int) -> str:
    return f"{len(wave)} channels of {wave.shape[1]} samples at {rate} Hz"


def _refuse_silence(role: str, waves: Mapping[str, Waveform]) -> None:
    """Refuse what museval refuses: a sum over the channels that is zero throughout."""
    for name, (wave, _) in waves.items():
        if not wave.sum(axis=0).any():
            raise ScoringError(
                f"the {role} of {name} is silent throughout, and museval has no score "
                "for a song with a silent source; leave it out with --targets"
            )


if __name__ == "__main__":
    sys.exit(main())
