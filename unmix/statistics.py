"""Mean and deviation of every frequency bin over the training set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from common.signal.stft import Stft, stft
from unmix import data
from unmix.config import UnmixConfig
from unmix.corpus import Split

BLOCK_FRAMES = 1024
FLOOR = 1e-4
"""Smallest deviation of a bin, as a fraction of the largest."""


class Moments:
    """Count, mean and sum of squared differences of vectors, added in any blocks.

    Chan, Golub and LeVeque: Updating formulae and a pairwise algorithm for computing
    sample variances, 1979.

    Args:
        size: Length of the vectors.

    >>> moments = Moments(1)
    >>> moments.add(np.array([[1.0], [2.0]]))
    >>> moments.add(np.array([[6.0]]))
    >>> moments.mean, moments.variance
    (array([3.]), array([4.66666667]))
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)

    def add(self, rows: np.ndarray) -> None:
        """Add vectors, [rows, size]."""
        if not len(rows):
            return
        rows = rows.astype(np.float64, copy=False)
        mean = rows.mean(axis=0)
        total = self.count + len(rows)
        shift = mean - self.mean
        self.squares += np.square(rows - mean).sum(axis=0)
        self.squares += np.square(shift) * (self.count * len(rows) / total)
        self.mean += shift * (len(rows) / total)
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        """Variance of the whole population."""
        return self.squares / max(self.count, 1)


def statistics(config: UnmixConfig, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Compute the statistics that standardise the input of the network.

    These are mean and population deviation, over all frames of all training tracks, of
    the magnitudes of the mixtures averaged over channels. Deviations below 1e-4 of the
    largest are raised to that value.

    Args:
        config: Configuration with the corpus and the transform.
        split: The training split.

    Returns:
        Mean and deviation of every bin, float64 [bins].
    """
    params = Stft(config.model.window_samples, config.model.hop_samples)
    moments = Moments(params.bins)
    example, count = data.whole_mixtures(config, split)
    mixtures = tf.data.Dataset.range(count).map(lambda row: example(row)["mixture"])
    read = mixtures.prefetch(1).as_numpy_iterator()
    for mixture in tqdm(read, "statistics", count, disable=None):
        for block in _blocks(mixture, params):
            moments.add(block)
    deviation = np.sqrt(moments.variance)
    return moments.mean, np.maximum(deviation, FLOOR * deviation.max())


def _blocks(mixture: np.ndarray, params: Stft) -> Iterator[np.ndarray]:
    """Magnitudes [frames, bins] of a mixture, block by block."""
    hop, overlap = params.hop_samples, params.window_samples - params.hop_samples
    samples = mixture.shape[-1]
    for start in range(0, samples - params.window_samples + 1, BLOCK_FRAMES * hop):
        end = start + BLOCK_FRAMES * hop + overlap
        yield _magnitude(mixture[:, start:end], params).numpy()


@tf.function(reduce_retracing=True, autograph=False)
def _magnitude(mixture: tf.Tensor, params: Stft) -> tf.Tensor:
    return tf.reduce_mean(tf.abs(stft(mixture, params)), axis=0)
