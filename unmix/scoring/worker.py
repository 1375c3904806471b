"""A process that scores one song as museval does, from a job on standard input.

Scoring has its own process, because a song takes seconds and gigabytes. TensorFlow is
not imported.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from common import audio
from common.evaluation import bss_eval, intelligibility

WINDOW_SECONDS = 1.0
HOP_SECONDS = 1.0
MODE: Literal["v4"] = "v4"
"""One distortion filter for the whole song, as in campaigns since 2018."""

MUSEVAL_VERSION = "0.4.1"
"""The program whose numbers and JSON these are."""

SPEECH = ("speech",)
"""Targets whose intelligibility can be measured."""

Waveform = tuple[np.ndarray, int]
"""Samples [channels, samples], and their rate in Hz."""


class ScoringError(ValueError):
    """A song that has no scores."""


class Job(NamedTuple):
    """One song to score, see :func:`score`."""

    name: str
    references: Mapping[str, Sequence[Path | str]]
    estimates: Mapping[str, Path | str]
    mixture: Path | str | None = None


def score(
    references: Mapping[str, Sequence[Path | str]],
    estimates: Mapping[str, Path | str],
    mixture: Path | str | None = None,
) -> str:
    """Score the estimates of one song as museval does.

    Args:
        references: Sound files by target, in museval's order; several are added up.
        estimates: Sound file by target.
        mixture: Sound file of the mixture, to add the intelligibility of speech.

    Returns:
        The scores of every second in museval's JSON, rounded as by museval, with
        ``stoi`` and ``stoi_mixture`` of speech if a mixture is given.

    Raises:
        AudioError: A file cannot be read.
        ScoringError: A sound is silent throughout, or they do not fit together.
        MeasureError: A sound holds NaN or infinite samples.
        IntelligibilityError: STOI cannot be measured.
    """
    sums = {target: _sum(files) for target, files in references.items()}
    waves = {target: audio.read(file) for target, file in estimates.items()}
    rate = _check_alike(sums, waves)
    _refuse_silence("reference", sums)
    _refuse_silence("estimate", waves)
    samples = min(wave.shape[1] for wave, _ in sums.values())
    pairs = {
        target: (wave[:, :samples], _fitted(waves[target][0], samples))
        for target, (wave, _) in sums.items()
    }
    if mixture is None:
        return museval_json(_ratios(pairs, rate))
    unseparated = _fitted(audio.read(mixture)[0], samples)
    spoken = {name: pairs[name] for name in SPEECH if name in pairs}
    stoi = {name: _stoi(*pair, unseparated, rate) for name, pair in spoken.items()}
    return museval_json(_ratios(pairs, rate), stoi)


def _stoi(
    reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray, rate: int
) -> dict[str, float]:
    """Measure the intelligibility of an estimate and of the mixture, over channels."""
    measured = (
        intelligibility.stoi(reference, sound, rate) for sound in (estimate, mixture)
    )
    means = [round(float(np.mean(channels)), 5) for channels in measured]
    return dict(zip(("stoi", "stoi_mixture"), means, strict=True))


def _ratios(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], rate: int
) -> dict[str, dict[str, np.ndarray]]:
    """Measure pairs of reference and estimate: by target and measure, [seconds]."""
    window, hop = (
        math.floor(seconds * rate) for seconds in (WINDOW_SECONDS, HOP_SECONDS)
    )
    options = bss_eval.Options(MODE, window, hop)
    ratios: dict[str, dict[str, np.ndarray]] = {}
    for group in scored_together(list(pairs)):
        references, estimates = zip(*(pairs[target] for target in group), strict=True)
        measured = bss_eval.evaluate(references, estimates, options)
        for number, target in enumerate(group):
            # The vocals get the scores of the pair, at its position at the end.
            ratios.pop(target, None)
            named = zip(bss_eval.WINDOWED, measured, strict=False)
            ratios[target] = {name: values[number] for name, values in named}
    return ratios


def scored_together(targets: Sequence[str]) -> list[list[str]]:
    """Group targets as museval does: the accompaniment with the vocals alone.

    >>> scored_together(["vocals", "drums", "accompaniment"])
    [['vocals', 'drums'], ['vocals', 'accompaniment']]
    """
    pair = ["vocals", "accompaniment"]
    if not set(pair) <= set(targets):
        return [list(targets)]
    others = [target for target in targets if target != "accompaniment"]
    return [others, pair] if len(others) > 1 else [pair]


def museval_json(
    ratios: Mapping[str, Mapping[str, np.ndarray]],
    more: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Format scores as museval does: five decimals, and NaN if not finite.

    Args:
        ratios: By target and measure in dB, [windows].
        more: Measures of a whole song by target, which museval does not know.

    >>> ratio = np.array([1.234567])
    >>> scores = {"bass": {name: ratio for name in bss_eval.WINDOWED}}
    >>> json.loads(museval_json(scores))["targets"][0]["frames"][0]["metrics"]["SDR"]
    1.23457
    """
    targets = [
        {"name": target, "frames": _frames(rows), **(more or {}).get(target, {})}
        for target, rows in ratios.items()
    ]
    scores = {"targets": targets, "museval_version": MUSEVAL_VERSION}
    text = json.dumps(scores, indent=2)
    # Texts become numbers that keep their five decimals.
    return re.sub(r'"(SDR|SIR|SAR|ISR)": "(.+?)"', r'"\1": \2', text)


def _frames(rows: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    names = "SDR", "SIR", "SAR", "ISR"
    return [
        {
            "time": index * HOP_SECONDS,
            "duration": WINDOW_SECONDS,
            "metrics": dict(zip(names, map(_decimal, values), strict=True)),
        }
        for index, values in enumerate(zip(*(rows[n] for n in names), strict=True))
    ]


def _decimal(value: float) -> str:
    return f"{value:.5f}" if math.isfinite(value) else "NaN"


def main() -> int:
    """Score the song of standard input; return the exit code."""
    # Output of libraries must not mix with the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        json.dump(_answer(Job(**json.load(sys.stdin))), answers)
    return 0


def _answer(job: Job) -> dict[str, str]:
    try:
        return {"scores": score(job.references, job.estimates, job.mixture)}
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "there is not enough memory to score it; use fewer --jobs"}


def _sum(files: Sequence[Path | str]) -> Waveform:
    """Add sounds up in float64 [channels, samples], as the reader of museval does.

    Lengths that differ by less than a second are trimmed to the shortest. A single
    sound is not converted, which halves the memory.
    """
    waves = {str(file): audio.read(file) for file in files}
    rate = _check_alike(waves, {})
    if len(waves) == 1:
        return next(iter(waves.values()))
    samples = min(wave.shape[1] for wave, _ in waves.values())
    total = sum(wave[:, :samples].astype(np.float64) for wave, _ in waves.values())
    return np.asarray(total), rate


def _check_alike(
    references: Mapping[str, Waveform], estimates: Mapping[str, Waveform]
) -> int:
    """Return the common rate; channels and lengths must match."""
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


def _fitted(wave: np.ndarray, samples: int) -> np.ndarray:
    """Trim an estimate, or pad it with zeros."""
    missing = max(0, samples - wave.shape[1])
    return np.pad(wave, [(0, 0), (0, missing)]) if missing else wave[:, :samples]


def _refuse_silence(role: str, waves: Mapping[str, Waveform]) -> None:
    """Refuse silent sounds, whose sum over channels is zero: they have no score."""
    for name, (wave, _) in waves.items():
        if not wave.sum(axis=0).any():
            raise ScoringError(
                f"the {role} of {name} is silent throughout, and BSS Eval has no "
                "score for a song with a silent source; leave it out with --targets"
            )


if __name__ == "__main__":
    sys.exit(main())
