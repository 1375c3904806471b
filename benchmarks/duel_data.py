"""What both learners of a duel share: clock, sounds, their order, and the measures.

The environments of the peers have neither this suite nor, some of them, SciPy.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RATE, SAMPLES = 8000, 16_000
TRAINING, HELD_OUT = 240, 16
BATCH, STEPS = 4, 20_000
LIMIT_DB = 40.0
"""Points that are further below the loudest one do not move centres."""
ROUNDS = 10
MARKS = 5
"""Evaluations after the first."""
FIRST = 20
"""Steps whose losses are compared."""
LR, CLIP, TARGET = 1e-3, 5.0, "vocals"


class Learner(NamedTuple):
    """A network that learns.

    Attributes:
        step: Take a step on a batch; its loss.
        score: Measure the network on the held-out excerpts, in dB.
        batches: The batches.
        same: Loss of the peer's first estimates; none where the weights are the same.
    """

    step: Callable[[np.ndarray], float]
    score: Callable[[], float]
    batches: Iterator[np.ndarray]
    same: float | None = None


def race(learner: Learner, seconds: float) -> dict[str, Any]:
    """Learn for a number of CPU seconds.

    Returns:
        ``curve``, rows of CPU seconds, steps and dB, and ``same``, the losses that must
        be equal for both learners.
    """
    losses = [learner.step(next(learner.batches))]
    spent, curve = 0.0, [(0.0, 1, learner.score())]
    for mark in np.linspace(0.0, seconds, MARKS + 1)[1:]:
        while spent < mark:
            batch, begin = next(learner.batches), time.process_time()
            losses.append(learner.step(batch))
            spent += time.process_time() - begin
        curve.append((spent, len(losses), learner.score()))
    same = losses[:FIRST] if learner.same is None else [learner.same]
    return {"curve": curve, "same": same}


def first_steps(learner: Learner) -> dict[str, Any]:
    """Take the steps whose losses are compared, and no more."""
    batches = (next(learner.batches) for _ in range(FIRST))
    return {"same": [learner.step(batch) for batch in batches]}


def speech() -> dict[str, np.ndarray]:
    """Draw excerpts of two synthetic speakers [excerpts, 2, samples].

    The speakers of the held-out excerpts are those of the training, with new
    utterances.
    """
    from common.synthetic import scenes

    sounds, counts = {}, {"train": TRAINING, "valid": HELD_OUT}
    for number, (name, count) in enumerate(counts.items()):
        rng = np.random.default_rng([20, number])
        drawn = [scenes.dialogue(range(8), 0, RATE, rng)[1] for _ in range(count)]
        rows = [[voice[:SAMPLES] for voice in sources.values()] for sources in drawn]
        sounds[name] = np.array(rows, np.float32)
    return sounds


def order(seed: int, count: int) -> np.ndarray:
    """Draw the excerpts of every step, [steps, batch]."""
    return np.random.default_rng(seed).integers(count, size=[STEPS, BATCH])


def read(folder: Path, name: str, seed: int) -> tuple[Iterator[np.ndarray], np.ndarray]:
    """Read the batches of the training, and the held-out excerpts."""
    with np.load(folder / f"{name}.npz") as sounds:
        train, valid = sounds["train"], sounds["valid"]
    rows = np.load(folder / f"{name}, order {seed}.npy")
    return (train[row] for row in itertools.cycle(rows)), valid


def improvement(estimates: np.ndarray, sources: np.ndarray) -> float:
    """Average the improvement of the SI-SDR in dB by the best order of the estimates.

    Args:
        estimates: Waveforms [excerpts, estimates, samples], no fewer than sources.
        sources: Waveforms [excerpts, sources, samples].

    >>> voices = np.random.default_rng(0).standard_normal([1, 2, 8000])
    >>> noise = np.random.default_rng(1).standard_normal([1, 2, 8000])
    >>> round(improvement((voices + 0.1 * noise)[:, ::-1], voices))
    20
    """
    mixture = sources.sum(1, keepdims=True)
    before = ratios(mixture, sources)[:, :, 0].mean()
    table = ratios(estimates, sources)
    rows = range(sources.shape[1])
    orders = list(itertools.permutations(range(estimates.shape[1]), len(rows)))
    scores = [table[:, rows, chosen].mean(1) for chosen in orders]
    return float(np.max(scores, axis=0).mean() - before)


def ratios(estimates: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Compute the SI-SDR of all pairs in dB, [excerpts, sources, estimates]."""
    estimates, sources = (
        waves.astype(np.float64) - waves.mean(-1, keepdims=True)
        for waves in (estimates, sources)
    )
    cross = sources @ estimates.swapaxes(1, 2)
    own = np.sum(sources**2, -1)[:, :, None]
    energy = np.sum(estimates**2, -1)[:, None]
    target = cross**2 / own
    return 10 * np.log10((target + 1e-12) / (np.maximum(energy - target, 0.0) + 1e-12))


def clustered(points: np.ndarray, mixtures: np.ndarray) -> np.ndarray:
    """Separate mixtures by binary masks from two clusters of their embedding.

    Args:
        points: Embedding [excerpts, frames * bins, dim].
        mixtures: Waveforms [excerpts, samples].

    Returns:
        Waveforms [excerpts, 2, samples].
    """
    from scipy import signal

    window = np.sqrt(signal.get_window("hann", 256))
    stft = {"window": window, "nperseg": 256, "noverlap": 192}
    estimates = []
    for embedding, mixture in zip(points, mixtures, strict=True):
        spectrum = signal.stft(mixture, **stft)[2]
        loudness = np.abs(spectrum.T).ravel()
        loud = loudness > loudness.max() * 10 ** (-LIMIT_DB / 20)
        mask = nearest(embedding, centres(embedding[loud])).reshape(spectrum.T.shape).T
        both = np.stack([spectrum * (mask == 0), spectrum * (mask == 1)])
        estimates.append(signal.istft(both, **stft)[1][:, : len(mixture)])
    return np.stack(estimates)


def centres(points: np.ndarray) -> np.ndarray:
    """Find two centres by k-means, from the two points that are far from the mean."""
    first = points[np.argmax(np.sum((points - points.mean(0)) ** 2, 1))]
    second = points[np.argmax(np.sum((points - first) ** 2, 1))]
    found = np.stack([first, second])
    for _ in range(ROUNDS):
        owner = nearest(points, found)
        parts = [points[owner == number] for number in range(2)]
        found = np.stack(
            [
                part.mean(0) if len(part) else old
                for part, old in zip(parts, found, strict=True)
            ]
        )
    return found


def nearest(points: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Number of the nearest centre of each point."""
    return np.argmin(np.sum(found**2, 1) - 2 * points @ found.T, 1)


def magnitude_snr(estimates: np.ndarray, targets: np.ndarray) -> float:
    """Ratio of the energy of magnitudes to that of their error, in dB.

    >>> round(magnitude_snr(np.full(4, 0.9), np.ones(4)), 6)
    20.0
    """
    error = np.sum((estimates - targets) ** 2, dtype=np.float64)
    return float(10 * np.log10(np.sum(targets**2, dtype=np.float64) / error))


def play(learners: Mapping[str, Callable[..., Learner]]) -> None:
    """Let a learner learn from each seed of the command line; print the results.

    For 0 seconds it takes the first steps, in float64.
    """
    name, folder, seconds, *seeds = sys.argv[1:]
    for seed in map(int, seeds):
        if float(seconds):
            result = race(learners[name](Path(folder), seed), float(seconds))
        else:
            result = first_steps(learners[name](Path(folder), seed, exact=True))
        sys.stdout.write(f"result {json.dumps({'seed': seed, **result})}\n")
        sys.stdout.flush()
