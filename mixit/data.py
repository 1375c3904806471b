"""Mixtures of mixtures as functions of their position, from records of a corpus."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from common import files, records
from common.beam import Spread
from common.config import ConfigError
from common.corpora import augmented, catalogue, fuss
from common.corpora.augmentation import Augment
from common.corpora.track import BadTrack, CorpusError, Options, Track
from common.files import user_path
from common.records import roomsim
from common.synthetic import miniature
from common.training.distribution import Example
from common.training.loop import say
from mixit.config import MixitConfig

SPLITS = {"train": "train", "validation": "valid", "eval": "test"}
"""Names of the splits in the catalogue by those of FUSS."""


def root(config: MixitConfig) -> Path:
    """Find the corpus of a run, or make the miniature if the preset trains on it.

    Raises:
        CorpusError: The folder holds no corpus.
        ConfigError: No folder is named and the preset does not use the miniature.
    """
    name, rate = config.dataset, config.model.sample_rate
    if config.data_root:
        return find_root(config.data_root, name)
    if not config.miniature or name not in miniature.WRITERS:
        raise ConfigError(
            f"data_root is not set; name the folder of dataset={name} "
            "(data_root=FOLDER, or FUSS_ROOT_DIR for ./run_train_model_on_fuss.sh), or "
            "train 'with tiny' on the synthetic miniature"
        )
    return miniature.cached(name, name, sample_rate=rate)


def find_root(folder: str | Path, dataset: str = "fuss") -> Path:
    """Find the folder of a corpus: for FUSS its lists, else records of roomsim.

    Raises:
        CorpusError: The folder holds neither.
    """
    folder = user_path(folder)
    if dataset != "fuss":
        return folder
    try:
        return fuss.find_root(folder)
    except CorpusError:
        if any(folder.rglob(roomsim.FILES)):
            return folder
        raise


def tracks(
    corpus: Path,
    split: str,
    sample_rate: int,
    dataset: str = "fuss",
    bad: list[BadTrack] | None = None,
) -> list[Track]:
    """List the examples of a split; of a file of FUSS, the first channel.

    Args:
        corpus: Folder of the corpus, from :func:`find_root`.
        split: ``train``, ``validation`` or ``eval``.
        sample_rate: Rate in Hz of records of roomsim, which do not state theirs, and
            of the folder to read if a corpus has several.
        dataset: Name of the corpus.
        bad: Takes the examples of FUSS that are left out because a file of theirs
            cannot be read; other corpora leave out those that lack a file. None makes
            each an error.

    Raises:
        CorpusError: The corpus lacks the split or a file.
    """
    if dataset == "fuss":
        if not _is_fuss(corpus):
            return roomsim.tracks(corpus, split, sample_rate)
        return fuss.tracks(corpus, split, bad=bad, first_channel=True)
    options = Options(sample_rate=sample_rate, noise=True, skip=bad is not None)
    return catalogue.tracks(dataset, corpus, SPLITS[split], options)


def labelled_records(config: MixitConfig) -> records.Index | None:
    """Open the training split of a separate labelled corpus, if there is one.

    Raises:
        CorpusError: The folder holds no corpus.
    """
    if config.labelled_root is None:
        return None
    corpus = find_root(config.labelled_root, config.dataset)
    return load_records(config, corpus, "train", "labelled")


def load_records(
    config: MixitConfig,
    corpus: Path,
    split: str,
    part: str = "",
    spread: Spread | None = None,
) -> records.Index:
    """Make the records of a split if they are missing, and open them.

    Args:
        config: Gives the rate, the encoding and the folder of the records.
        corpus: Folder of the corpus, from :func:`root`.
        split: ``train``, ``validation`` or ``eval``.
        part: Folder within ``config.records``, for a second corpus.
        spread: As for :func:`common.records.write`.

    Returns:
        The index of the records.

    Raises:
        CorpusError: The corpus lacks the split or a file.
        ConfigError: The corpus has another sample rate than the model, or ``spread``
            is set and it is of roomsim.
        RecordsError: A recording cannot be read or written, without ``config.skip``.
    """
    model_rate = config.model.sample_rate
    own = user_path(config.records) / part if config.records else None
    folder = (own or _default_folder(config.dataset, corpus, model_rate)) / split
    if config.dataset == "fuss" and not _is_fuss(corpus):
        if spread is not None:
            raise ConfigError(
                f"{corpus} holds records of roomsim, which one machine converts; leave "
                "out --beam"
            )
        return _roomsim_records(config, corpus, split, folder)
    bad: list[BadTrack] | None = [] if config.skip else None
    examples = tracks(corpus, split, model_rate, config.dataset, bad)
    rate = examples[0].sample_rate
    if rate != model_rate and not config.resample:
        raise ConfigError(
            f"the corpus in {corpus} has {rate} Hz, the model {model_rate} Hz; set "
            f"model.sample_rate={rate}, or resample=true"
        )
    encoding: str = config.records_encoding
    if encoding == records.AUTO:
        sounds = (sound for track in examples for sound in track.sources.values())
        encoding = records.lossless(sounds, model_rate, 1)
    try:
        return records.write(
            examples,
            records.folder_of(folder, encoding, "pcm16"),
            encoding=encoding,
            sample_rate=model_rate,
            channels=1,
            bad=bad or (),
            skip=config.skip,
            spread=spread,
        )
    except records.BadTracksError as error:
        raise records.RecordsError(
            f"{error}; put back or repair what is broken, or leave it out with "
            "skip=true"
        ) from error


def _roomsim_records(
    config: MixitConfig, corpus: Path, split: str, folder: Path
) -> records.Index:
    rate = config.model.sample_rate
    index = roomsim.write(corpus, split, folder, config.records_encoding, rate)
    seconds = [entry.samples / rate for entry in index.tracks]
    ends = dict.fromkeys((min(seconds), max(seconds)))
    shown = " to ".join(f"{end:g}" for end in ends)
    say(
        f"roomsim: {len(index)} examples of {split}, {shown} s with up to "
        f"{len(index.sources)} sources, read as of one microphone at {rate} Hz because "
        "the files state neither"
    )
    return index


def _is_fuss(corpus: Path) -> bool:
    return any((corpus / fuss.list_name(split)).is_file() for split in fuss.SPLITS)


@dataclass(frozen=True)
class Pool:
    """Recordings that training examples are drawn from.

    Attributes:
        index: Records that hold them.
        tracks: Their numbers in the records.
    """

    index: records.Index
    tracks: np.ndarray


def pools(
    config: MixitConfig, index: records.Index, labelled: records.Index | None = None
) -> tuple[Pool | None, Pool | None]:
    """Divide the recordings into those used without and with labels.

    Args:
        config: Gives the share of labelled examples and the seed.
        index: Records of the training split.
        labelled: Records of a separate labelled corpus; without it that fraction of
            ``index``, drawn by the seed, is labelled and the rest is not.

    Returns:
        The recordings without labels and those with; None if no example is drawn.

    Raises:
        ConfigError: The share is not from 0 to 1, or leaves no recordings with or none
            without labels.
    """
    share = config.labelled
    if not 0 <= share <= 1:
        raise ConfigError(f"labelled={share:g}: expected a share from 0 to 1")
    if share == 0:
        return _whole(index), None
    if share == 1:
        return None, _whole(labelled or index)
    if labelled is not None:
        return _whole(index), _whole(labelled)
    mixed = np.random.default_rng(config.train.seed).permutation(len(index))
    count = round(share * len(index))
    if not 0 < count < len(index):
        raise ConfigError(
            f"labelled={share:g} of {len(index)} recordings leaves none with or none "
            "without labels; use more recordings or another share"
        )
    return Pool(index, mixed[count:]), Pool(index, mixed[:count])


def training_example(
    config: MixitConfig, unlabelled: Pool | None, labelled: Pool | None
) -> Example:
    """Make the function from a position to a training example.

    Without labels an example is a mixture of mixtures. Both partners are drawn from
    the whole set, each recording once an epoch; Google's program pairs neighbours of a
    fixed list. A labelled example is one mixture; its second one is silent.

    Args:
        config: Gives the length, the share of labelled examples and the seed.
        unlabelled: Recordings used without labels, from :func:`pools`.
        labelled: Recordings used with labels.

    Returns:
        Function from a position to ``sources`` [mixtures = 2, sources, samples] and
        ``labelled``, a boolean.
    """
    if config.augment.is_on:
        return _augmented(config, unlabelled, labelled)
    seed = config.train.seed
    used = [pool for pool in (unlabelled, labelled) if pool is not None]
    most = max(len(pool.index.sources) for pool in used)

    def pair(position: tf.Tensor) -> tf.Tensor:
        positions = (2 * position, 2 * position + 1)
        drawn = [_recording(config, used[0], index, most) for index in positions]
        return tf.stack(drawn)

    def alone(position: tf.Tensor) -> tf.Tensor:
        sources = _recording(config, used[-1], position, most)
        return tf.stack([sources, tf.zeros_like(sources)])

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        if labelled is None:
            return {"sources": pair(position), "labelled": tf.constant(False)}
        if unlabelled is None:
            return {"sources": alone(position), "labelled": tf.constant(True)}
        key = tf.stack([tf.constant(seed, tf.int64), -1 - position])
        with_labels = tf.random.stateless_uniform([], key) < config.labelled
        sources = tf.cond(with_labels, lambda: alone(position), lambda: pair(position))
        return {"sources": sources, "labelled": with_labels}

    return example


def _augmented(
    config: MixitConfig, unlabelled: Pool | None, labelled: Pool | None
) -> Example:
    """Make the function to examples that the chain of augmentations changes."""
    chain, seed, samples = config.augment, config.train.seed, segment_samples(config)
    if chain.remix:
        raise ConfigError(
            "augment.remix takes sources of other recordings, which mixtures of "
            "mixtures hold without it; leave it out"
        )
    seconds = chain.reading(samples) / config.model.sample_rate
    plain = replace(config, augment=Augment(), segment_seconds=seconds)
    example = training_example(plain, unlabelled, labelled)
    used = [pool for pool in (unlabelled, labelled) if pool is not None]
    count = 2 * max(len(pool.index.sources) for pool in used)

    def changed(position: tf.Tensor) -> dict[str, tf.Tensor]:
        excerpt = example(position)
        waves = tf.reshape(excerpt["sources"], [count, -1])
        drawn = augmented.draw(chain, seed, position, count)
        waves = augmented.apply(chain, drawn, waves, samples)
        return {**excerpt, "sources": tf.reshape(waves, [2, count // 2, samples])}

    return changed


def validation_example(config: MixitConfig, index: records.Index) -> Example:
    """Make the function to the fixed mixtures of mixtures of neighbours in the list.

    Args:
        config: Gives the length.
        index: Records of the validation split.

    Returns:
        Function from a position to ``sources`` [mixtures = 2, sources, samples] and
        ``counted`` [mixtures = 2], which is 0 for a second mixture that only completes
        the pair of the last of an odd number of mixtures, and 1 for all others.
    """
    samples, used = segment_samples(config), _validation_mixtures(config, index)

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        first = tf.constant(0, tf.int64)
        tracks = tf.stack([2 * position, 2 * position + 1])
        pair = [
            records.excerpt(index, tf.math.floormod(track, len(index)), first, samples)
            for track in tf.unstack(tracks)
        ]
        return {
            "sources": tf.stack([example["sources"][:, 0] for example in pair]),
            "counted": tf.cast(tracks < used, tf.float32),
        }

    return example


def validation_count(config: MixitConfig, index: records.Index) -> int:
    """Count the mixtures of mixtures of the validation, half the mixtures used."""
    return -(-_validation_mixtures(config, index) // 2)


def segment_samples(config: MixitConfig) -> int:
    """Length of an example in samples."""
    return round(config.segment_seconds * config.model.sample_rate)


def _validation_mixtures(config: MixitConfig, index: records.Index) -> int:
    return min(config.validation_examples or len(index), len(index))


def _whole(index: records.Index) -> Pool:
    return Pool(index, np.arange(len(index)))


def _recording(
    config: MixitConfig, pool: Pool, position: tf.Tensor, most: int
) -> tf.Tensor:
    """Sources [most, samples] of the recording at a position of the sequence."""
    seed, samples = config.train.seed, segment_samples(config)
    drawn = records.shuffled(position, len(pool.tracks), seed)
    track = tf.gather(tf.constant(pool.tracks, tf.int64), drawn)
    start = _random_start(pool.index, track, samples, seed, position)
    sources = records.excerpt(pool.index, track, start, samples)["sources"][:, 0]
    return tf.pad(sources, [[0, most - len(pool.index.sources)], [0, 0]])


def _random_start(
    index: records.Index, track: tf.Tensor, samples: int, seed: int, position: tf.Tensor
) -> tf.Tensor:
    """Draw the start of an excerpt within a track that is long enough."""
    spare = tf.maximum(tf.gather(index.tables.samples, track) - samples, 0)
    key = tf.stack([tf.constant(seed, tf.int64), position])
    return tf.random.stateless_uniform([], key, 0, spare + 1, tf.int64)


def _default_folder(dataset: str, corpus: Path, sample_rate: int) -> Path:
    digest = hashlib.sha256(f"{corpus.resolve()} {sample_rate}".encode()).hexdigest()
    return files.cache_folder("records", f"{dataset}-{digest[:12]}")
