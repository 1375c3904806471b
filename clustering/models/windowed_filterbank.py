"""Windowed frames times a matrix, and back: the filterbanks inside nussl's networks."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

COVERED = 1e-10
"""Squared window sum below which a sample counts as seen by no frame."""


def analyse(
    waveform: tf.Tensor, filters: tf.Tensor, window: np.ndarray, hop: int
) -> tf.Tensor:
    """Multiply windowed frames with a matrix.

    h[t] = (window * x[t hop : t hop + size]) filters, with size / 2 zeros before the
    signal, and after it size / 2 zeros and more up to a whole hop.

    Args:
        waveform: Waveforms [batch, samples].
        filters: Matrix [size, filters].
        window: Window [size].
        hop: Distance of frames, in samples.

    Returns:
        Products [batch, frames, filters].

    >>> analyse(tf.zeros([2, 1024]), tf.eye(64), np.ones(64), 16).shape
    TensorShape([2, 65, 64])
    """
    size = len(window)
    extra = tf.math.floormod(size - tf.shape(waveform)[-1], hop)
    padded = tf.pad(waveform, [[0, 0], [size // 2, size // 2 + extra]])
    if waveform.shape[-1] is not None:
        samples = waveform.shape[-1]
        whole = samples + 2 * (size // 2) + (size - samples) % hop
        padded = tf.ensure_shape(padded, [waveform.shape[0], whole])
    frames = tf.signal.frame(padded, size, hop)
    return tf.tensordot(frames * tf.constant(window, tf.float32), filters, 1)


def synthesise(
    frames: tf.Tensor,
    filters: tf.Tensor,
    window: np.ndarray,
    hop: int,
    samples: int | tf.Tensor,
) -> tf.Tensor:
    """Add windowed frames up, over the sum of the squared window.

    Args:
        frames: Frames [batch, sources, frames, filters].
        filters: Matrix [filters, size].
        window: Window [size].
        hop: Distance of frames, in samples.
        samples: Length of the waveform.

    Returns:
        Waveforms [batch, sources, samples], times the sum of the window.
    """
    taper = tf.constant(window * window.sum(), tf.float32)
    total = tf.signal.overlap_and_add(tf.tensordot(frames, filters, 1) * taper, hop)
    squared = tf.constant(window**2, tf.float32)
    norm = tf.signal.overlap_and_add(
        tf.broadcast_to(squared, [tf.shape(frames)[-2], len(window)]), hop
    )
    waveform = total / tf.where(norm < COVERED, 1.0, norm)
    front = len(window) // 2
    return waveform[..., front : front + samples]
