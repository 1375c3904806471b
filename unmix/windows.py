"""The Wiener filter over the windows of a whole spectrogram, in one pass of the graph.

For tests and for training through the filter; separation of files takes one window
after the other.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from unmix.wiener import wiener


def windowed(
    magnitudes: tf.Tensor,
    mixture: tf.Tensor,
    window_frames: int | None = 300,
    **options: Any,
) -> tf.Tensor:
    """Apply :func:`unmix.wiener.wiener` to windows of a spectrogram, each by itself.

    Args:
        magnitudes: float [..., targets, channels or 1, frames, bins].
        mixture: complex [..., channels, frames, bins].
        window_frames: Length of the windows, of which the last may be shorter; None
            takes the whole.
        options: Of :func:`unmix.wiener.wiener`.

    Returns:
        Spectrograms [..., targets (+ 1), channels, frames, bins].

    Raises:
        ValueError: The window has no frames, or as :func:`unmix.wiener.wiener`.

    >>> sound = tf.complex(tf.random.stateless_normal([2, 7, 3], [1, 2]), 0.0)
    >>> windowed(tf.abs(sound)[tf.newaxis], sound, window_frames=4).shape.as_list()
    [1, 2, 7, 3]
    """
    if window_frames is None:
        return wiener(magnitudes, mixture, **options)
    if window_frames < 1:
        raise ValueError(
            f"window_frames is {window_frames}; expected at least 1, or None to "
            "filter the whole at once"
        )
    magnitudes, mixture = map(tf.convert_to_tensor, (magnitudes, mixture))
    length = min(window_frames, mixture.shape[-2] or window_frames)
    estimates = wiener(_cut(magnitudes, length), _cut(mixture, length), **options)
    joined = _join(estimates)[..., : tf.shape(mixture)[-2], :]
    shape = [*estimates.shape[1:-2], *mixture.shape[-2:]]
    return tf.ensure_shape(joined, shape)


def _cut(spectra: tf.Tensor, length: int) -> tf.Tensor:
    """Cut [..., frames, bins] into windows [windows, ..., length, bins]."""
    shape = tf.shape(spectra)
    missing = tf.math.floormod(-shape[-2], length)
    none = [0, 0]
    ends = tf.stack([none] * (len(spectra.shape) - 2) + [[0, missing], none])
    padded = tf.pad(spectra, ends)
    split = tf.concat([shape[:-2], [-1, length], shape[-1:]], axis=0)
    rank = len(spectra.shape)
    order = [rank - 2, *range(rank - 2), rank - 1, rank]
    windows = tf.transpose(tf.reshape(padded, split), order)
    return tf.ensure_shape(
        windows, [None, *spectra.shape[:-2], length, spectra.shape[-1]]
    )


def _join(windows: tf.Tensor) -> tf.Tensor:
    """Put windows [windows, ..., length, bins] one behind the other."""
    rank = windows.shape.rank
    shape = tf.shape(windows)
    together = tf.transpose(windows, [*range(1, rank - 2), 0, rank - 2, rank - 1])
    joined = tf.concat([shape[1:-2], [shape[0] * shape[-2]], shape[-1:]], axis=0)
    return tf.reshape(together, joined)
