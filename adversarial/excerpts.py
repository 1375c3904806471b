"""Where excerpts lie in songs, and their samples, inside a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from adversarial.config import AdversarialConfig, ModelConfig
from adversarial.geometry import solve
from adversarial.songs import SILENCE, STREAMS, Songs
from common import records
from common.config import ConfigError

EVERY, MIXED, APART = slice(None), slice(0, 1), slice(1, None)
"""Roles: all of a song, and of a paired one its mixture or its sources."""


class Drawn(NamedTuple):
    """What a position of a stream means.

    Attributes:
        song: Number of the song, int64.
        start: Sample of the song at which the output's first frame is centred, int64.
        gain: Factor of an unpaired excerpt, float32.
    """

    song: tf.Tensor
    start: tf.Tensor
    gain: tf.Tensor


def drawing(
    config: AdversarialConfig, name: str, songs: Songs
) -> Callable[[tf.Tensor], Drawn]:
    """Make the function from a position of a stream to what is drawn there.

    With ``excerpts_reused`` a position draws one of the ``cache_size`` latest excerpts
    and a window in it; the songs take turns with an excerpt, and each is replaced after
    as many batches as in the original's cache. Otherwise the songs take turns with a
    window anywhere in them.

    Args:
        config: Gives sizes, way of drawing, gains and seed.
        name: Name of the stream.
        songs: Its songs.

    Raises:
        ConfigError: An excerpt is shorter than a window.
    """
    settings, stream = config.model_config, STREAMS.index(name)
    hop, frames = settings.num_hop, solve(settings).output_frames
    inside = _excerpt_frames(settings, with_context=name in ("paired", "mixtures"))
    order = len(STREAMS) * config.train.seed + stream

    def draw(position: tf.Tensor) -> Drawn:
        position = tf.cast(position, tf.int64)
        own = _uniform(key_of(config, stream, position))
        excerpt = position
        if settings.excerpts_reused:
            oldest = position * settings.min_replacement_rate // settings.batch_size
            excerpt = oldest + _below(own[0], settings.cache_size)
        drawn = _uniform(key_of(config, len(STREAMS) + stream, excerpt))
        song = records.shuffled(excerpt, len(songs.samples), order)
        last = tf.maximum(tf.gather(songs.samples, song) - (frames - 1) * hop, 0)
        spare = (inside - frames) * hop if settings.excerpts_reused else 0
        start = _below(drawn[0], tf.maximum(last - spare, 0) + 1)
        start += hop * _below(own[1], tf.minimum(last - start, spare) // hop + 1)
        gain = settings.gain_low + (settings.gain_high - settings.gain_low) * drawn[1]
        return Drawn(song, start, tf.cast(gain, tf.float32))

    return draw


def pair(
    config: AdversarialConfig, songs: Songs, song: tf.Tensor, start: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Cut a mixture with its context, and its sources without, out of a song.

    Args:
        config: Gives sizes.
        songs: Songs of mixture, accompaniment and vocals.
        song: Number of the song.
        start: Sample at which the output's first frame is centred.

    Returns:
        ``mixture`` [samples] and ``sources`` [2, samples].
    """
    outside = window(config, songs, song, start, roles=MIXED, with_context=True)
    inside = window(config, songs, song, start, roles=APART, with_context=False)
    return {"mixture": outside[0], "sources": inside}


def window(
    config: AdversarialConfig,
    songs: Songs,
    song: tf.Tensor,
    start: tf.Tensor,
    *,
    roles: slice = EVERY,
    with_context: bool,
) -> tf.Tensor:
    """Cut the samples of some frames out of the sounds of a song.

    A frame is centred where one of a transform of the whole song would be; beyond the
    song's ends there are zeros.

    Args:
        config: Gives sizes.
        songs: The songs.
        song: Number of the song.
        start: Sample at which the output's first frame is centred.
        roles: Which sounds of the song.
        with_context: The frames of the separator's input, which begin earlier, rather
            than those of its output.

    Returns:
        Float32 [roles, samples].
    """
    settings = config.model_config
    samples = length(config, with_context)
    before = solve(settings).context_frames if with_context else 0
    begin = tf.cast(start, tf.int64) - before * settings.num_hop - settings.num_fft // 2
    end = tf.gather(songs.samples, song)
    first = tf.clip_by_value(begin, 0, end - 1)
    last = tf.clip_by_value(begin + samples, first + 1, end)
    waves = _read(songs, song, roles, first, last - first)
    edges = tf.stack([first - begin, begin + samples - last])
    waves = tf.pad(waves, tf.stack([tf.zeros_like(edges), edges]))
    return tf.ensure_shape(waves, [None, samples])


def length(config: AdversarialConfig, with_context: bool) -> int:
    """Tell how many samples the frames of the separator's input or output have.

    >>> length(AdversarialConfig(), with_context=True)
    40704
    """
    settings, geometry = config.model_config, solve(config.model_config)
    frames = geometry.input_frames if with_context else geometry.output_frames
    return (frames - 1) * settings.num_hop + settings.num_fft


def key_of(config: AdversarialConfig, number: int, position: tf.Tensor) -> tf.Tensor:
    """Seed what is drawn at a position, for a stream or another purpose.

    Args:
        config: Gives the seed of the run.
        number: Number of the purpose.
        position: The position.

    Returns:
        int64 [2].
    """
    seeds = tf.constant([config.train.seed % 2**63, number], tf.int64)
    random = tf.random.experimental  # type: ignore[attr-defined]
    return random.stateless_fold_in(seeds, position)


def _read(
    songs: Songs, song: tf.Tensor, roles: slice, start: tf.Tensor, samples: tf.Tensor
) -> tf.Tensor:
    """Samples [roles, samples] of the sounds of a song, those of silence zero."""
    every = tf.gather(songs.numbers, song)
    numbers = every[roles]
    is_heard = numbers != SILENCE
    # Every song has one sound at least; it is read in the place of silence.
    known = tf.where(is_heard, numbers, tf.reduce_max(every))
    starts = tf.fill([numbers.shape[0]], start)
    waves = songs.sounds.read(known, starts, samples) * songs.sounds.scale
    waves = tf.reduce_mean(waves, axis=1)
    return tf.where(is_heard[:, tf.newaxis], waves, 0.0)


def _uniform(key: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([2], key, dtype=tf.float64)


def _below(uniform: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Turn a number in [0, 1) into one of the integers below a count."""
    scaled = uniform * tf.cast(count, tf.float64)
    return tf.minimum(tf.cast(scaled, tf.int64), tf.cast(count, tf.int64) - 1)


def _excerpt_frames(settings: ModelConfig, with_context: bool) -> int:
    """Frames of an excerpt in which the output of the separator may lie."""
    geometry = solve(settings)
    frames = 1 + int(settings.duration * settings.expected_sr) // settings.num_hop
    if with_context:
        frames -= 2 * geometry.context_frames
    if settings.excerpts_reused and frames < geometry.output_frames:
        least = (geometry.input_frames - 1) * settings.num_hop / settings.expected_sr
        raise ConfigError(
            f"model_config.duration={settings.duration}; expected at least "
            f"{least:.2f} s, the length of the separator's input; raise it, or lower "
            "model_config.num_frames or model_config.num_layers"
        )
    return frames
