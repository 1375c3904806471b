"""What masks could reach at best: those that are made from the sources themselves."""

from __future__ import annotations

from typing import Literal

import numpy as np
import tensorflow as tf

from common.signal.masking import binary_mask, ratio_mask
from common.signal.stft import Stft, istft, stft

Kind = Literal["ideal_binary", "ideal_ratio"]


def oracle(
    mixture: np.ndarray, references: np.ndarray, params: Stft, kind: Kind
) -> np.ndarray:
    """Separate a mixture by ideal masks of a transform.

    Args:
        mixture: float32 [channels, samples].
        references: float32 [sources, channels, samples].
        params: The transform.
        kind: ``"ideal_binary"``: every bin to its loudest source. ``"ideal_ratio"``:
            shared out in proportion to the magnitudes.

    Returns:
        float32 [sources, channels, samples], with the phase of the mixture.

    >>> waves = np.eye(2, 64, dtype=np.float32)[:, np.newaxis]
    >>> oracle(waves.sum(0), waves, Stft(16, 4), "ideal_ratio").shape
    (2, 1, 64)
    """
    mask = {"ideal_binary": binary_mask, "ideal_ratio": ratio_mask}[kind]
    by_channel = tf.constant(references.swapaxes(0, 1))
    masks = tf.cast(mask(tf.abs(stft(by_channel, params))), tf.complex64)
    masked = masks * stft(tf.constant(mixture), params)[:, tf.newaxis]
    estimates = istft(masked, params, mixture.shape[-1])
    return estimates.numpy().swapaxes(0, 1)
