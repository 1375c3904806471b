"""Songs as streams, and excerpts of them as functions of their position in a stream.

The sounds of all streams are one bank of mono sounds at the working rate. Positions are
drawn and excerpts read within a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from adversarial.config import AdversarialConfig, ModelConfig
from adversarial.model import solve
from adversarial.songs.corpus import mixture_of
from adversarial.songs.song_lists import ACCOMPANIMENT, MIXTURE, VOCALS
from common import records
from common.config import ConfigError
from common.corpora.track import CorpusError, Sound, Track
from common.records.sound_bank import Sounds, open_sounds
from common.training.loop import say

STREAMS = ("paired", "mixtures", "accompaniments", "vocals")
ROLES = {
    "paired": (MIXTURE, ACCOMPANIMENT, VOCALS),
    "mixtures": (MIXTURE,),
    "accompaniments": (ACCOMPANIMENT,),
    "vocals": (VOCALS,),
}
"""Sounds of a song that each stream reads."""
SILENCE = -1
"""Number of a sound that a song lacks."""
ALL_ROLES, MIXTURE_ROLE, SOURCE_ROLES = slice(None), slice(0, 1), slice(1, None)
"""Roles of an excerpt: all, and the mixture or the sources of a paired song."""


class Stream(NamedTuple):
    """The opened songs of a stream.

    Attributes:
        sounds: The bank of sounds.
        numbers: Number of each sound of each song [songs, roles]; -1 is silence.
        samples: Length of each song [songs] at the working rate.
    """

    sounds: Sounds
    numbers: np.ndarray
    samples: np.ndarray


class Draw(NamedTuple):
    """The excerpt at a position of a stream.

    Attributes:
        song: Number of the song, int64.
        start: Sample of the song at the centre of the output's first frame, int64.
        gain: Gain of an unpaired excerpt, float32.
    """

    song: tf.Tensor
    start: tf.Tensor
    gain: tf.Tensor


def open_streams(
    config: AdversarialConfig, split: str, songs: Mapping[str, Sequence[Track]]
) -> dict[str, Stream]:
    """Open the songs of several streams as one bank, each sound once.

    Args:
        config: Gives the sample rate, and folder and encoding of the records.
        split: Name of the folder of records within that folder.
        songs: Songs by the name of their stream.

    Raises:
        AudioError: A file cannot be read.
    """
    sounds: dict[str, tuple[Sound, Track]] = {}
    for name, tracks in songs.items():
        for track in tracks:
            for role, sound in _sounds_of(name, track):
                sounds[f"{track.name}/{role}"] = sound, track
    folder = config.corpora.records
    bank = open_sounds(
        sounds,
        config.model_config.expected_sr,
        1,
        resample=True,
        downmix=True,
        folder=None if folder is None else f"{folder}/{split}",
        encoding=config.corpora.records_encoding,
    )
    numbers = {name: number for number, name in enumerate(sounds)}
    return {
        name: _stream(bank, numbers, name, tracks) for name, tracks in songs.items()
    }


def long_enough(
    config: AdversarialConfig, tracks: Sequence[Track], name: str
) -> list[Track]:
    """Leave out songs shorter than a window, and report how many.

    Args:
        config: Gives the length of a window.
        tracks: Songs of a stream.
        name: Name of the stream.

    Raises:
        CorpusError: No song is long enough.
    """
    samples = excerpt_samples(config, with_context=False)
    seconds = samples / config.model_config.expected_sr
    kept = [track for track in tracks if track.samples >= seconds * track.sample_rate]
    if len(kept) == len(tracks):
        return kept
    first = next(track for track in tracks if track not in kept)
    short = (
        f"{len(tracks) - len(kept)} of {len(tracks)} songs of the list {name!r} are "
        f"shorter than a window of {seconds:.2f} s, first {first.name!r} with "
        f"{first.samples / first.sample_rate:.2f} s"
    )
    if not kept:
        raise CorpusError(
            f"{short}; add longer songs, or lower model_config.num_frames"
        )
    say(f"{short}; they are left out of the training")
    return kept


def draws(
    config: AdversarialConfig, name: str, stream: Stream
) -> Callable[[tf.Tensor], Draw]:
    """Make the function from a position of a stream to its excerpt.

    With ``excerpts_reused`` a position draws one of the ``cache_size`` latest excerpts
    and a window in it; the songs take turns with an excerpt, and each is replaced after
    as many batches as in the original's cache. Otherwise the songs take turns with a
    window anywhere in them.

    Args:
        config: Gives sizes, cache, gains and seed.
        name: Name of the stream.
        stream: Its songs.

    Raises:
        ConfigError: An excerpt is shorter than a window.
    """
    settings, number = config.model_config, STREAMS.index(name)
    hop, frames = settings.num_hop, solve(settings).output_frames
    available = _excerpt_frames(settings, with_context=name in ("paired", "mixtures"))
    order_seed = len(STREAMS) * config.train.seed + number
    rate = Fraction(settings.min_replacement_rate).limit_denominator(1000)
    fresh = rate / settings.batch_size

    def draw(position: tf.Tensor) -> Draw:
        position = tf.cast(position, tf.int64)
        window_draw = _uniform(seed_at(config, number, position))
        excerpt = position
        if settings.excerpts_reused:
            oldest = position * fresh.numerator // fresh.denominator
            excerpt = oldest + _integer_below(window_draw[0], settings.cache_size)
        excerpt_draw = _uniform(seed_at(config, len(STREAMS) + number, excerpt))
        song = records.shuffled(excerpt, len(stream.samples), order_seed)
        last = tf.maximum(tf.gather(stream.samples, song) - (frames - 1) * hop, 0)
        spare = (available - frames) * hop if settings.excerpts_reused else 0
        start = _integer_below(excerpt_draw[0], tf.maximum(last - spare, 0) + 1)
        hops = tf.minimum(last - start, spare) // hop
        start += hop * _integer_below(window_draw[1], hops + 1)
        gain_range = settings.gain_high - settings.gain_low
        gain = settings.gain_low + gain_range * excerpt_draw[1]
        return Draw(song, start, tf.cast(gain, tf.float32))

    return draw


def read_pair(
    config: AdversarialConfig, stream: Stream, song: tf.Tensor, start: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Read a mixture with its context, and its sources without.

    Args:
        config: Gives the sizes.
        stream: Songs of mixture, accompaniment and vocals.
        song: Number of the song.
        start: Sample at the centre of the output's first frame.

    Returns:
        ``mixture`` [samples] and ``sources`` [2, samples].
    """
    mixture = read_excerpt(
        config, stream, song, start, roles=MIXTURE_ROLE, with_context=True
    )
    sources = read_excerpt(
        config, stream, song, start, roles=SOURCE_ROLES, with_context=False
    )
    return {"mixture": mixture[0], "sources": sources}


def read_excerpt(
    config: AdversarialConfig,
    stream: Stream,
    song: tf.Tensor,
    start: tf.Tensor,
    *,
    roles: slice = ALL_ROLES,
    with_context: bool,
    longer: int = 0,
) -> tf.Tensor:
    """Read the samples of some frames of the sounds of a song.

    The frames are those of a centred transform of the whole song, if ``start`` is a
    multiple of the hop; outside the song there are zeros.

    Args:
        config: Gives the sizes.
        stream: The songs.
        song: Number of the song.
        start: Sample at the centre of the output's first frame.
        roles: Sounds of the song.
        with_context: Read the frames of the separator's input, which begin earlier,
            instead of those of its output.
        longer: Further samples to read after them.

    Returns:
        Float32 [roles, samples].
    """
    settings = config.model_config
    samples = excerpt_samples(config, with_context) + longer
    context = solve(settings).context_frames if with_context else 0
    begin = tf.cast(start, tf.int64) - context * settings.num_hop
    begin -= settings.num_fft // 2
    end = tf.gather(stream.samples, song)
    first = tf.clip_by_value(begin, 0, end - 1)
    last = tf.clip_by_value(begin + samples, first + 1, end)
    waves = _read(stream, song, roles, first, last - first)
    padding = tf.stack([first - begin, begin + samples - last])
    waves = tf.pad(waves, tf.stack([tf.zeros_like(padding), padding]))
    return tf.ensure_shape(waves, [None, samples])


def excerpt_samples(config: AdversarialConfig, with_context: bool) -> int:
    """Compute the samples of the frames of the separator's input or output.

    >>> excerpt_samples(AdversarialConfig(), with_context=True)
    40704
    """
    settings, geometry = config.model_config, solve(config.model_config)
    frames = geometry.input_frames if with_context else geometry.output_frames
    return (frames - 1) * settings.num_hop + settings.num_fft


def seed_at(config: AdversarialConfig, purpose: int, position: tf.Tensor) -> tf.Tensor:
    """Derive the seed of the random numbers at a position.

    Args:
        config: Gives the seed of the run.
        purpose: Number of the stream or of another use of random numbers.
        position: The position.

    Returns:
        int64 [2].
    """
    seeds = tf.constant([config.train.seed % 2**63, purpose], tf.int64)
    random = tf.random.experimental  # type: ignore[attr-defined]
    return random.stateless_fold_in(seeds, position)


def _sounds_of(name: str, track: Track) -> list[tuple[str, Sound]]:
    """List the sounds of a song that a stream reads, by their roles."""
    sounds = {**track.sources}
    if MIXTURE in ROLES[name]:
        sounds[MIXTURE] = mixture_of(track)
    return [(role, sounds[role]) for role in ROLES[name] if role in sounds]


def _stream(
    bank: Sounds, numbers: Mapping[str, int], name: str, tracks: Sequence[Track]
) -> Stream:
    rows = [
        [numbers.get(f"{track.name}/{role}", SILENCE) for role in ROLES[name]]
        for track in tracks
    ]
    table = np.array(rows, np.int64)
    unlimited = np.iinfo(np.int64).max
    lengths = np.where(table == SILENCE, unlimited, bank.samples[table])
    return Stream(bank, table, lengths.min(axis=1))


def _read(
    stream: Stream, song: tf.Tensor, roles: slice, start: tf.Tensor, samples: tf.Tensor
) -> tf.Tensor:
    """Read samples [roles, samples] of the sounds of a song; silence is zeros.

    Samples beyond full scale stay, where the original clips them: clipped sources would
    not add up to their mixture.
    """
    all_numbers = tf.gather(stream.numbers, song)
    numbers = all_numbers[roles]
    is_sound = numbers != SILENCE
    # Every song has at least one sound, which is read instead of silence.
    readable = tf.where(is_sound, numbers, tf.reduce_max(all_numbers))
    starts = tf.fill([numbers.shape[0]], start)
    waves = stream.sounds.read(readable, starts, samples) * stream.sounds.scale
    waves = tf.reduce_mean(waves, axis=1)
    return tf.where(is_sound[:, tf.newaxis], waves, 0.0)


def _uniform(seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([2], seed, dtype=tf.float64)


def _integer_below(uniform: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Scale a number in [0, 1) to an integer from 0 to below a count."""
    scaled = uniform * tf.cast(count, tf.float64)
    return tf.minimum(tf.cast(scaled, tf.int64), tf.cast(count, tf.int64) - 1)


def _excerpt_frames(settings: ModelConfig, with_context: bool) -> int:
    """Count the frames of an excerpt that an output of the separator may have."""
    geometry = solve(settings)
    frames = (
        1 + int(settings.segment_seconds * settings.expected_sr) // settings.num_hop
    )
    if with_context:
        frames -= 2 * geometry.context_frames
    if settings.excerpts_reused and frames < geometry.output_frames:
        least = (geometry.input_frames - 1) * settings.num_hop / settings.expected_sr
        raise ConfigError(
            f"model_config.segment_seconds={settings.segment_seconds}; expected at "
            f"least {least:.2f} s, the length of the separator's input; raise it, or "
            "lower model_config.num_frames or model_config.num_layers"
        )
    return frames
