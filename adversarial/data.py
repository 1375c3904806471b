"""What both phases learn from: excerpts of songs as functions of their position.

Songs are written once as records of one channel at the working rate. Four streams are
drawn from them, each by numbers of its own: paired songs, and of unpaired ones the
mixtures, accompaniments and vocals. A window is cut out of the song itself, so the
context of a mixture is what is really heard around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from adversarial import corpus, manifest
from adversarial.config import AdversarialConfig
from adversarial.excerpts import drawing, key_of, length, pair, window
from adversarial.geometry import solve
from adversarial.lists import Lists
from adversarial.songs import STREAMS, Songs, long_enough, open_songs
from common import records
from common.training.distribution import Example

# There is no Python control flow on tensors, and the look for it takes seconds.
unconverted = tf.autograph.experimental.do_not_convert

MIXTURES = "mixtures"
UNPAIRED = (MIXTURES, "accompaniments", "vocals")


class Data(NamedTuple):
    """What both phases learn from, and what they are measured on.

    Attributes:
        paired: Songs with their sources.
        unpaired: Songs of each of the other streams, or None where there are none.
        valid: Paired songs of the validation.
        test: Paired songs of the test.
    """

    paired: Songs
    unpaired: dict[str, Songs] | None
    valid: Songs
    test: Songs

    @property
    def records(self) -> list[records.Index]:
        """Records that are read, those of the training first."""
        banks = [each.sounds.records for each in (self.paired, self.valid, self.test)]
        return [index for index in banks if index is not None]

    @property
    def digest(self) -> str:
        """Fingerprint of all that is trained on."""
        return self.paired.sounds.digest


def load(config: AdversarialConfig) -> Data:
    """Find the songs of a run and open what is drawn from them.

    Raises:
        ConfigError: A key does not fit the others.
        CorpusError: A corpus is not there, or its songs cannot be used.
        AudioError: A file cannot be read.
    """
    return open_lists(config, read_lists(config))


def read_lists(config: AdversarialConfig) -> Lists:
    """List the songs of a run, from its manifest where that still holds."""
    path = manifest.place(config)
    is_own = config.corpora.function or config.corpora.foreign_pickle
    known = None if is_own else manifest.load(config, path)
    if known is not None:
        return known
    found = corpus.read(config)
    manifest.save(found, config, path)
    return found


def open_lists(config: AdversarialConfig, found: Lists) -> Data:
    """Open the songs of all lists; those of the training share one bank."""
    training = {name: getattr(found, name) for name in STREAMS}
    training = {k: long_enough(config, v, k) for k, v in training.items() if v}
    opened = open_songs(config, "train", training)
    unpaired = {name: opened[name] for name in UNPAIRED if name in opened}
    valid, test = open_whole(config, "valid", found), open_whole(config, "test", found)
    return Data(opened["paired"], unpaired or None, valid, test)


def open_whole(config: AdversarialConfig, split: str, found: Lists) -> Songs:
    """Open the songs of the validation, ``valid``, or of the ``test``."""
    return open_songs(config, split, {"paired": getattr(found, split)})["paired"]


def paired_example(config: AdversarialConfig, found: Data) -> Example:
    """Make the function from a position to an excerpt with its sources.

    Args:
        config: Gives sizes, way of drawing and seed.
        found: The data of the run.

    Returns:
        Function from a position to ``mixture`` [samples] of the separator's input and
        ``sources`` [2, samples] of its output: accompaniment, vocals.
    """
    draw = drawing(config, "paired", found.paired)

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = draw(position)
        return pair(config, found.paired, drawn.song, drawn.start)

    return example


def unpaired_example(
    config: AdversarialConfig, found: Data, names: Sequence[str] = UNPAIRED
) -> Example:
    """Make the function from a position to excerpts that do not belong together.

    Args:
        config: Gives sizes, way of drawing, gains and seed.
        found: The data of the run, with unpaired songs.
        names: Streams that are drawn from.

    Returns:
        Function from a position to ``mixtures`` [samples] of the separator's input,
        ``accompaniments`` and ``vocals`` [samples] of its output.
    """
    songs = found.unpaired or {}
    drawings = {name: drawing(config, name, songs[name]) for name in names}

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        heard = {}
        for name, draw in drawings.items():
            song, start, gain = draw(position)
            wide = name == MIXTURES
            cut = window(config, songs[name], song, start, with_context=wide)
            heard[name] = gain * cut[0]
        return heard

    return example


def semi_supervised_example(config: AdversarialConfig, found: Data) -> Example:
    """Make the function from a position to what a step of the second phase needs.

    Each step of the critics has unpaired excerpts of its own, and that of the separator
    has one more mixture.

    Args:
        config: Gives sizes, steps of the critics, gains and seed.
        found: The data of the run, with unpaired songs.

    Returns:
        Function from a position to ``mixture`` and ``sources`` as
        :func:`paired_example`; ``mixtures`` [num_disc + 1, samples], the last that of
        the separator; ``accompaniments`` and ``vocals`` [num_disc, samples]; and
        ``shares`` [num_disc, 2], uniform from 0 to 1: how much of an estimate is in
        what the penalty of each critic is measured at.
    """
    rounds = config.model_config.num_disc
    paired = paired_example(config, found)
    unpaired = unpaired_example(config, found)
    alone = unpaired_example(config, found, (MIXTURES,))
    kinds = {
        name: tf.TensorSpec([length(config, name == MIXTURES)], tf.float32)
        for name in UNPAIRED
    }

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        first = position * (rounds + 1)
        places = first + tf.range(rounds, dtype=tf.int64)
        # Traced once, because a graph of so many readings takes seconds to make.
        heard: Any = tf.map_fn(  # type: ignore[call-overload]
            unpaired, places, fn_output_signature=kinds
        )
        last = alone(first + rounds)[MIXTURES][tf.newaxis]
        heard[MIXTURES] = tf.concat([heard[MIXTURES], last], axis=0)
        key = key_of(config, 2 * len(STREAMS), position)
        shares = tf.random.stateless_uniform([rounds, 2], key)
        return {**paired(position), **heard, "shares": shares}

    return example


def validation_example(config: AdversarialConfig, songs: Songs) -> tuple[Example, int]:
    """Make the function from a position to the windows of whole songs, side by side.

    Args:
        config: Gives sizes.
        songs: The songs of the validation, or of the test.

    Returns:
        Function from a position to what :func:`paired_example` gives, with
        ``frame_weight`` [frames]: 1 for each frame of the output that lies within the
        song, 0 behind its end; and the number of positions.
    """
    settings = config.model_config
    geometry = solve(settings)
    # As many frames as the centred transform of the whole song has.
    frames = 1 + songs.samples // settings.num_hop
    windows = -(-frames // geometry.output_frames)
    rows = np.repeat(np.arange(len(frames)), windows)
    firsts = np.concatenate([np.arange(each) for each in windows])
    firsts = firsts * geometry.output_frames

    @unconverted
    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        row, first = tf.gather(rows, position), tf.gather(firsts, position)
        cut = pair(config, songs, row, first * settings.num_hop)
        places = first + tf.range(geometry.output_frames, dtype=tf.int64)
        within = tf.cast(places < tf.gather(frames, row), tf.float32)
        return {**cut, "frame_weight": within}

    return example, len(rows)
