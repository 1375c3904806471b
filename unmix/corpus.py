"""Open the corpus of a configuration as the sounds of training mixtures.

A mixture is the sum of slots, one for each source. A slot lists the sounds that can be
drawn for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.config import ConfigError
from common.corpora import (
    catalogue,
    musdb,
    reading,
    source_folders,
    track_folders,
)
from common.corpora.track import Channel, CorpusError, Options, Sound, Track
from common.files import user_path
from common.records.sound_bank import Sounds, open_sounds
from common.synthetic import miniature
from common.training.loop import say
from unmix.config import FOLDER_LAYOUTS, UnmixConfig

NEEDED = {
    "aligned": ("input_file", "output_file"),
    "sourcefolder": ("target_dir", "interferer_dirs"),
    "unaligned": ("interferer_dirs",),
    "trackfolder_fix": ("target_file", "interferer_files"),
    "trackfolder_var": ("target_file",),
}
"""Keys that each layout of a corpus needs."""
TARGET_KEY = {
    "aligned": "output_file",
    "sourcefolder": "target_dir",
    "unaligned": "target_dir",
    "trackfolder_fix": "target_file",
    "trackfolder_var": "target_file",
}
"""Key that names the one target of a corpus of folders."""
COMPOUND = {
    "accompaniment": ("drums", "bass", "other"),
    "linear_mixture": musdb.SOURCES,
}
"""Targets that are sums of sources."""
PREVIEWS = "previews"
"""Root for the previews of MUSDB18, which are downloaded."""
POOLED = ("sourcefolder", "unaligned")
"""Layouts whose sounds do not belong to tracks."""
MIXTURE = "mixture of all"
NONE = -1
MINIATURE_TRACKS = {"train": 40, "test": 10}


@dataclass(frozen=True)
class Slot:
    """The sounds from which one source of a mixture is drawn.

    Attributes:
        sounds: Number of the sound in each row.
        present: 1 if the row has a sound; 0 if the number is of another sound.
        lengths: Length of each row in samples.
        first: First row of each class.
        count: Rows of each class; one class holds all unless sampling is balanced.
    """

    sounds: np.ndarray
    present: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Split:
    """One split of a corpus, ready for excerpts.

    Attributes:
        sounds: All sounds of the split.
        slots: Sources of a mixture.
        mixture: The stored mixtures; None where a mixture is the sum of the slots.
        target_slots: Slots that each target is the sum of.
        targets: Names of the targets.
    """

    sounds: Sounds
    slots: tuple[Slot, ...]
    mixture: Slot | None
    target_slots: tuple[tuple[int, ...], ...]
    targets: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of tracks, or of sounds of the first slot."""
        return len(self.slots[0].sounds)


def root(config: UnmixConfig) -> Path:
    """Find the corpus of a run, or make the miniature where the preset is for it.

    Raises:
        ConfigError: A key that this layout needs is not set, or no folder is
            named and the preset does not use the miniature.
        CorpusError: The folder does not exist or is a file, or holds no corpus.
    """
    for key in ("data_root", *NEEDED.get(config.dataset, ())):
        optional = key == "data_root" and config.dataset == "musdb"
        if not optional and not getattr(config, key):
            raise ConfigError(
                f"{key} is not set; dataset={config.dataset} needs it "
                f"(--{key.replace('_', '-')} ...)"
            )
    if config.skip and config.dataset in FOLDER_LAYOUTS:
        raise ConfigError(
            f"skip=true has no effect on dataset={config.dataset}, a folder "
            "layout; leave skip out"
        )
    if config.data_root is None:
        return _without_root(config)
    if config.data_root == PREVIEWS and config.dataset == "musdb":
        return _previews()
    folder = user_path(config.data_root)
    if config.dataset == "musdb":
        return musdb.find_root(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"{config.dataset}: {reading.no_folder(folder, 'the root')}; check its name"
        )
    return folder


def tracks(config: UnmixConfig, folder: Path, split: str) -> list[Track]:
    """List the tracks of a split.

    Args:
        config: Configuration with the corpus and its sources.
        folder: Folder of the corpus, from :func:`root`.
        split: ``"train"`` or ``"valid"``.

    Raises:
        CorpusError: The split is empty or a track lacks a file.
    """
    if config.dataset in FOLDER_LAYOUTS:
        with reading.cutting(config.allow_cut):
            return _folder_tracks(config, folder, split)
    options = Options(
        config.model.sample_rate,
        is_wav=config.is_wav,
        skip=config.skip,
        allow_cut=config.allow_cut,
    )
    return catalogue.tracks(config.dataset, folder, split, options)


def targets(config: UnmixConfig) -> tuple[str, ...]:
    """Return the targets of a training; a folder layout has a key for its target."""
    key = TARGET_KEY.get(config.dataset)
    if key is None:
        return config.target
    if key == "target_dir":
        return (_target_dir(config),)
    return (Path(str(getattr(config, key))).stem,)


def _target_dir(config: UnmixConfig) -> str:
    """Return the folder of the target; in 2019 the name of the target itself."""
    if config.target_dir is None and config.dataset == "unaligned":
        return config.target[0]
    return str(config.target_dir)


def parts(
    config: UnmixConfig, target: str, sources: Collection[str]
) -> tuple[str, ...]:
    """Return the sources of a corpus whose sum is a target.

    Args:
        config: Configuration with the corpus.
        target: One of its sources, or one of :data:`COMPOUND`.
        sources: Sources of the corpus.

    Raises:
        ConfigError: The corpus has no such target.
    """
    if config.dataset in FOLDER_LAYOUTS:
        return (target,)
    sums: dict[str, tuple[str, ...]] = {name: (name,) for name in sources}
    for name, summands in COMPOUND.items():
        if {*summands} <= {*sources}:
            sums.setdefault(name, summands)
    if target not in sums:
        raise ConfigError(
            f"target={target!r} is no source of dataset={config.dataset}; expected one "
            f"or more of {', '.join(sums)}"
        )
    return sums[target]


def open_split(config: UnmixConfig, split: str, tracks: Sequence[Track]) -> Split:
    """Open the sounds of a split and arrange them in slots.

    Args:
        config: Configuration with the corpus, its targets and the length of excerpts.
        split: ``"train"`` or ``"valid"``.
        tracks: Its tracks, see :func:`tracks`.

    Raises:
        ConfigError: A rate is not the model's, or there is no such target.
        CorpusError: All tracks are too short.
    """
    names = targets(config)
    available = dict.fromkeys(source for track in tracks for source in track.sources)
    sources = [parts(config, target, available) for target in names]
    tracks = _long_enough(config, split, tracks)
    named: dict[str, tuple[Sound, Track]] = {}
    for track in tracks:
        for source, sound in track.sources.items():
            named[f"{track.name}/{source}"] = sound, track
        if track.mixture is not None:
            named[f"{track.name}/{MIXTURE}"] = track.mixture, track
    if "force_stereo" in (config.source_augmentations or ()):
        named = _first_two(named)
    numbers = {name: number for number, name in enumerate(named)}
    sounds = open_sounds(
        named,
        config.model.sample_rate,
        config.model.channels,
        resample=config.resample,
        folder=Path(config.records) / split if config.records else None,
        encoding=config.records_encoding,
    )
    make = _pools if config.dataset in POOLED else _rows
    slots, slot_names = make(config, tracks, numbers, sounds.samples)
    mixture = slots.pop() if slot_names[-1] == MIXTURE else None
    target_slots = tuple(tuple(map(slot_names.index, names)) for names in sources)
    return Split(sounds, tuple(slots), mixture, target_slots, names)


def _without_root(config: UnmixConfig) -> Path:
    if not config.miniature:
        raise ConfigError(
            "data_root is not set; name the folder of MUSDB18 (data_root=FOLDER, "
            "--data-root FOLDER or MUSDB18_ROOT_DIR for "
            "./run_train_model_on_musdb18.sh), train 'with tiny' on the synthetic "
            "miniature, or use the "
            f"{musdb.PREVIEW_SECONDS}-second previews (data_root={PREVIEWS})"
        )
    rate = config.model.sample_rate
    sizes = {"sample_rate": rate, **MINIATURE_TRACKS}
    return miniature.cached("musdb", f"musdb-{rate}", **sizes)


def _previews() -> Path:
    folder = musdb.preview()
    say(
        f"using the {musdb.PREVIEW_SECONDS}-second previews of MUSDB18 in {folder}; "
        "they are for trying out, not for training"
    )
    return musdb.find_root(folder)


def _folder_tracks(config: UnmixConfig, folder: Path, split: str) -> list[Track]:
    """List the tracks of a split of one of the folder layouts."""
    target_file = str(config.target_file)
    if config.dataset == "aligned":
        names = str(config.input_file), str(config.output_file)
        return track_folders.aligned(folder, split, *names)
    if config.dataset == "trackfolder_fix":
        others = config.interferer_files
        return track_folders.fixed(folder, split, target_file, others)
    if config.dataset == "trackfolder_var":
        silence = config.silence_missing
        return track_folders.variable(folder, split, target_file, config.ext, silence)
    read = source_folders.unaligned
    if config.dataset == "sourcefolder":
        read = source_folders.tracks
    sources = (*config.interferer_dirs, _target_dir(config))
    return read(folder, split, sources, config.ext)


def _long_enough(
    config: UnmixConfig, split: str, tracks: Sequence[Track]
) -> list[Track]:
    """Leave out tracks shorter than an excerpt, and report them."""
    whole = split == "valid" and config.dataset not in (*POOLED, "aligned")
    window = config.model.window_samples / config.model.sample_rate
    excerpt = config.segment_seconds
    if config.augment.is_on and split == "train" and excerpt > 0:
        samples = config.augment.reading(round(excerpt * config.model.sample_rate))
        excerpt = (samples + 1) / config.model.sample_rate
    seconds = window if whole else max(window, excerpt)
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
    reason = f"shorter than {'a frame' if whole else 'segment_seconds'} ({seconds:g} s)"
    if not kept or lost:
        of = f" with {', '.join(sorted(lost))}" if kept else ""
        raise CorpusError(
            f"no track{of} is left: {counts} are {reason}; the longest of them, "
            f"{longest.name}, lasts {lasts:.2f} s; lower segment_seconds or add longer "
            "files"
        )
    say(f"leaving out {counts}, {reason}, such as {longest.name} ({lasts:.2f} s)")
    return kept


def _first_two(
    named: Mapping[str, tuple[Sound, Track]],
) -> dict[str, tuple[Sound, Track]]:
    """Replace files of more than two channels by their first two."""
    files = {sound for sound, _ in named.values() if isinstance(sound, Path)}
    infos = reading.measure(files)
    pairs = {f: Channel(f, 0, 2) for f, info in infos.items() if info.channels > 2}
    return {
        name: (pairs.get(sound, sound) if isinstance(sound, Path) else sound, track)
        for name, (sound, track) in named.items()
    }


def _rows(
    config: UnmixConfig,
    tracks: Sequence[Track],
    numbers: Mapping[str, int],
    samples: np.ndarray,
) -> tuple[list[Slot], list[str]]:
    """Make slots whose rows are the tracks; the last one holds a stored mixture."""
    names, rows = list(tracks[0].sources), [list(track.sources) for track in tracks]
    if config.dataset not in FOLDER_LAYOUTS:
        # A missing source of a track is silent.
        names = list(dict.fromkeys(name for row in rows for name in row))
        rows = [names] * len(tracks)
    if config.dataset == "trackfolder_var":
        names, rows = _interferers(targets(config)[0], tracks)
    if all(track.mixture is not None for track in tracks):
        names = [*names, MIXTURE]
        rows = [[*row, MIXTURE] for row in rows]
    table = np.array(
        [
            [numbers.get(f"{track.name}/{source}", NONE) for source in row]
            for track, row in zip(tracks, rows, strict=True)
        ],
        np.int64,
    )
    present = table != NONE
    table = np.where(present, table, table.max(axis=1, keepdims=True))
    lengths = samples[table].min(axis=1)
    whole = np.array([0], np.int64), np.array([len(tracks)], np.int64)
    pairs = zip(table.T, present.T.astype(np.float32), strict=True)
    return [Slot(column, here, lengths, *whole) for column, here in pairs], names


def _interferers(
    target: str, tracks: Sequence[Track]
) -> tuple[list[str], list[list[str]]]:
    """List the sources of each track, the target first, padded with empty names."""
    others = [[name for name in track.sources if name != target] for track in tracks]
    most = max(len(other) for other in others)
    names = [target, *(f"interferer {index}" for index in range(most))]
    rows = [[target, *other, *[""] * (most - len(other))] for other in others]
    return names, rows


def _pools(
    config: UnmixConfig,
    tracks: Sequence[Track],
    numbers: Mapping[str, int],
    samples: np.ndarray,
) -> tuple[list[Slot], list[str]]:
    """Make a slot of the sounds of each folder, ordered by class."""
    names = [*config.interferer_dirs, _target_dir(config)]
    slots = []
    for name in names:
        own = sorted(track.name for track in tracks if name in track.sources)
        classes = [_class(key.removeprefix(name), config.balanced) for key in own]
        ordered = [own[index] for index in np.argsort(classes, kind="stable")]
        _, count = np.unique(classes, return_counts=True)
        rows = np.array([numbers[f"{key}/{name}"] for key in ordered], np.int64)
        present = np.ones(len(rows), np.float32)
        slots.append(
            Slot(rows, present, samples[rows], np.cumsum(count) - count, count)
        )
    return slots, names


def _class(name: str, balanced: bool) -> str:
    """Return the class of a sound, its first folder, if sampling is balanced."""
    below = name.split("/")[1:-1]
    return below[0] if balanced and below else ""
