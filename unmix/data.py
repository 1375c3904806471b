"""Excerpts of mixtures as functions of their position, from any kind of corpus.

A mixture is put together of slots, one for each source: a slot draws a sound and a
place in it. Whether the slots draw the same track or each its own tells the kinds of
corpus apart, and with it what random track mixing means.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import records
from common.config import ConfigError
from common.corpora.track import CorpusError, Sound, Track
from common.distribution import Example
from common.training import say
from unmix import corpus
from unmix.config import UnmixConfig
from unmix.sounds import Sounds, open_sounds

SILENCE = -1
GAINS = (0.25, 1.25)
MIXTURE = "mixture"
POOLED = ("sourcefolder", "unaligned")
"""Kinds of corpus whose sounds belong to no track."""
VALID_SEED = 1 << 40
"""Added to the seed for what is drawn of the validation."""


@dataclass(frozen=True)
class Slot:
    """What one part of a mixture is drawn from.

    Attributes:
        sounds: Number of the sound in each row, or SILENCE.
        lengths: Length of each row in samples.
        first: First row of each class.
        count: Rows of each class; one class holds all unless sampling is balanced.
    """

    sounds: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Split:
    """One split of a corpus, ready to be drawn from.

    Attributes:
        sounds: The bank that is read.
        slots: Parts of a mixture.
        mixtures: Number of the stored mixture of each row; None where a mixture is
            the sum of the slots.
        wanted: Slots that each target is the sum of.
        targets: Names of the targets.
    """

    sounds: Sounds
    slots: tuple[Slot, ...]
    mixtures: np.ndarray | None
    wanted: tuple[tuple[int, ...], ...]
    targets: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of tracks, or of sounds of the first slot."""
        return len(self.slots[0].sounds)


class Data(NamedTuple):
    """Training and validation of a configuration."""

    train: Split
    valid: Split


def load(config: UnmixConfig) -> Data:
    """Find the corpus of a run and open what it is drawn from.

    Raises:
        ConfigError: A key is missing, or a rate is not the model's.
        CorpusError: A split is empty, a track lacks its target, or all are too short.
    """
    place = corpus.root(config)
    train = _split(config, "train", corpus.tracks(config, place, "train"))
    return Data(train, _split(config, "valid", corpus.tracks(config, place, "valid")))


def epoch_steps(config: UnmixConfig, split: Split, replicas: int = 1) -> int:
    """Count the steps of an epoch, by the rule of the kind of corpus.

    Args:
        config: Gives the rule and the batch size.
        split: The training split.
        replicas: Devices that take a batch each.

    Returns:
        Steps in which ``samples_per_track`` excerpts of every track of MUSDB18 are
        drawn, ``nb_train_samples`` of source folders, or each other track once.
    """
    items = split.rows
    if config.dataset == "musdb":
        items *= config.samples_per_track
    elif config.dataset in POOLED:
        items = config.nb_train_samples
    return -(-items // (config.batch_size * replicas))


def training_example(config: UnmixConfig, split: Split) -> Example:
    """Make the function from a position to a training excerpt.

    Args:
        config: Gives length, augmentations, the way of drawing and the seed.
        split: The training split.

    Returns:
        Function from a position to ``mixture`` [channels, samples] and ``sources``
        [targets, channels, samples].

    Raises:
        ConfigError: Whole tracks (``seq_dur`` at most 0) in batches of several.
    """
    if config.seq_dur <= 0 and config.batch_size > 1:
        raise ConfigError(
            f"seq_dur={config.seq_dur:g} takes whole tracks, which differ in length; "
            f"set batch_size=1 instead of {config.batch_size}, or a positive seq_dur"
        )
    aligned = config.dataset == "aligned"
    augmentations = () if aligned else config.source_augmentations

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        uniform = _uniform(config.train.seed, position, len(split.slots))
        rows, starts, samples = _draw(config, split, position, uniform)
        waves = [
            _augment(_read(split, slot, row, start, samples), draws, augmentations)
            for slot, row, start, draws in zip(
                split.slots, rows, starts, uniform, strict=True
            )
        ]
        if not aligned:
            return _mixed(split, waves)
        stored = tf.gather(split.mixtures, rows[0])
        mixture = split.sounds.read(stored, starts[0], samples)
        return _mixed(split, waves, mixture)

    return example


def validation_example(config: UnmixConfig, split: Split) -> Example:
    """Make the function from a position to an example of the validation.

    Whole tracks with their own mixtures, so an example has its own length and a batch
    holds one; aligned tracks are cut to ``seq_dur`` as the original does, and source
    folders give fixed random mixtures of that length.

    Args:
        config: Gives the kind of corpus, the length and the seed.
        split: The validation split.

    Returns:
        Function from a position to ``mixture`` [channels, samples] and ``sources``
        [targets, channels, samples].
    """
    if config.dataset in POOLED:
        return functools.partial(_pooled, config, split, "drawn")
    most = _excerpt_samples(config) if config.dataset == "aligned" else None
    return functools.partial(_whole, split, range(len(split.targets)), most)


def validation_count(config: UnmixConfig, split: Split) -> int:
    """Count the examples of the validation."""
    return config.nb_valid_samples if config.dataset in POOLED else split.rows


def whole_mixtures(config: UnmixConfig, split: Split) -> tuple[Example, int]:
    """Make the function to the mixtures that the statistics are taken of.

    Args:
        config: Gives the kind of corpus and the length.
        split: The training split.

    Returns:
        Function from a position to ``mixture`` [channels, samples], without any
        augmentation: whole tracks, of source folders excerpts from the middle of
        sounds; and the number of them.
    """
    if config.dataset in POOLED:
        middle = functools.partial(_pooled, config, split, "middle")
        return middle, config.nb_train_samples
    return functools.partial(_whole, split, (), None), split.rows


def _split(config: UnmixConfig, split: str, tracks: Sequence[Track]) -> Split:
    targets = corpus.targets(config)
    parts = [corpus.parts(config, target) for target in targets]
    tracks = _long_enough(config, split, tracks)
    named: dict[str, tuple[Sound, Track]] = {}
    for track in tracks:
        for source, sound in track.sources.items():
            named[f"{track.name}/{source}"] = sound, track
        if track.mixture is not None:
            named[f"{track.name}/{MIXTURE} of all"] = track.mixture, track
    numbers = {name: number for number, name in enumerate(named)}
    sounds = open_sounds(config, split, named)
    make = _pools if config.dataset in POOLED else _rows
    slots, names = make(config, tracks, numbers, sounds.samples)
    mixtures = None
    if all(track.mixture is not None for track in tracks):
        stored = [numbers[f"{track.name}/{MIXTURE} of all"] for track in tracks]
        mixtures = np.array(stored, np.int64)
    wanted = tuple(tuple(names.index(part) for part in each) for each in parts)
    return Split(sounds, slots, mixtures, wanted, targets)


def _long_enough(
    config: UnmixConfig, split: str, tracks: Sequence[Track]
) -> list[Track]:
    """Leave out tracks that are shorter than an excerpt, and say so."""
    whole = split == "valid" and config.dataset not in (*POOLED, "aligned")
    window = config.model.window_samples / config.model.sample_rate
    seconds = window if whole else max(window, config.seq_dur)
    kept: list[Track] = []
    short: list[Track] = []
    for track in tracks:
        enough = track.samples >= round(seconds * track.sample_rate)
        (kept if enough else short).append(track)
    present = {source for track in kept for source in track.sources}
    lost = {source for track in short for source in track.sources} - present
    if not short:
        return kept
    longest = max(short, key=lambda track: track.samples / track.sample_rate)
    lasts = longest.samples / longest.sample_rate
    counts = f"{len(short)} of {len(tracks)} tracks of the split {split!r}"
    reason = f"shorter than {'a frame' if whole else 'seq_dur'} ({seconds:g} s)"
    if not kept or lost:
        of = f" with {', '.join(sorted(lost))}" if kept else ""
        raise CorpusError(
            f"no track{of} is left: {counts} are {reason}; the longest of them, "
            f"{longest.name}, lasts {lasts:.2f} s; lower seq_dur or add longer files"
        )
    say(f"leaving out {counts}, {reason}, such as {longest.name} ({lasts:.2f} s)")
    return kept


def _rows(
    config: UnmixConfig,
    tracks: Sequence[Track],
    numbers: Mapping[str, int],
    samples: np.ndarray,
) -> tuple[tuple[Slot, ...], list[str]]:
    """Slots whose rows are the tracks; a variable corpus numbers its interferers."""
    first = corpus.targets(config)[0]
    if config.dataset == "trackfolder_var":
        others = [[name for name in t.sources if name != first] for t in tracks]
        most = max(len(each) for each in others)
        names = [first, *(f"interferer {place}" for place in range(most))]
        sources = [
            [first if first in t.sources else None, *each, *[None] * (most - len(each))]
            for t, each in zip(tracks, others, strict=True)
        ]
    else:
        names = list(tracks[0].sources)
        sources = [list(names) for _ in tracks]
    table = np.array(
        [
            [numbers[f"{t.name}/{s}"] if s else SILENCE for s in row]
            for t, row in zip(tracks, sources, strict=True)
        ],
        np.int64,
    )
    known = np.where(table == SILENCE, np.iinfo(np.int64).max, samples[table])
    lengths = known.min(axis=1)
    if tracks[0].mixture is not None:
        stored = [numbers[f"{track.name}/{MIXTURE} of all"] for track in tracks]
        lengths = np.minimum(lengths, samples[stored])
    whole = np.array([0], np.int64), np.array([len(tracks)], np.int64)
    return tuple(Slot(column, lengths, *whole) for column in table.T), names


def _pools(
    config: UnmixConfig,
    tracks: Sequence[Track],
    numbers: Mapping[str, int],
    samples: np.ndarray,
) -> tuple[tuple[Slot, ...], list[str]]:
    """Slots that each have the sounds of one folder, ordered by class."""
    names = [*config.interferer_dirs, str(config.target_dir)]
    slots = []
    for name in names:
        own = sorted(track.name for track in tracks if name in track.sources)
        classes = [_class(each, config.balanced) for each in own]
        ordered = [own[place] for place in np.argsort(classes, kind="stable")]
        _, count = np.unique(classes, return_counts=True)
        rows = np.array([numbers[f"{each}/{name}"] for each in ordered], np.int64)
        slots.append(Slot(rows, samples[rows], np.cumsum(count) - count, count))
    return tuple(slots), names


def _class(name: str, balanced: bool) -> str:
    """First folder below that of the source, where classes are told apart."""
    below = name.split("/")[1:-1]
    return below[0] if balanced and below else ""


def _excerpt_samples(config: UnmixConfig) -> int | None:
    if config.seq_dur <= 0:
        return None
    return int(config.seq_dur * config.model.sample_rate)


def _uniform(seed: int, position: tf.Tensor, slots: int) -> list[tf.Tensor]:
    """Five numbers in [0, 1) for each slot: class, row, start, gain and swap."""
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(position, tf.int64)])
    return tf.unstack(tf.random.stateless_uniform([slots, 5], key, dtype=tf.float64))


def _draw(
    config: UnmixConfig, split: Split, position: tf.Tensor, uniform: list[tf.Tensor]
) -> tuple[list[tf.Tensor], list[tf.Tensor], Any]:
    """Draw row and start of every slot, and the length that they share."""
    slots = split.slots
    if config.dataset in POOLED or (
        config.dataset == "musdb" and config.random_track_mix
    ):
        rows = [_draw_row(*pair) for pair in zip(slots, uniform, strict=True)]
        own = list(range(len(slots)))
        return _places(config, slots, rows, uniform, own)
    repeats = config.samples_per_track if config.dataset == "musdb" else 1
    item = records.shuffled(position, split.rows * repeats, config.train.seed)
    rows = [item // repeats] * len(slots)
    own = [0] * len(slots)
    if config.random_track_mix and config.dataset == "trackfolder_fix":
        own = list(range(len(slots)))
    elif config.random_track_mix and config.dataset == "trackfolder_var":
        own = [min(place, 1) for place in range(len(slots))]
    for place, of in enumerate(own):
        rows[place] = _draw_row(slots[of], uniform[of]) if of else rows[0]
    if config.dataset == "musdb" and repeats > 1:
        even = tf.cast(tf.math.floormod(item, repeats), tf.float64) / (repeats - 1)
        uniform = [tf.tensor_scatter_nd_update(u, [[2]], [even]) for u in uniform]
    return _places(config, slots, rows, uniform, own)


def _draw_row(slot: Slot, uniform: tf.Tensor) -> tf.Tensor:
    group = _pick(uniform[0], len(slot.first))
    count = tf.gather(slot.count, group)
    return tf.gather(slot.first, group) + _pick(uniform[1], count)


def _pick(uniform: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Turn a number in [0, 1] into one of ``count`` whole numbers."""
    count = tf.cast(count, tf.int64)
    picked = tf.cast(uniform * tf.cast(count, tf.float64), tf.int64)
    return tf.minimum(picked, count - 1)


def _places(
    config: UnmixConfig,
    slots: Sequence[Slot],
    rows: list[tf.Tensor],
    uniform: list[tf.Tensor],
    own: list[int],
) -> tuple[list[tf.Tensor], list[tf.Tensor], Any]:
    """Starts of the excerpts; slot k takes the place of slot ``own[k]``."""
    lengths = [tf.gather(s.lengths, row) for s, row in zip(slots, rows, strict=True)]
    samples: Any = _excerpt_samples(config)
    if samples is None:
        samples = tf.reduce_min(tf.stack(lengths))
    spare = [length - samples for length in lengths]
    starts = [_pick(uniform[of][2], spare[of] + 1) for of in own]
    return rows, starts, samples


def _read(
    split: Split,
    slot: Slot,
    row: tf.Tensor,
    start: tf.Tensor,
    samples: int | tf.Tensor,
) -> tf.Tensor:
    number = tf.gather(slot.sounds, row)

    def read() -> tf.Tensor:
        return split.sounds.read(number, start, samples)

    if SILENCE not in slot.sounds:
        return read()
    silence = functools.partial(tf.zeros, [split.sounds.channels, samples])
    return tf.cond(number == SILENCE, silence, read)


def _augment(
    wave: tf.Tensor, uniform: tf.Tensor, augmentations: Sequence[str]
) -> tf.Tensor:
    if "gain" in augmentations:
        least, most = GAINS
        gain = least + (most - least) * uniform[3]
        wave = wave * tf.cast(gain, tf.float32)
    if "channelswap" in augmentations and wave.shape[0] == 2:
        order = tf.where(uniform[4] < 0.5, [1, 0], [0, 1])
        wave = tf.gather(wave, order)
    return wave


def _mixed(
    split: Split, waves: Sequence[tf.Tensor], mixture: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Sum up the slots of the mixture and of every target."""
    mixture = tf.add_n(list(waves)) if mixture is None else mixture
    sources = [tf.add_n([waves[slot] for slot in each]) for each in split.wanted]
    return {"mixture": mixture, "sources": tf.stack(sources)}


def _pooled(
    config: UnmixConfig, split: Split, place: str, position: tf.Tensor
) -> dict[str, tf.Tensor]:
    """A mixture of sounds drawn at a position, from a random place or the middle."""
    offset = VALID_SEED if place == "drawn" else 0
    uniform = _uniform(config.train.seed + offset, position, len(split.slots))
    if place == "middle":
        half = tf.constant(0.5, tf.float64)
        uniform = [tf.tensor_scatter_nd_update(u, [[2]], [half]) for u in uniform]
    rows, starts, samples = _draw(config, split, position, uniform)
    drawn = zip(split.slots, rows, starts, strict=True)
    return _mixed(split, [_read(split, *each, samples) for each in drawn])


def _whole(
    split: Split, targets: Sequence[int], most: int | None, row: tf.Tensor
) -> dict[str, tf.Tensor]:
    """A track from its start, with its own mixture and the targets that are wanted."""
    start = tf.constant(0, tf.int64)
    samples = tf.gather(split.slots[0].lengths, row)
    if most is not None:
        samples = tf.minimum(samples, most)

    def sum_of(slots: Sequence[int]) -> tf.Tensor:
        read: Callable = functools.partial(_read, split)
        return tf.add_n([read(split.slots[s], row, start, samples) for s in slots])

    if split.mixtures is None:
        mixture = sum_of(range(len(split.slots)))
    else:
        mixture = split.sounds.read(tf.gather(split.mixtures, row), start, samples)
    if not targets:
        return {"mixture": mixture}
    sources = tf.stack([sum_of(split.wanted[target]) for target in targets])
    return {"mixture": mixture, "sources": sources}
