"""Mixtures of mixtures as functions of their position, from records of a corpus."""

from __future__ import annotations

import hashlib
from pathlib import Path

import tensorflow as tf

from common import cache, records
from common.config import ConfigError
from common.corpora import fuss, miniature
from common.distribution import Example
from common.training import say
from mixit.config import MixitConfig


def root(config: MixitConfig) -> Path:
    """Find the corpus of a run, or make the miniature where the preset is for it.

    Raises:
        CorpusError: The folder holds no corpus.
        ConfigError: No folder is named and the preset does not use the miniature.
    """
    if config.data_root:
        return fuss.find_root(config.data_root)
    if not config.miniature:
        raise ConfigError(
            "data_root is not set; name the folder of FUSS (data_root=...), or train "
            "'with tiny' on the miniature that is made here"
        )
    folder = cache.folder("miniature", "fuss")
    say(
        f"no data_root: using the synthetic miniature corpus in {folder}; its numbers "
        "say nothing about real recordings"
    )
    return miniature.write_fuss(folder, sample_rate=config.model.sample_rate)


def load_records(config: MixitConfig, place: Path, split: str) -> records.Index:
    """Make the records of a split where they are missing, and open them.

    Args:
        config: Gives the rate and the folder of the records.
        place: Folder of the corpus, from :func:`root`.
        split: ``train``, ``validation`` or ``eval``.

    Returns:
        The index of the records.

    Raises:
        CorpusError: The corpus lacks the split or a file.
        ConfigError: The corpus has another sample rate than the model.
    """
    tracks = fuss.tracks(place, split)
    rate, wanted = tracks[0].sample_rate, config.model.sample_rate
    if rate != wanted and not config.resample:
        raise ConfigError(
            f"the corpus in {place} has {rate} Hz, the model {wanted} Hz; set "
            f"model.sample_rate={rate}, or resample=true"
        )
    folder = Path(config.records or _default_folder(place, wanted)) / split
    return records.write(tracks, folder, sample_rate=wanted, channels=1)


def training_example(config: MixitConfig, index: records.Index) -> Example:
    """Make the function from a position to a mixture of mixtures.

    Both partners are drawn from the whole set, each recording once an epoch, where
    Google's program pairs neighbours of a fixed list.

    Args:
        config: Gives the length and the seed.
        index: Records of the training split.

    Returns:
        Function from a position to ``sources`` [mixtures = 2, sources, samples].
    """
    seed = config.train.seed
    samples = segment_samples(config)

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        pair = []
        for place in (2 * position, 2 * position + 1):
            track = records.shuffled(place, len(index), seed)
            start = _random_start(index, track, samples, seed, place)
            pair.append(records.excerpt(index, track, start, samples)["sources"][:, 0])
        return {"sources": tf.stack(pair)}

    return example


def validation_example(config: MixitConfig, index: records.Index) -> Example:
    """Make the function to the fixed mixtures of mixtures of neighbours in the list.

    Args:
        config: Gives the length.
        index: Records of the validation split.

    Returns:
        Function from a position to ``sources`` [mixtures = 2, sources, samples].
    """
    samples = segment_samples(config)

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        first = tf.constant(0, tf.int64)
        pair = [
            records.excerpt(index, tf.math.floormod(track, len(index)), first, samples)
            for track in (2 * position, 2 * position + 1)
        ]
        return {"sources": tf.stack([each["sources"][:, 0] for each in pair])}

    return example


def validation_count(config: MixitConfig, index: records.Index) -> int:
    """Count the mixtures of mixtures of the validation, half the mixtures used."""
    used = min(config.validation_examples or len(index), len(index))
    return -(-used // 2)


def segment_samples(config: MixitConfig) -> int:
    """Length of an example in samples."""
    return round(config.segment_seconds * config.model.sample_rate)


def _random_start(
    index: records.Index, track: tf.Tensor, samples: int, seed: int, place: tf.Tensor
) -> tf.Tensor:
    """Draw where an excerpt starts, anywhere within a track that is long enough."""
    spare = tf.maximum(tf.gather(index.tables.samples, track) - samples, 0)
    key = tf.stack([tf.constant(seed, tf.int64), place])
    return tf.random.stateless_uniform([], key, 0, spare + 1, tf.int64)


def _default_folder(place: Path, sample_rate: int) -> Path:
    digest = hashlib.sha256(f"{place.resolve()} {sample_rate}".encode()).hexdigest()
    return cache.folder("records", f"fuss-{digest[:12]}")
