"""Excerpts of mixtures as functions of their position, from any corpus.

For every slot of a mixture, a source, a sound and its start are drawn. Depending on the
layout of the corpus and on random track mixing, the slots share a track or draw one
each.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from common import records
from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.augmented import augmented
from common.training.distribution import Example
from unmix import corpus
from unmix.config import FOLDER_LAYOUTS, UnmixConfig, resolved
from unmix.corpus import POOLED, Slot, Split, open_split

GAINS = (0.25, 1.25)
VALID_SEED = 1 << 40
"""Offset of the seed for the validation."""


class Data(NamedTuple):
    """Training and validation of a configuration."""

    train: Split
    valid: Split


def load(config: UnmixConfig) -> Data:
    """Find the corpus of a run and open its sounds.

    Raises:
        ConfigError: A key is missing, or a rate is not the model's.
        CorpusError: A split is empty, a track lacks its target, or all are too short.
    """
    root = corpus.root(config)
    train, valid = (corpus.tracks(config, root, split) for split in Data._fields)
    return Data(open_split(config, "train", train), open_split(config, "valid", valid))


def epoch_steps(config: UnmixConfig, split: Split, replicas: int = 1) -> int:
    """Count the steps of an epoch, by the rule of the layout of the corpus.

    Args:
        config: Configuration with the corpus and the batch size.
        split: The training split.
        replicas: Number of devices, each with a batch.

    Returns:
        Steps for ``samples_per_track`` excerpts of every track of a corpus,
        ``nb_train_samples`` of source folders, or each track of other layouts once.
    """
    items = split.rows
    if config.dataset not in FOLDER_LAYOUTS:
        items *= config.samples_per_track
    elif config.dataset in POOLED:
        items = config.nb_train_samples
    rows = config.batch_size * config.train.accumulate * replicas
    return -(-items // rows)


def training_example(config: UnmixConfig, split: Split) -> Example:
    """Make the function from a position to a training excerpt.

    Args:
        config: Configuration with length, augmentations, random mixing and seed.
        split: The training split.

    Returns:
        Function from a position to ``mixture`` [channels, samples] and ``sources``
        [targets, channels, samples].

    Raises:
        ConfigError: Whole tracks (``segment_seconds`` at most 0) in batches of several.
    """
    config = resolved(config)
    batches = config.batch_size, config.train.accumulate
    if config.segment_seconds <= 0 and batches != (1, 1):
        raise ConfigError(
            f"segment_seconds={config.segment_seconds:g} takes whole tracks, which "
            f"differ in length; set batch_size=1 instead of {batches[0]} and "
            f"train.accumulate=1 instead of {batches[1]}, or a positive segment_seconds"
        )
    if config.augment.is_on:
        return _augmented(config, split)
    # Augmented sources would not match a mixture that is a file.
    asked = config.source_augmentations or ()
    augmentations = () if config.dataset == "aligned" else asked

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        uniform = _uniform(config.train.seed, position, len(split.slots))
        gains, swaps = tf.ones_like(uniform[:, 3]), uniform[:, 4] < 0
        if "gain" in augmentations:
            gains = GAINS[0] + (GAINS[1] - GAINS[0]) * uniform[:, 3]
        if "channelswap" in augmentations and split.sounds.channels == 2:
            swaps = uniform[:, 4] < 0.5
        drawn = _draw(config, split, position, uniform)
        return _mix(split, drawn, _outputs(config, split), gains, swaps)

    return example


def _augmented(config: UnmixConfig, split: Split) -> Example:
    """Make the function to excerpts that the chain of augmentations changes."""
    chain, samples = config.augment, _excerpt_samples(config)
    if samples is None and chain.needs_length:
        raise ConfigError(
            "augment.speed and augment.remix take excerpts of one length; set a "
            "positive segment_seconds"
        )
    plain = replace(config, augment=Augment())
    if samples is not None:
        # Half a sample more, which is cut off, as seconds are rounded.
        seconds = (chain.reading(samples) + 0.5) / config.model.sample_rate
        plain = replace(plain, segment_seconds=seconds)
    example = training_example(plain, split)
    return augmented(chain, config.train.seed, example, samples)


def validation_example(config: UnmixConfig, split: Split) -> Example:
    """Make the function from a position to an example of the validation.

    These are whole tracks with their own mixtures, in batches of one because lengths
    differ. Aligned tracks are cut to ``segment_seconds`` as in the original, and source
    folders give fixed random mixtures of that length.

    Args:
        config: Configuration with the corpus, the length and the seed.
        split: The validation split.

    Returns:
        Function from a position to ``mixture`` [channels, samples] and ``sources``
        [targets, channels, samples].
    """
    if config.dataset in POOLED:
        return functools.partial(_pooled, config, split, "drawn")
    most = _excerpt_samples(config) if config.dataset == "aligned" else None
    return functools.partial(_whole, split, most, True)


def validation_count(config: UnmixConfig, split: Split) -> int:
    """Count the examples of the validation."""
    return config.nb_valid_samples if config.dataset in POOLED else split.rows


def whole_mixtures(config: UnmixConfig, split: Split) -> tuple[Example, int]:
    """Make the function from a position to a mixture for the statistics.

    Args:
        config: Configuration with the corpus and the length.
        split: The training split.

    Returns:
        Function from a position to ``mixture`` [channels, samples], without
        augmentation: whole tracks, or excerpts from the middle of the sounds of source
        folders; and their number.
    """
    if config.dataset in POOLED:
        middle = functools.partial(_pooled, config, split, "middle")
        return middle, config.nb_train_samples
    return functools.partial(_whole, split, None, False), split.rows


class _Drawn(NamedTuple):
    """The excerpts to read for one example: row and start of every slot, and length."""

    slots: Sequence[Slot]
    rows: Sequence[tf.Tensor]
    starts: Sequence[tf.Tensor]
    samples: int | tf.Tensor


def _excerpt_samples(config: UnmixConfig) -> int | None:
    if config.segment_seconds <= 0:
        return None
    return int(config.segment_seconds * config.model.sample_rate)


def _uniform(seed: int, position: tf.Tensor, slots: int) -> tf.Tensor:
    """Draw five numbers in [0, 1) for each slot: class, row, start, gain and swap."""
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(position, tf.int64)])
    return tf.random.stateless_uniform([slots, 5], key, dtype=tf.float64)


def _leaders(config: UnmixConfig, slots: int) -> tuple[bool, list[int]]:
    """Return whether tracks take turns, and the slot that each slot follows.

    A slot has the track and start of the slot that it follows. Tracks that do not take
    turns are drawn anew for every excerpt.
    """
    apart, together = list(range(slots)), [0] * slots
    if config.dataset in POOLED:
        return False, apart
    if not config.random_track_mix or config.dataset == "aligned":
        return True, together
    if config.dataset == "trackfolder_var":
        return True, [min(slot, 1) for slot in apart]
    return config.dataset in FOLDER_LAYOUTS, apart


def _draw(
    config: UnmixConfig, split: Split, position: tf.Tensor, uniform: tf.Tensor
) -> _Drawn:
    """Draw row and start of every slot, and the length that they share."""
    slots, positions = split.slots, uniform[:, 2]
    turns, leaders = _leaders(config, len(slots))
    rows: list[tf.Tensor] = []
    for slot, leader in enumerate(leaders):
        rows.append(rows[leader] if leader < slot else _row(slots[slot], uniform[slot]))
    if turns:
        is_layout = config.dataset in FOLDER_LAYOUTS
        repeats = 1 if is_layout else config.samples_per_track
        item = records.shuffled(position, split.rows * repeats, config.train.seed)
        rows = [
            rows[k] if leader else item // repeats for k, leader in enumerate(leaders)
        ]
        if repeats > 1:  # The excerpts of a track are equally spaced.
            turn = tf.cast(tf.math.floormod(item, repeats), tf.float64)
            positions = tf.fill([len(slots)], turn / (repeats - 1))
    lengths = [tf.gather(s.lengths, row) for s, row in zip(slots, rows, strict=True)]
    samples = _excerpt_samples(config) or tf.reduce_min(tf.stack(lengths))
    starts = [_pick(positions[k], lengths[k] - samples + 1) for k in leaders]
    if config.dataset != "aligned":
        return _Drawn(slots, rows, starts, samples)
    return _Drawn([*slots, split.mixture], rows * 2, starts * 2, samples)


def _row(slot: Slot, uniform: tf.Tensor) -> tf.Tensor:
    """Draw a class, and a row of it."""
    group = _pick(uniform[0], tf.constant(len(slot.first), tf.int64))
    return tf.gather(slot.first, group) + _pick(
        uniform[1], tf.gather(slot.count, group)
    )


def _pick(uniform: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Scale a number in [0, 1] to an integer from 0 to below ``count``."""
    picked = tf.cast(uniform * tf.cast(count, tf.float64), tf.int64)
    return tf.minimum(picked, count - 1)


def _outputs(config: UnmixConfig, split: Split) -> np.ndarray:
    """Return the weights of slots in mixture and targets, [1 + targets, slots]."""
    sums = np.zeros([1 + len(split.target_slots), len(split.slots)], np.float32)
    sums[0] = 1
    for target, slots in enumerate(split.target_slots):
        sums[1 + target, list(slots)] = 1
    if config.dataset == "aligned":
        sums[0] = 0
        return np.append(sums, np.eye(len(sums), 1, dtype=np.float32), axis=1)
    return sums


def _mix(
    split: Split,
    drawn: _Drawn,
    outputs: np.ndarray,
    gains: tf.Tensor | None = None,
    swaps: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Read the drawn excerpts, and make mixture and targets in one product.

    The product of a small matrix and all channels applies scale, gains and channel
    swaps together with the sum, in fewer passes over the samples.
    """
    picked = list(zip(drawn.slots, drawn.rows, strict=True))
    numbers = tf.stack([tf.gather(slot.sounds, row) for slot, row in picked])
    factors = tf.stack([tf.gather(slot.present, row) for slot, row in picked])
    waves = split.sounds.read(numbers, tf.stack(drawn.starts), drawn.samples)
    channels = split.sounds.channels
    # [slots, channels out, channels in]
    turned = tf.tile(tf.eye(channels)[tf.newaxis], [len(picked), 1, 1])
    if gains is not None and swaps is not None:
        swaps = tf.ensure_shape(swaps, [None])
        turned = tf.where(swaps[:, tf.newaxis, tf.newaxis], turned[:, ::-1], turned)
        factors = factors * tf.cast(gains, tf.float32)
    turned = turned * (factors * split.sounds.scale)[:, tf.newaxis, tf.newaxis]
    matrix = tf.einsum("ok,kcd->ockd", outputs, turned)
    count = len(outputs) * channels
    flat = tf.reshape(waves, [len(picked) * channels, -1])
    mixed = tf.reshape(matrix, [count, len(picked) * channels]) @ flat
    samples = drawn.samples if isinstance(drawn.samples, int) else -1
    mixed = tf.reshape(mixed, [len(outputs), channels, samples])
    return {"mixture": mixed[0], "sources": mixed[1:]}


def _pooled(
    config: UnmixConfig,
    split: Split,
    start: Literal["drawn", "middle"],
    position: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Mix sounds drawn at a position, from a random start or near the middle."""
    offset = VALID_SEED if start == "drawn" else 0
    uniform = _uniform(config.train.seed + offset, position, len(split.slots))
    drawn = _draw(config, split, position, uniform)
    if start == "middle":
        drawn = drawn._replace(starts=_middles(config, drawn))
    return _mix(split, drawn, _outputs(config, split))


def _middles(config: UnmixConfig, drawn: _Drawn) -> list[tf.Tensor]:
    """Return the starts of the original's statistics, which halve to whole seconds."""
    rate = config.model.sample_rate
    excerpt = tf.cast(drawn.samples, tf.float64) / rate
    if config.segment_seconds > 0:
        excerpt = tf.constant(config.segment_seconds, tf.float64)
    starts = []
    for slot, row in zip(drawn.slots, drawn.rows, strict=True):
        length = tf.gather(slot.lengths, row)
        last = length - tf.cast(drawn.samples, tf.int64)
        second = tf.cast(length, tf.float64) / rate // 2 - excerpt // 2
        start = tf.cast(tf.maximum(second, 0), tf.int64) * rate
        # The original would read less where the excerpt does not fit.
        starts.append(tf.minimum(start, last))
    return starts


def _whole(
    split: Split, most: int | None, with_targets: bool, row: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Read a track from its start, with its own mixture if it has one."""
    samples = tf.gather(split.slots[0].lengths, row)
    if most is not None:
        samples = tf.minimum(samples, most)
    targets = split.target_slots if with_targets else ()
    used = list(range(len(split.slots)))
    if split.mixture is not None:
        used = sorted({slot for slots in targets for slot in slots})
    slots = [split.slots[slot] for slot in used]
    outputs = np.zeros([1 + len(targets), len(slots)], np.float32)
    for output, parts in enumerate([used, *targets]):
        outputs[output] = [slot in parts for slot in used]
    if split.mixture is not None:
        outputs[0] = 0
        outputs = np.append(outputs, np.eye(len(outputs), 1, dtype=np.float32), axis=1)
        slots.append(split.mixture)
    zero = tf.constant(0, tf.int64)
    drawn = _Drawn(slots, [row] * len(slots), [zero] * len(slots), samples)
    return _mix(split, drawn, outputs)
