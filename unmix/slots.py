"""Slots that mixtures are put together of, built from the tracks of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.corpora.track import CorpusError, Sound, Track
from common.records.sound_bank import Sounds, open_sounds
from common.training.loop import say
from unmix import corpus
from unmix.config import UnmixConfig

POOLED = ("sourcefolder", "unaligned")
"""Kinds of corpus whose sounds belong to no track."""
MIXTURE = "mixture of all"
NONE = -1


@dataclass(frozen=True)
class Slot:
    """What one part of a mixture is drawn from.

    Attributes:
        sounds: Number of the sound in each row.
        heard: 1 where the row has a sound, or 0: then it is another one of its track.
        lengths: Length of each row in samples.
        first: First row of each class.
        count: Rows of each class; one class holds all unless sampling is balanced.
    """

    sounds: np.ndarray
    heard: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class Split:
    """One split of a corpus, ready to be drawn from.

    Attributes:
        sounds: The bank that is read.
        slots: Parts of a mixture.
        mixture: The stored mixtures; None where a mixture is the sum of the slots.
        wanted: Slots that each target is the sum of.
        targets: Names of the targets.
    """

    sounds: Sounds
    slots: tuple[Slot, ...]
    mixture: Slot | None
    wanted: tuple[tuple[int, ...], ...]
    targets: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of tracks, or of sounds of the first slot."""
        return len(self.slots[0].sounds)


def open_split(config: UnmixConfig, split: str, tracks: Sequence[Track]) -> Split:
    """Open the sounds of a split and lay them out in slots.

    Args:
        config: Gives the kind of corpus, the targets and the length of excerpts.
        split: ``"train"`` or ``"valid"``.
        tracks: From :func:`unmix.corpus.tracks`.

    Raises:
        ConfigError: A rate is not the model's, or there is no such target.
        CorpusError: All tracks are too short.
    """
    targets = corpus.targets(config)
    parts = [corpus.parts(config, target) for target in targets]
    tracks = _long_enough(config, split, tracks)
    named: dict[str, tuple[Sound, Track]] = {}
    for track in tracks:
        for source, sound in track.sources.items():
            named[f"{track.name}/{source}"] = sound, track
        if track.mixture is not None:
            named[f"{track.name}/{MIXTURE}"] = track.mixture, track
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
    slots, names = make(config, tracks, numbers, sounds.samples)
    mixture = slots.pop() if names[-1] == MIXTURE else None
    wanted = tuple(tuple(names.index(part) for part in each) for each in parts)
    return Split(sounds, tuple(slots), mixture, wanted, targets)


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
) -> tuple[list[Slot], list[str]]:
    """Slots whose rows are the tracks, a stored mixture the last of them."""
    names, rows = list(tracks[0].sources), [list(each.sources) for each in tracks]
    if config.dataset == "trackfolder_var":
        names, rows = _interferers(corpus.targets(config)[0], tracks)
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
    heard = table != NONE
    table = np.where(heard, table, table.max(axis=1, keepdims=True))
    lengths = samples[table].min(axis=1)
    whole = np.array([0], np.int64), np.array([len(tracks)], np.int64)
    pairs = zip(table.T, heard.T.astype(np.float32), strict=True)
    return [Slot(column, there, lengths, *whole) for column, there in pairs], names


def _interferers(
    target: str, tracks: Sequence[Track]
) -> tuple[list[str], list[list[str]]]:
    """Names of the sources of each track, the target first, filled up with none."""
    others = [[name for name in each.sources if name != target] for each in tracks]
    most = max(len(each) for each in others)
    names = [target, *(f"interferer {place}" for place in range(most))]
    rows = [[target, *each, *[""] * (most - len(each))] for each in others]
    return names, rows


def _pools(
    config: UnmixConfig,
    tracks: Sequence[Track],
    numbers: Mapping[str, int],
    samples: np.ndarray,
) -> tuple[list[Slot], list[str]]:
    """Slots that each have the sounds of one folder, ordered by class."""
    names = [*config.interferer_dirs, str(config.target_dir)]
    slots = []
    for name in names:
        own = sorted(track.name for track in tracks if name in track.sources)
        classes = [_class(each.removeprefix(name), config.balanced) for each in own]
        ordered = [own[place] for place in np.argsort(classes, kind="stable")]
        _, count = np.unique(classes, return_counts=True)
        rows = np.array([numbers[f"{each}/{name}"] for each in ordered], np.int64)
        heard = np.ones(len(rows), np.float32)
        slots.append(Slot(rows, heard, samples[rows], np.cumsum(count) - count, count))
    return slots, names


def _class(name: str, balanced: bool) -> str:
    """First folder below that of the source, where classes are told apart."""
    below = name.split("/")[1:-1]
    return below[0] if balanced and below else ""
