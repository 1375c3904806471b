"""Training examples of both phases, each a function of its position.

There are four streams with independent random numbers: paired songs, and the
mixtures, accompaniments and vocals of unpaired songs. Excerpts are read from the songs
themselves, so that the context of a mixture is the sound around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from adversarial.config import AdversarialConfig
from adversarial.model import solve
from adversarial.songs.excerpts import (
    MIXTURE_ROLE,
    ROLES,
    SOURCE_ROLES,
    STREAMS,
    Draw,
    Stream,
    draws,
    excerpt_samples,
    long_enough,
    open_streams,
    read_excerpt,
    read_pair,
    seed_at,
)
from adversarial.songs.song_lists import SongLists
from common import records
from common.corpora.augmented import KEY, apply, augmented
from common.corpora.augmented import draw as augment_draw
from common.training.distribution import Example

# No Python control flow on tensors, which AutoGraph would take seconds to find out.
unconverted = tf.autograph.experimental.do_not_convert

MIXTURES = "mixtures"
UNPAIRED = (MIXTURES, "accompaniments", "vocals")
"""Streams of unpaired songs."""


class Data(NamedTuple):
    """The opened songs of a run.

    Attributes:
        paired: Songs with their sources.
        unpaired: Songs of each unpaired stream, or None where there are none.
        valid: Paired songs of the validation.
        test: Paired songs of the test.
    """

    paired: Stream
    unpaired: dict[str, Stream] | None
    valid: Stream
    test: Stream

    @property
    def records(self) -> list[records.Index]:
        """Records that are read, those of the training first."""
        streams = self.paired, self.valid, self.test
        indexes = [stream.sounds.records for stream in streams]
        return [index for index in indexes if index is not None]

    @property
    def digest(self) -> str:
        """Fingerprint of the training data."""
        return self.paired.sounds.digest


def open_data(config: AdversarialConfig, songs: SongLists) -> Data:
    """Open all songs of a run; those of the training share one bank of sounds.

    Raises:
        CorpusError: No song of a list is as long as a window.
        AudioError: A file cannot be read.
    """
    training = {
        name: long_enough(config, getattr(songs, name), name)
        for name in STREAMS
        if getattr(songs, name)
    }
    streams = open_streams(config, "train", training)
    unpaired = {name: streams[name] for name in UNPAIRED if name in streams}
    valid, test = (open_split(config, split, songs) for split in ("valid", "test"))
    return Data(streams["paired"], unpaired or None, valid, test)


def open_split(config: AdversarialConfig, split: str, songs: SongLists) -> Stream:
    """Open the songs of the split ``valid`` or ``test``."""
    return open_streams(config, split, {"paired": getattr(songs, split)})["paired"]


def paired_example(config: AdversarialConfig, data: Data) -> Example:
    """Make the function from a position to an excerpt with its sources.

    Args:
        config: Gives sizes, cache and seed.
        data: The data of the run.

    Returns:
        Function from a position to ``mixture`` [samples] of the separator's input and
        ``sources`` [2, samples] of its output: accompaniment, vocals.
    """
    draw = draws(config, "paired", data.paired)
    if config.augment.is_on:
        return _augmented_pair(config, data, draw)

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        song, start, _ = draw(position)
        return read_pair(config, data.paired, song, start)

    return example


def _augmented_pair(
    config: AdversarialConfig, data: Data, draw: Callable[[tf.Tensor], Draw]
) -> Example:
    """Make the function to a mixture of augmented sources, and to these."""
    samples = excerpt_samples(config, with_context=True)
    first = solve(config.model_config).context_frames * config.model_config.num_hop
    last = first + excerpt_samples(config, with_context=False)
    longer = config.augment.reading(samples) - samples

    def whole(position: tf.Tensor) -> dict[str, tf.Tensor]:
        song, start, _ = draw(position)
        waves = read_excerpt(
            config, data.paired, song, start, with_context=True, longer=longer
        )
        waves = tf.ensure_shape(waves, [len(ROLES["paired"]), None])
        return {"mixture": waves[MIXTURE_ROLE][0], "sources": waves[SOURCE_ROLES]}

    changed = augmented(config.augment, config.train.seed, whole, samples)

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        excerpt = changed(position)
        sources = excerpt["sources"][:, first:last]
        return {"mixture": excerpt["mixture"], "sources": sources}

    return example


def _augmented_alone(
    config: AdversarialConfig, name: str, position: tf.Tensor, waves: tf.Tensor
) -> tf.Tensor:
    """Change an excerpt [1, samples] of an unpaired song."""
    # Each stream has numbers of its own.
    seed = config.train.seed + (1 + UNPAIRED.index(name)) * KEY
    samples = excerpt_samples(config, name == MIXTURES)
    drawn = augment_draw(config.augment, seed, position, 1)
    return apply(config.augment, drawn, waves, samples)


def unpaired_example(
    config: AdversarialConfig, data: Data, names: Sequence[str] = UNPAIRED
) -> Example:
    """Make the function from a position to excerpts of independent songs.

    Args:
        config: Gives sizes, cache, gains and seed.
        data: The data of the run, with unpaired songs.
        names: Streams of the excerpts.

    Returns:
        Function from a position to ``mixtures`` [samples] of the separator's input,
        ``accompaniments`` and ``vocals`` [samples] of its output.
    """
    streams = data.unpaired or {}
    draw = {name: draws(config, name, streams[name]) for name in names}

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        excerpts = {}
        for name in names:
            song, start, gain = draw[name](position)
            samples = excerpt_samples(config, name == MIXTURES)
            waves = read_excerpt(
                config,
                streams[name],
                song,
                start,
                with_context=name == MIXTURES,
                longer=config.augment.reading(samples) - samples,
            )
            if config.augment.is_on:
                waves = _augmented_alone(config, name, position, waves)
            excerpts[name] = gain * waves[0]
        return excerpts

    return example


def semi_supervised_example(config: AdversarialConfig, data: Data) -> Example:
    """Make the function from a position to the excerpts of a step of the second phase.

    Each step of the critics has unpaired excerpts of its own, and the separator's step
    has one more mixture.

    Args:
        config: Gives sizes, number of critic steps, cache, gains and seed.
        data: The data of the run, with unpaired songs.

    Returns:
        Function from a position to ``mixture`` and ``sources`` as
        :func:`paired_example`; ``mixtures`` [num_disc + 1, samples], the last one for
        the separator; ``accompaniments`` and ``vocals`` [num_disc, samples]; and
        ``epsilon`` [num_disc, 2], uniform from 0 to 1: weight of the estimate in the
        interpolation of each critic's gradient penalty.
    """
    rounds = config.model_config.num_disc
    paired = paired_example(config, data)
    unpaired = unpaired_example(config, data)
    mixture_only = unpaired_example(config, data, (MIXTURES,))
    specs = {
        name: tf.TensorSpec([excerpt_samples(config, name == MIXTURES)], tf.float32)
        for name in UNPAIRED
    }

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        first = position * (rounds + 1)
        positions = first + tf.range(rounds, dtype=tf.int64)
        # Traced once, because a graph of so many readings takes seconds to make.
        excerpts: Any = tf.map_fn(  # type: ignore[call-overload]
            unpaired, positions, fn_output_signature=specs
        )
        last = mixture_only(first + rounds)[MIXTURES][tf.newaxis]
        excerpts[MIXTURES] = tf.concat([excerpts[MIXTURES], last], axis=0)
        seed = seed_at(config, 2 * len(STREAMS), position)
        epsilon = tf.random.stateless_uniform([rounds, 2], seed)
        return {**paired(position), **excerpts, "epsilon": epsilon}

    return example


def validation_example(config: AdversarialConfig, songs: Stream) -> tuple[Example, int]:
    """Make the function from a position to the consecutive windows of whole songs.

    Args:
        config: Gives the sizes.
        songs: The songs of the validation or of the test.

    Returns:
        Function from a position to what :func:`paired_example` returns, with
        ``frame_weight`` [frames]: 1 for each frame of the output within the song, 0
        after its end; and the number of positions.
    """
    settings = config.model_config
    geometry = solve(settings)
    # The number of frames of a centred transform of the whole song.
    frames = 1 + songs.samples // settings.num_hop
    windows = -(-frames // geometry.output_frames)
    song_of = np.repeat(np.arange(len(frames)), windows)
    first_frame = np.concatenate([np.arange(count) for count in windows])
    first_frame = first_frame * geometry.output_frames

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        song, first = tf.gather(song_of, position), tf.gather(first_frame, position)
        pair = read_pair(config, songs, song, first * settings.num_hop)
        indices = first + tf.range(geometry.output_frames, dtype=tf.int64)
        weight = tf.cast(indices < tf.gather(frames, song), tf.float32)
        return {**pair, "frame_weight": weight}

    return example, len(song_of)
