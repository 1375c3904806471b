"""Targets of masks and embeddings, from the spectra of the sources.

[1] Erdogan, Hershey, Watanabe and Le Roux, Phase-sensitive and recognition-boosted
speech separation using deep recurrent neural networks, ICASSP 2015.
[2] Wang, Le Roux and Hershey, Alternative objective functions for deep clustering,
ICASSP 2018.

Weights are those of the losses. Their square roots, which nussl stores, multiply the
rows of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from common.signal.masking import binary_mask

WeightName = Literal["magnitude", "threshold", "vad", "class"]


def msa(sources: tf.Tensor) -> tf.Tensor:
    """Compute the magnitudes of the sources (MSA), |S_s|.

    Args:
        sources: Spectra, complex64 [batch, sources, frames, bins].

    Returns:
        float32 [batch, sources, frames, bins].

    >>> msa(tf.constant([3.0 + 4.0j])).numpy().tolist()
    [5.0]
    """
    return tf.abs(sources)


def psa(sources: tf.Tensor, mixture: tf.Tensor, truncated: bool = True) -> tf.Tensor:
    """Compute the magnitudes of the sources in phase with the mixture (PSA), [1].

    |S_s| cos(arg S_s - arg X) = Re(S_s conj X) / |X|, and if truncated (tPSA) no less
    than 0 and no more than |X|, which a mask between 0 and 1 can reach. If the
    mixture is 0 so is the target, because no mask can reach another value.

    Args:
        sources: Spectra, complex64 [batch, sources, frames, bins].
        mixture: Spectrum, complex64 [batch, frames, bins].
        truncated: Whether to clip it to the range of a mask.

    Returns:
        float32 [batch, sources, frames, bins].

    >>> sources = tf.constant([[[[3.0 + 0.0j]], [[-1.0 + 0.0j]]]])
    >>> mixture = tf.constant([[[2.0 + 0.0j]]])
    >>> psa(sources, mixture).numpy().ravel().tolist()
    [2.0, 0.0]
    >>> psa(sources, mixture, truncated=False).numpy().ravel().tolist()
    [3.0, -1.0]
    """
    mixture = tf.expand_dims(mixture, -3)
    magnitude = tf.abs(mixture)
    # The direction first: the product of two quiet bins would underflow float32.
    real = tf.math.divide_no_nan(tf.math.real(mixture), magnitude)
    imaginary = tf.math.divide_no_nan(tf.math.imag(mixture), magnitude)
    part = tf.math.real(sources) * real + tf.math.imag(sources) * imaginary
    return tf.minimum(tf.maximum(part, 0.0), magnitude) if truncated else part


def irm(sources: tf.Tensor, mixture: tf.Tensor) -> tf.Tensor:
    """Compute the mixture times the ideal ratio masks (IRM).

    |X| |S_s| / sum_s |S_s|, so that the target mask of a source is its ratio.

    Args:
        sources: Magnitudes, float32 [batch, sources, frames, bins].
        mixture: Magnitude, float32 [batch, frames, bins].

    Returns:
        float32 [batch, sources, frames, bins], 0 where all sources are.

    >>> sources = tf.constant([[[[3.0]], [[1.0]]]])
    >>> irm(sources, tf.constant([[[2.0]]])).numpy().ravel().tolist()
    [1.5, 0.5]
    """
    total = tf.reduce_sum(sources, -3, keepdims=True)
    ratios = tf.math.divide_no_nan(sources, total)
    return ratios * mixture[..., tf.newaxis, :, :]


def ideal_binary(magnitudes: tf.Tensor) -> tf.Tensor:
    """Assign every point to its loudest source, the assignment of embedding losses.

    Ties, silence among them, are all zeros as in nussl 1.x; before 1.0 they were all
    ones.

    Args:
        magnitudes: Magnitudes of the sources, float32 [batch, sources, frames, bins].
            Targets clipped at the magnitude of the mixture, which nussl 1.x takes for
            PSA, could tie, or have another loudest source. With two sources, clipping
            does not change the result.

    Returns:
        float32 [batch, points, sources], points = frames * bins, frames first.

    >>> ideal_binary(tf.constant([[[[3.0, 0.0]], [[1.0, 0.0]]]])).numpy().tolist()
    [[[1.0, 0.0], [0.0, 0.0]]]
    """
    last = tf.transpose(binary_mask(magnitudes), [0, 2, 3, 1])
    batch, frames, bins, _ = tf.unstack(tf.shape(last))
    points = tf.reshape(last, [batch, frames * bins, last.shape[-1]])
    return tf.ensure_shape(points, [magnitudes.shape[0], None, magnitudes.shape[1]])


def point_weights(
    mixture: tf.Tensor,
    assignment: tf.Tensor,
    names: Sequence[WeightName] = ("magnitude",),
    threshold_db: float = -40.0,
) -> tf.Tensor:
    """Compute the product of several weights of the points.

    ``"magnitude"``: :func:`magnitude_ratio`; ``"threshold"``: :func:`threshold`;
    ``"vad"``: :func:`vad`; ``"class"``: :func:`class_balance`.

    Args:
        mixture: Magnitudes, float32 [batch, frames, bins].
        assignment: float32 [batch, points, sources].
        names: Any of the four, none for weights of 1.
        threshold_db: Level for ``"threshold"`` in dB of the magnitudes.

    Returns:
        float32 [batch, points], not negative.

    >>> mixture, assignment = tf.constant([[[3.0, 0.001]]]), tf.eye(2)[tf.newaxis]
    >>> point_weights(mixture, assignment, ["magnitude", "vad"]).numpy().round(2)
    array([[2., 0.]], dtype=float32)
    """
    functions = {
        "magnitude": lambda: magnitude_ratio(mixture),
        "threshold": lambda: threshold(mixture, threshold_db),
        "vad": lambda: vad(mixture),
        "class": lambda: class_balance(assignment),
    }
    product = tf.ones_like(_points(mixture))
    for name in names:
        product *= functions[name]()
    return product


def magnitude_ratio(mixture: tf.Tensor) -> tf.Tensor:
    """Weight points by their fraction of the mixture, |X| N / (sum |X| + 1e-6), [2].

    Args:
        mixture: Magnitudes, float32 [batch, frames, bins], N = frames * bins.

    Returns:
        float32 [batch, points] with a mean of 1, 0 for silence.

    >>> magnitude_ratio(tf.constant([[[3.0, 1.0]]])).numpy().round(3).tolist()
    [[1.5, 0.5]]
    """
    magnitude = _points(mixture)
    count = tf.cast(tf.shape(magnitude)[-1], tf.float32)
    return magnitude * count / (tf.reduce_sum(magnitude, -1, keepdims=True) + 1e-6)


def threshold(mixture: tf.Tensor, decibels: float = -40.0) -> tf.Tensor:
    """Keep points above a fixed level, 20 log10 |X| > level.

    As in nussl before 1.0, but without the floor of its spectrogram at 80 dB below the
    loudest point, with which every point passes a low threshold.

    Args:
        mixture: Magnitudes, float32 [batch, frames, bins].
        decibels: Level in dB, 0 for a magnitude of 1.

    Returns:
        float32 [batch, points], 1 above and 0 elsewhere.

    >>> threshold(tf.constant([[[0.1, 0.001]]])).numpy().tolist()
    [[1.0, 0.0]]
    """
    return tf.cast(_points(mixture) > 10.0 ** (decibels / 20.0), tf.float32)


def vad(mixture: tf.Tensor, decibels: float = 40.0) -> tf.Tensor:
    """Keep points near the loudest one of the utterance, |X| > 10^(-dB / 20) max |X|.

    Args:
        mixture: Magnitudes, float32 [batch, frames, bins].
        decibels: How far below the loudest point a point may be, in dB.

    Returns:
        float32 [batch, points], 1 within reach and 0 elsewhere, 0 for silence.

    >>> vad(tf.constant([[[10.0, 0.2, 0.05]]])).numpy().tolist()
    [[1.0, 1.0, 0.0]]
    """
    magnitude = _points(mixture)
    loudest = tf.reduce_max(magnitude, -1, keepdims=True)
    return tf.cast(magnitude > 10.0 ** (-decibels / 20.0) * loudest, tf.float32)


def class_balance(assignment: tf.Tensor) -> tf.Tensor:
    """Weight points by the rarity of their source, 1 / sqrt(part of the points).

    Args:
        assignment: float32 [batch, points, sources], one-hot, or 0 for no source.

    Returns:
        float32 [batch, points], at least 1; 0 for points without a source.

    >>> assignment = tf.one_hot([[0, 0, 0, 1]], 2)
    >>> class_balance(assignment).numpy().round(2)
    array([[1.15, 1.15, 1.15, 2.  ]], dtype=float32)
    """
    counts = tf.reduce_sum(assignment, -2)  # [batch, sources]
    total = tf.reduce_sum(counts, -1, keepdims=True)
    weights = tf.sqrt(tf.math.divide_no_nan(total, counts))
    return tf.linalg.matvec(assignment, weights)


def _points(mixture: tf.Tensor) -> tf.Tensor:
    """[batch, frames, bins] -> [batch, points]."""
    mixture = tf.cast(mixture, tf.float32)
    batch, frames, bins = tf.unstack(tf.shape(mixture))
    return tf.reshape(mixture, [batch, frames * bins])
