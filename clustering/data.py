"""Excerpts of mixtures with their sources as functions of their position."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from clustering import corpus
from clustering.config import ClusteringConfig
from common import records
from common.config import ConfigError
from common.corpora.track import CorpusError, Sound, Track
from common.records.sound_bank import Sounds, open_sounds
from common.training.distribution import Example

CANDIDATES = 16
"""Positions in a track that a balanced excerpt is chosen from."""
PAUSE_DB = 60.0
"""A source that is this much quieter than another one of the excerpt pauses."""
# Sets the draws of the places apart from the others of the same position.
PLACES = 2**40


class Split(NamedTuple):
    """One split of a corpus, ready to be drawn from.

    Attributes:
        sounds: The bank that is read.
        numbers: Number of the sound of each source in each track [tracks, sources].
        lengths: Samples that all sources of a track have [tracks].
        names: Names of the sources.
        mixtures: Number of the sound of each mixture that holds more than the sources
            [tracks]; None: they are the sums.
        talkers: Number of who speaks in each source of each track [tracks, sources],
            below zero where nobody knows; None: nobody knows of any.
    """

    sounds: Sounds
    numbers: np.ndarray
    lengths: np.ndarray
    names: tuple[str, ...]
    mixtures: np.ndarray | None = None
    talkers: np.ndarray | None = None


class Data(NamedTuple):
    """Training and validation of a configuration."""

    train: Split
    valid: Split


def load(config: ClusteringConfig) -> Data:
    """Find the corpus of a run and open what it is drawn from.

    Raises:
        ConfigError: A rate is not the model's.
        CorpusError: A split is empty or the tracks have no common sources.
    """
    place = corpus.root(config)
    train, valid = (corpus.tracks(config, place, split) for split in Data._fields)
    return Data(open_split(config, "train", train), open_split(config, "valid", valid))


def open_split(config: ClusteringConfig, split: str, tracks: Sequence[Track]) -> Split:
    """Open the sounds of tracks that all have the same sources.

    Raises:
        ConfigError: Noise is asked for of mixtures that are made on the fly.
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
    return Split(sounds, numbers, lengths, names, mixtures, _talkers(tracks, names))


def _talkers(tracks: Sequence[Track], names: Sequence[str]) -> np.ndarray | None:
    """Number the talkers of a split, if any is known."""
    people = sorted({person for track in tracks for person in track.speakers.values()})
    if not people:
        return None
    known = {person: number for number, person in enumerate(people)}
    return np.array(
        [[known.get(track.speakers.get(n, ""), -1) for n in names] for track in tracks],
        np.int64,
    )


def _own_mixtures(config: ClusteringConfig, tracks: Sequence[Track]) -> bool:
    """Tell whether the mixtures are heard as they are and not as the sums."""
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
    """Count the steps of an epoch: as configured, or such that all tracks come once."""
    rows = config.batch_size * replicas
    return config.train.steps_per_epoch or -(-len(split.lengths) // rows)


def training_example(
    config: ClusteringConfig, split: Split, replicas: int = 1
) -> Example:
    """Make the function from a position to a training excerpt.

    Args:
        config: Gives the length, the way of mixing and the seed.
        split: The training split.
        replicas: Number of replicas that share a global batch, which the epoch of a
            position follows from.

    Returns:
        Function from a position to ``mixture`` [samples] and ``sources`` [sources,
        samples].

    Raises:
        CorpusError: Mixtures of different speakers are drawn from too few speakers.
    """
    if config.mixing == "random":
        _expect_speakers(split)
    count = len(split.names)
    tracks = len(split.lengths)
    epoch = epoch_steps(config, split, replicas) * config.batch_size * replicas

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        key = tf.stack([tf.constant(config.train.seed, tf.int64), position])
        drawn = tf.random.stateless_uniform([count, 3], key, dtype=tf.float64)
        rows = tf.fill([count], records.shuffled(position, tracks, config.train.seed))
        places = tf.fill([count], drawn[0, 1])
        if config.excerpt == "balanced":
            draws = tf.random.stateless_uniform(
                [CANDIDATES + 1], key + tf.constant([0, PLACES], tf.int64)
            )
            places = tf.fill([count], _balanced(config, split, rows, draws))
        if config.mixing == "random":
            rows = _unlike(split, rows[0], drawn[:, 0])
            places = drawn[:, 1]
        gains = None
        if config.snr_db is not None:
            low, high = config.snr_db
            gains = tf.cast(low + (high - low) * drawn[:, 2], tf.float32)
        samples = _samples(config, position // epoch)
        return _mix(split, rows, places, samples, gains)

    return example


def validation_example(config: ClusteringConfig, split: Split) -> Example:
    """Make the function from a position to the middle of a track of the validation."""
    count = len(split.names)

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        places = tf.fill([count], tf.constant(0.5, tf.float64))
        rows = tf.fill([count], position)
        return _mix(split, rows, places, config.segment_samples, None)

    return example


def _unlike(split: Split, first: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    """Choose a track for each source such that nobody speaks in two of them."""
    tracks, count = len(split.lengths), len(split.names)
    others = tf.cast(drawn * tracks, tf.int64)
    if split.talkers is None:
        return tf.concat([[first], others[1:]], axis=0)
    rows, people = [first], [tf.gather(split.talkers[:, 0], first)]
    for number in range(1, count):
        voices = split.talkers[:, number]
        same = voices[:, np.newaxis] == tf.stack(people)
        free = tf.logical_or(~tf.reduce_any(same, axis=1), voices < 0)
        allowed = tf.where(free)[:, 0]
        some = tf.cast(tf.size(allowed), tf.float64)
        rows.append(allowed[tf.cast(drawn[number] * some, tf.int64)])
        people.append(tf.gather(voices, rows[-1]))
    return tf.stack(rows)


def _expect_speakers(split: Split) -> None:
    """Refuse a split in which the other sources can leave nobody for one of them."""
    if split.talkers is None:
        return
    voices = [set(column.tolist()) for column in split.talkers.T]
    for number, own in enumerate(voices):
        # Each of them may already speak in a source of its own among those before.
        taken = any(
            all(person in before for person, before in zip(own, order, strict=True))
            for order in itertools.permutations(voices[:number], len(own))
        )
        if taken and -1 not in own:
            raise CorpusError(
                f"mixing=random needs a different speaker for each source, and the "
                f"{len(split.lengths)} training tracks have only {len(own)} in "
                f"{split.names[number]}, who may already speak in the sources before "
                "it; add speakers, or set mixing=tracks"
            )


def _samples(config: ClusteringConfig, epoch: tf.Tensor) -> int | tf.Tensor:
    """Length of an excerpt in an epoch."""
    if not config.curriculum:
        return config.segment_samples
    begins = tf.constant([begin for begin, _ in config.curriculum], tf.int64)
    lengths = [round(each * config.sample_rate) for _, each in config.curriculum]
    place = tf.reduce_sum(tf.cast(begins <= epoch, tf.int32)) - 1
    return tf.constant(lengths, tf.int64)[place]


def _balanced(
    config: ClusteringConfig, split: Split, rows: tf.Tensor, draws: tf.Tensor
) -> tf.Tensor:
    """Choose one of the places of a track where its sources are equally loud.

    A frame is heard at every candidate. Those of the upper half by the product of the
    sources' shares of its energy are as likely.
    """
    count = len(split.names)
    places = tf.cast(draws[:CANDIDATES], tf.float64)
    length = tf.gather(split.lengths, rows[0])
    samples = tf.minimum(tf.constant(config.window_samples, tf.int64), length)
    starts = tf.cast(places * tf.cast(length - samples + 1, tf.float64), tf.int64)
    numbers = tf.repeat(tf.gather(split.numbers, rows[0]), CANDIDATES)
    waves = split.sounds.read(
        numbers, tf.tile(tf.minimum(starts, length - samples), [count]), samples
    )
    waves = tf.reshape(tf.reduce_mean(waves, axis=1), [count, CANDIDATES, -1])
    energy = tf.reduce_sum(tf.square(waves), axis=2)
    shares = tf.math.divide_no_nan(energy, tf.reduce_sum(energy, axis=0))
    best = tf.math.top_k(tf.reduce_prod(shares, axis=0), CANDIDATES // 2)[1]
    return places[best[tf.cast(draws[-1] * (CANDIDATES // 2), tf.int32)]]


def _mix(
    split: Split,
    rows: tf.Tensor,
    places: tf.Tensor,
    samples_wanted: int | tf.Tensor,
    gains_db: tf.Tensor | None,
) -> dict[str, tf.Tensor]:
    """Read one excerpt of each source, and add them up or read their mixture."""
    wanted = tf.cast(samples_wanted, tf.int64)
    lengths = tf.gather(split.lengths, rows)
    samples = tf.minimum(wanted, tf.reduce_min(lengths))
    starts = tf.cast(places * tf.cast(lengths - samples + 1, tf.float64), tf.int64)
    starts = tf.minimum(starts, lengths - samples)
    numbers = tf.gather_nd(
        split.numbers,
        tf.stack([rows, tf.range(len(split.names), dtype=tf.int64)], axis=1),
    )
    waves = split.sounds.read(numbers, starts, samples) * split.sounds.scale
    sources = tf.reduce_mean(waves, axis=1)
    if gains_db is not None:
        sources = _levelled(sources, gains_db)
    sources = tf.pad(sources, [[0, 0], [0, wanted - samples]])
    known = samples_wanted if isinstance(samples_wanted, int) else None
    sources = tf.ensure_shape(sources, [len(split.names), known])
    if split.mixtures is None:
        return {"mixture": tf.reduce_sum(sources, axis=0), "sources": sources}
    number = tf.gather(split.mixtures, rows[:1])
    whole = split.sounds.read(number, starts[:1], samples) * split.sounds.scale
    mixture = tf.pad(tf.reduce_mean(whole, axis=1)[0], [[0, wanted - samples]])
    return {"mixture": tf.ensure_shape(mixture, [known]), "sources": sources}


def _levelled(sources: tf.Tensor, gains_db: tf.Tensor) -> tf.Tensor:
    """Bring each source to a level against the first, which keeps its own.

    Where one of the two pauses there is no level between them: the source stays as it
    is, instead of a silent first source making the whole excerpt silent.
    """
    power = tf.reduce_mean(tf.square(sources), axis=1)
    wanted = power[0] * tf.pow(10.0, gains_db / 10.0)
    least = 10.0 ** (-PAUSE_DB / 10.0)
    both = (power > least * power[0]) & (power[0] > least * power)
    gains = tf.where(both, tf.sqrt(tf.math.divide_no_nan(wanted, power)), 1.0)
    gains = tf.concat([[1.0], gains[1:]], axis=0)
    return sources * gains[:, tf.newaxis]
