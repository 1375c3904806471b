"""Augmentation of training excerpts, as a function of the seed and the position.

The speed, gain, polarity and channels of the sources change, and sources of several
excerpts are remixed, as :class:`Augment` says; the mixture is the sum of the sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from common.corpora.augmentation import PHASES, TAPS, Augment

Example = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
"""Function from a position to an excerpt."""

KEY = 1 << 41
"""Added to the seed, so that no other draw uses the same random numbers."""

OTHERS = 1 << 31
"""Number of positions from which the sources of other excerpts are drawn."""


class Draw(NamedTuple):
    """Random parameters of an excerpt: one speed, and the others for each source."""

    speed: tf.Tensor
    gains: tf.Tensor
    swaps: tf.Tensor
    remixes: tf.Tensor


def draw(chain: Augment, seed: int, position: tf.Tensor, sources: int) -> Draw:
    """Draw the random parameters of the excerpt at a position.

    Args:
        chain: The augmentation.
        seed: Seed of the run.
        position: Position of the excerpt, int64.
        sources: Number of sources.

    Returns:
        Speed, float64, a multiple of 1 / PHASES; signed gains, float32 [sources]; and
        whether each source changes its channels and comes from another excerpt, bool
        [sources].

    >>> chain = Augment(polarity=True)
    >>> one, same = (draw(chain, 0, tf.constant(5, tf.int64), 4) for _ in range(2))
    >>> bool(tf.reduce_all(one.gains == same.gains)), {*abs(one.gains.numpy()).tolist()}
    (True, {1.0})
    """
    key = tf.stack([tf.constant(seed + KEY, tf.int64), tf.cast(position, tf.int64)])
    # One row more than there are sources, for what they share.
    uniform = tf.random.stateless_uniform([sources + 1, 4], key, dtype=tf.float64)
    own, shared = uniform[:-1], uniform[-1]
    low, high = chain.gain_db
    gains = tf.pow(tf.constant(10.0, tf.float64), (low + (high - low) * own[:, 0]) / 20)
    signs = tf.where(own[:, 1] < 0.5 * chain.polarity, -1.0, 1.0)
    fastest = math.floor(chain.speed[1] * PHASES)
    slowest = min(math.ceil(chain.speed[0] * PHASES), fastest)
    return Draw(
        (slowest + tf.floor((fastest - slowest + 1) * shared[0])) / PHASES,
        tf.cast(gains, tf.float32) * tf.cast(signs, tf.float32),
        own[:, 2] < 0.5 * chain.swap,
        own[:, 3] < 0.5 * chain.remix,
    )


def change_speed(waves: tf.Tensor, speed: tf.Tensor, samples: int) -> tf.Tensor:
    """Play waveforms faster, by windowed sinc interpolation.

    y[n] = sum_k x[k] c sinc(c (n s - k)) w(n s - k), c = min(1, 1 / s)

    with the speed s and a Hann window w of :data:`TAPS` samples. The weights repeat
    after :data:`PHASES` samples of the result, so these are one matrix product for all
    such blocks.

    Args:
        waves: Float32 [..., at least samples * speed + TAPS].
        speed: Factor, float64, a multiple of 1 / PHASES.
        samples: Length of the result.

    Returns:
        Float32 [..., samples]; it begins half of :data:`TAPS` after the beginning.

    >>> ramp = tf.range(0.0, 200.0)
    >>> change_speed(ramp, tf.constant(1.0, tf.float64), 3).numpy().tolist()
    [16.0, 17.0, 18.0]
    """
    step = tf.cast(tf.round(speed * PHASES), tf.int32)  # of the blocks in waves
    blocks = -(-samples // PHASES)
    leading, length = tf.shape(waves)[:-1], (blocks + 1) * step
    missing = tf.maximum(0, length - tf.shape(waves)[-1])
    tail = tf.zeros(tf.concat([leading, [missing]], 0))
    padded = tf.concat([waves, tail], -1)[..., :length]
    rows = tf.reshape(padded, tf.concat([leading, [blocks + 1, step]], 0))
    seen = tf.concat([rows[..., :-1, :], rows[..., 1:, :TAPS]], -1)
    # As one matrix: oneDNN crashes on batches [sources, 1] of matrices, as mono has.
    played = tf.matmul(tf.reshape(seen, [-1, step + TAPS]), _interpolation(step))
    flat = tf.reshape(played, tf.concat([leading, [blocks * PHASES]], 0))
    fixed: tf.Tensor = tf.ensure_shape(
        flat[..., :samples], [*waves.shape[:-1], samples]
    )
    return fixed


def _interpolation(step: tf.Tensor) -> tf.Tensor:
    """Return the weights of a block's samples in each of the result [step+TAPS, P]."""
    speed = tf.cast(step, tf.float64) / PHASES
    times = TAPS // 2 + tf.range(PHASES, dtype=tf.float64) * speed
    samples = tf.range(step + TAPS)[:, tf.newaxis]
    distance = times - tf.cast(samples, tf.float64)
    cutoff = tf.minimum(tf.constant(1.0, tf.float64), 1 / speed)
    angle = math.pi * cutoff * distance
    sinc = tf.where(angle == 0.0, tf.ones_like(angle), tf.sin(angle) / angle)
    window = tf.square(tf.cos(math.pi * distance / TAPS))
    weights = tf.where(tf.abs(distance) < TAPS / 2, cutoff * sinc * window, 0.0)
    return tf.cast(weights, tf.float32)


def apply(
    chain: Augment, drawn: Draw, waves: tf.Tensor, samples: int | None
) -> tf.Tensor:
    """Apply drawn parameters to the sources of an excerpt.

    Args:
        chain: The augmentation.
        drawn: Parameters, from :func:`draw`.
        waves: Float32 [sources, n] or [sources, channels, n].
        samples: Length of the result; None keeps n, for an unchanged speed.

    Returns:
        The changed sources, of that length.
    """
    if chain.speed != (1.0, 1.0) and samples is not None:
        waves = change_speed(waves, drawn.speed, samples)
    if chain.swap and len(waves.shape) == 3 and waves.shape[1] == 2:
        swaps = drawn.swaps[:, tf.newaxis, tf.newaxis]
        waves = tf.where(swaps, waves[:, ::-1], waves)
    return waves * tf.reshape(drawn.gains, [-1] + [1] * (len(waves.shape) - 1))


def augmented(
    chain: Augment, seed: int, example: Example, samples: int | None
) -> Example:
    """Return a function from a position to the augmented excerpt there.

    The mixture minus its sources is one more source.

    Args:
        chain: The augmentation.
        seed: Seed of the run.
        example: Function from a position to ``mixture`` [..., n] and ``sources``
            [sources, ..., n], where n is ``chain.reading(samples)``.
        samples: Length of the excerpts; None if lengths vary, with an unchanged speed.

    Returns:
        Function from a position to ``mixture`` and ``sources`` of that length; the
        mixture is the sum of all sources.
    """

    def parts(position: tf.Tensor) -> tf.Tensor:
        excerpt = example(position)
        sources = excerpt["sources"]
        rest = excerpt["mixture"] - tf.reduce_sum(sources, 0)
        return tf.concat([sources, rest[tf.newaxis]], 0)

    def changed(position: tf.Tensor) -> dict[str, tf.Tensor]:
        position = tf.cast(position, tf.int64)
        waves = parts(position)
        drawn = draw(chain, seed, position, int(waves.shape[0] or 0))
        if chain.remix:
            key = tf.stack([tf.constant(seed + KEY, tf.int64), -1 - position])
            other = tf.random.stateless_uniform([], key, 0, OTHERS, tf.int64)
            choice = tf.reshape(drawn.remixes, [-1] + [1] * (len(waves.shape) - 1))
            waves = tf.where(choice, parts(other), waves)
        waves = apply(chain, drawn, waves, samples)
        return {"mixture": tf.reduce_sum(waves, 0), "sources": waves[:-1]}

    return changed
