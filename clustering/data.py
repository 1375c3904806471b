"""Excerpts of mixtures with their sources as functions of their position."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from clustering import corpus
from clustering.config import ClusteringConfig
from common import records
from common.config import ConfigError
from common.corpora.augmentation import Augment
from common.corpora.augmented import augmented
from common.corpora.track import CorpusError, Sound, Track
from common.records.sound_bank import Sounds, open_sounds
from common.training.distribution import Example

CANDIDATES = 16
"""Number of random starts from which a balanced excerpt is chosen."""
PAUSE_DB = 60.0
"""Level below another source of the excerpt at which a source is a pause."""
# Separates the draws of candidates from the other draws of the same position.
CANDIDATE_KEY = 2**40


class Split(NamedTuple):
    """One split of a corpus, ready for random excerpts.

    Attributes:
        sounds: The bank of sounds.
        numbers: Index of the sound of each source in each track [tracks, sources].
        lengths: Common length of the sources of each track in samples [tracks].
        names: Names of the sources.
        mixtures: Index of the sound of each mixture with more than its sources
            [tracks]; None if mixtures are the sums.
        speakers: Index of the speaker of each source of each track [tracks, sources],
            negative if unknown; None if all are unknown.
    """

    sounds: Sounds
    numbers: np.ndarray
    lengths: np.ndarray
    names: tuple[str, ...]
    mixtures: np.ndarray | None = None
    speakers: np.ndarray | None = None


class Data(NamedTuple):
    """Training and validation of a configuration."""

    train: Split
    valid: Split


def load(config: ClusteringConfig) -> Data:
    """Locate the corpus of a run and open its training and validation splits.

    Raises:
        ConfigError: A rate is not the model's.
        CorpusError: A split is empty or the tracks have no common sources.
    """
    root = corpus.root(config)
    train, valid = (corpus.tracks(config, root, split) for split in Data._fields)
    return Data(open_split(config, "train", train), open_split(config, "valid", valid))


def open_split(config: ClusteringConfig, split: str, tracks: Sequence[Track]) -> Split:
    """Open the sounds of tracks that all have the same sources.

    Raises:
        ConfigError: Mixtures made during training would lack the noise.
        CorpusError: Two tracks have different sources.
    """
    names = tuple(tracks[0].sources)
    named: dict[str, tuple[Sound, Track]] = {}
    for track in tracks:
        if tuple(track.sources) != names:
            raise CorpusError(
                f"{track.name} has the sources {', '.join(track.sources)} and "
                f"{tracks[0].name} {', '.join(names)}; group them by sources=..."
            )
        named |= {f"{track.name}/{n}": (s, track) for n, s in track.sources.items()}
    numbers = np.arange(len(named), dtype=np.int64).reshape(len(tracks), len(names))
    mixtures = None
    if _own_mixtures(config, tracks):
        mixtures = len(named) + np.arange(len(tracks), dtype=np.int64)
        named |= {f"{t.name}/": (t.mixture, t) for t in tracks if t.mixture is not None}
    folder = f"{config.records}/{split}" if config.records else None
    sounds = open_sounds(
        named,
        config.sample_rate,
        1,
        resample=config.resample,
        folder=folder,
        encoding=config.records_encoding,
    )
    lengths = sounds.samples[numbers].min(axis=1)
    if mixtures is not None:
        lengths = np.minimum(lengths, sounds.samples[mixtures])
    return Split(sounds, numbers, lengths, names, mixtures, _speakers(tracks, names))


def _speakers(tracks: Sequence[Track], names: Sequence[str]) -> np.ndarray | None:
    """Number the speakers of a split, if any is known."""
    speakers = sorted({name for track in tracks for name in track.speakers.values()})
    if not speakers:
        return None
    index = {name: number for number, name in enumerate(speakers)}
    return np.array(
        [[index.get(track.speakers.get(n, ""), -1) for n in names] for track in tracks],
        np.int64,
    )


def _own_mixtures(config: ClusteringConfig, tracks: Sequence[Track]) -> bool:
    """Whether the mixtures of the corpus are read, and not made as sums."""
    if not corpus.noisy(config) or any(track.mixture is None for track in tracks):
        return False
    made = config.mixing == "random" or config.snr_db is not None
    if made and config.dataset == "wham":
        raise ConfigError(
            f"mixing={config.mixing} and snr_db={config.snr_db} make mixtures without "
            f"the noise of task={config.task}; expected mixing=tracks and no snr_db, "
            "or task=mix_clean"
        )
    return not made


def epoch_steps(config: ClusteringConfig, split: Split, replicas: int) -> int:
    """Count the steps of an epoch: as configured, or one pass over all tracks."""
    excerpts = _step_excerpts(config, replicas)
    return config.train.steps_per_epoch or -(-len(split.lengths) // excerpts)


def _step_excerpts(config: ClusteringConfig, replicas: int) -> int:
    """Count the excerpts of a step over all replicas."""
    return config.batch_size * config.train.accumulate * replicas


def training_example(
    config: ClusteringConfig, split: Split, replicas: int = 1
) -> Example:
    """Make the function from a position to a training excerpt.

    Args:
        config: Configuration with the length, the mixing and the seed.
        split: The training split.
        replicas: Number of replicas that share a global batch, which determines the
            epoch of a position.

    Returns:
        Function from a position to ``mixture`` [samples] and ``sources`` [sources,
        samples].

    Raises:
        CorpusError: Mixtures of different speakers are drawn from too few speakers.
    """
    if config.mixing == "random":
        _expect_speakers(split)
    if config.augment.is_on:
        return _augmented(config, split, replicas)
    count = len(split.names)
    tracks = len(split.lengths)
    epoch = epoch_steps(config, split, replicas) * _step_excerpts(config, replicas)

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        key = tf.stack([tf.constant(config.train.seed, tf.int64), position])
        drawn = tf.random.stateless_uniform([count, 3], key, dtype=tf.float64)
        rows = tf.fill([count], records.shuffled(position, tracks, config.train.seed))
        starts = tf.fill([count], drawn[0, 1])
        samples = _samples(config, position // epoch)
        if config.excerpt == "balanced":
            draws = tf.random.stateless_uniform(
                [CANDIDATES + 1], key + tf.constant([0, CANDIDATE_KEY], tf.int64)
            )
            start = _balanced(config, split, rows, draws, samples)
            starts = tf.fill([count], start)
        if config.mixing == "random":
            rows = _different_speakers(split, rows[0], drawn[:, 0])
            starts = drawn[:, 1]
        gains = None
        if config.snr_db is not None:
            low, high = config.snr_db
            gains = tf.cast(low + (high - low) * drawn[:, 2], tf.float32)
        return _mix(split, rows, starts, samples, gains)

    return example


def _augmented(config: ClusteringConfig, split: Split, replicas: int) -> Example:
    """Make the function to excerpts that the chain of augmentations changes."""
    chain, samples = config.augment, config.segment_samples
    if chain.remix and split.speakers is not None:
        raise ConfigError(
            "augment.remix may take one speaker twice; expected mixing=random, which "
            "takes different ones"
        )
    seconds = chain.reading(samples) / config.sample_rate
    plain = replace(config, augment=Augment(), segment_seconds=seconds)
    example = training_example(plain, split, replicas)
    length = None if config.curriculum else samples
    return augmented(chain, config.train.seed, example, length)


def validation_example(config: ClusteringConfig, split: Split) -> Example:
    """Make the function from a position to the middle of a track of the validation."""
    count = len(split.names)

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        starts = tf.fill([count], tf.constant(0.5, tf.float64))
        rows = tf.fill([count], position)
        return _mix(split, rows, starts, config.segment_samples, None)

    return example


def _different_speakers(split: Split, first: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Choose a track for each source, all with different speakers."""
    tracks, count = len(split.lengths), len(split.names)
    others = tf.cast(drawn * tracks, tf.int64)
    if split.speakers is None:
        return tf.concat([[first], others[1:]], axis=0)
    rows, taken = [first], [tf.gather(split.speakers[:, 0], first)]
    for number in range(1, count):
        speakers = split.speakers[:, number]
        same = speakers[:, np.newaxis] == tf.stack(taken)
        free = tf.logical_or(~tf.reduce_any(same, axis=1), speakers < 0)
        allowed = tf.where(free)[:, 0]
        size = tf.cast(tf.size(allowed), tf.float64)
        rows.append(allowed[tf.cast(drawn[number] * size, tf.int64)])
        taken.append(tf.gather(speakers, rows[-1]))
    return tf.stack(rows)


def _expect_speakers(split: Split) -> None:
    """Refuse a split with too few speakers for a source."""
    if split.speakers is None:
        return
    speakers = [set(column.tolist()) for column in split.speakers.T]
    for number, candidates in enumerate(speakers):
        # Each of them may already be used by a different earlier source.
        all_taken = any(
            all(
                speaker in before
                for speaker, before in zip(candidates, order, strict=True)
            )
            for order in itertools.permutations(speakers[:number], len(candidates))
        )
        if all_taken and -1 not in candidates:
            raise CorpusError(
                f"mixing=random needs a different speaker for each source, and the "
                f"{len(split.lengths)} training tracks have only {len(candidates)} in "
                f"{split.names[number]}, who may already speak in the sources before "
                "it; add speakers, or set mixing=tracks"
            )


def _samples(config: ClusteringConfig, epoch: tf.Tensor) -> int | tf.Tensor:
    """Length of an excerpt in an epoch."""
    if not config.curriculum:
        return config.segment_samples
    begins = tf.constant([begin for begin, _ in config.curriculum], tf.int64)
    lengths = [round(seconds * config.sample_rate) for _, seconds in config.curriculum]
    stage = tf.reduce_sum(tf.cast(begins <= epoch, tf.int32)) - 1
    return tf.constant(lengths, tf.int64)[stage]


def _balanced(
    config: ClusteringConfig,
    split: Split,
    rows: tf.Tensor,
    draws: tf.Tensor,
    excerpt: int | tf.Tensor,
) -> tf.Tensor:
    """Choose a start in a track at which its sources have similar levels.

    At every candidate the first frame of the excerpt is read. Candidates are ranked by
    the product of the fractions of energy of the sources, and one of the upper half is
    drawn uniformly.
    """
    count = len(split.names)
    candidates = tf.cast(draws[:CANDIDATES], tf.float64)
    length = tf.gather(split.lengths, rows[0])
    samples = tf.minimum(tf.constant(config.window_samples, tf.int64), length)
    last = length - tf.minimum(tf.cast(excerpt, tf.int64), length)
    starts = tf.cast(candidates * tf.cast(last + 1, tf.float64), tf.int64)
    numbers = tf.repeat(tf.gather(split.numbers, rows[0]), CANDIDATES)
    waves = split.sounds.read(
        numbers, tf.tile(tf.minimum(starts, length - samples), [count]), samples
    )
    waves = tf.reshape(tf.reduce_mean(waves, axis=1), [count, CANDIDATES, -1])
    energy = tf.reduce_sum(tf.square(waves), axis=2)
    shares = tf.math.divide_no_nan(energy, tf.reduce_sum(energy, axis=0))
    best = tf.math.top_k(tf.reduce_prod(shares, axis=0), CANDIDATES // 2)[1]
    return candidates[best[tf.cast(draws[-1] * (CANDIDATES // 2), tf.int32)]]


def _mix(
    split: Split,
    rows: tf.Tensor,
    starts: tf.Tensor,
    length: int | tf.Tensor,
    gains_db: tf.Tensor | None,
) -> dict[str, tf.Tensor]:
    """Read an excerpt of each source, and sum them or read their mixture.

    Args:
        split: Split with the sounds.
        rows: Track of each source, int64 [sources].
        starts: Start of each excerpt as a fraction, float64 [sources], 0 to 1.
        length: Samples of the excerpt; shorter tracks are padded with silence.
        gains_db: Level of each source against the first, float32 [sources], or None.
    """
    padded = tf.cast(length, tf.int64)
    lengths = tf.gather(split.lengths, rows)
    samples = tf.minimum(padded, tf.reduce_min(lengths))
    offsets = tf.cast(starts * tf.cast(lengths - samples + 1, tf.float64), tf.int64)
    offsets = tf.minimum(offsets, lengths - samples)
    numbers = tf.gather_nd(
        split.numbers,
        tf.stack([rows, tf.range(len(split.names), dtype=tf.int64)], axis=1),
    )
    waves = split.sounds.read(numbers, offsets, samples) * split.sounds.scale
    sources = tf.reduce_mean(waves, axis=1)
    if gains_db is not None:
        sources = _levelled(sources, gains_db)
    sources = tf.pad(sources, [[0, 0], [0, padded - samples]])
    static = length if isinstance(length, int) else None
    sources = tf.ensure_shape(sources, [len(split.names), static])
    if split.mixtures is None:
        return {"mixture": tf.reduce_sum(sources, axis=0), "sources": sources}
    number = tf.gather(split.mixtures, rows[:1])
    waves = split.sounds.read(number, offsets[:1], samples) * split.sounds.scale
    mixture = tf.pad(tf.reduce_mean(waves, axis=1)[0], [[0, padded - samples]])
    return {"mixture": tf.ensure_shape(mixture, [static]), "sources": sources}


def _levelled(sources: tf.Tensor, gains_db: tf.Tensor) -> tf.Tensor:
    """Scale each source to a level relative to the first, which keeps its own.

    If one of the two is a pause there is no relative level, and the source keeps its
    level. Otherwise a silent first source would make the whole excerpt silent.
    """
    power = tf.reduce_mean(tf.square(sources), axis=1)
    target = power[0] * tf.pow(10.0, gains_db / 10.0)
    least = 10.0 ** (-PAUSE_DB / 10.0)
    both = (power > least * power[0]) & (power[0] > least * power)
    gains = tf.where(both, tf.sqrt(tf.math.divide_no_nan(target, power)), 1.0)
    gains = tf.concat([[1.0], gains[1:]], axis=0)
    return sources * gains[:, tf.newaxis]
