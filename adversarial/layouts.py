"""How each kind of corpus is divided, with its sources together and without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from adversarial.config import Corpora
from common.corpora import ccmixter, dsd100, mir1k, moisesdb, musdb, song_folders
from common.corpora.track import CorpusError, Track

Splits = tuple[list[Track], list[Track], list[Track]]
"""Songs for training, validation and test."""


class Song(NamedTuple):
    """A song of an unpaired corpus, and which of its sources are no clean examples."""

    track: Track
    bleeding: frozenset[str] = frozenset()


def _halves(test: list[Track]) -> tuple[list[Track], list[Track]]:
    """The first half for the validation, the rest for the test."""
    if len(test) < 2:
        raise CorpusError(
            f"the test folder holds {len(test)} songs; expected at least two, half of "
            "them for the validation; add songs, or set corpora.split=museval"
        )
    return test[: len(test) // 2], test[len(test) // 2 :]


def _musdb(corpora: Corpora, place: Path) -> Splits:
    if corpora.split == "museval":
        train, valid, test = (
            musdb.tracks(place, s) for s in ("train", "valid", "test")
        )
        return train, valid, test
    return _musdb_training(place), *_halves(musdb.tracks(place, "test"))


def _musdb_training(place: Path) -> list[Track]:
    both = musdb.tracks(place, "train") + musdb.tracks(place, "valid")
    return sorted(both, key=lambda track: track.name)


def _dsd100(corpora: Corpora, place: Path) -> Splits:
    train, test = (
        dsd100.tracks(place, split, skip=corpora.skip) for split in ("train", "test")
    )
    return train, *_halves(test)


def _divided(read: Callable[..., list[Track]]) -> Callable[..., Splits]:
    def splits(corpora: Corpora, place: Path) -> Splits:
        train, valid, test = (
            read(place, split, skip=corpora.skip)
            for split in ("train", "valid", "test")
        )
        return train, valid, test

    return splits


def _folders(place: Path, split: str, *, skip: bool) -> list[Track]:
    """Read a split of folders, where no file is wanted that could be lacking."""
    return song_folders.tracks(place, split)


def _mir1k(place: Path, split: str, *, skip: bool) -> list[Track]:
    """Read clips, the first of every song first, so that few paired ones differ."""
    found = mir1k.tracks(place, split)
    return sorted(found, key=lambda track: track.name.rpartition("_")[::-1])


def _every_folder(corpora: Corpora, place: Path) -> list[Song]:
    split = "train" if song_folders.is_divided(place) else None
    return [Song(track) for track in song_folders.tracks(place, split)]


def _every_dsd100(corpora: Corpora, place: Path) -> list[Song]:
    return [
        Song(track)
        for split in dsd100.SPLITS
        for track in dsd100.tracks(place, split, skip=corpora.skip)
    ]


def _every_ccmixter(corpora: Corpora, place: Path) -> list[Song]:
    return [Song(track) for track in ccmixter.tracks(place, skip=corpora.skip)]


def _every_moisesdb(corpora: Corpora, place: Path) -> list[Song]:
    found = moisesdb.songs(place, skip=corpora.skip)
    return [Song(song.track, song.bleeding) for song in found]


PAIRED: Mapping[str, Callable[[Corpora, Path], Splits]] = {
    "musdb": _musdb,
    "dsd100": _dsd100,
    "ccmixter": _divided(ccmixter.tracks),
    "moisesdb": _divided(moisesdb.tracks),
    "mir1k": _divided(_mir1k),
    "track_folders": _divided(_folders),
}
WHOLE: Mapping[str, Callable[[Corpora, Path], list[Song]]] = {
    "musdb": lambda _, place: [Song(track) for track in _musdb_training(place)],
    "dsd100": _every_dsd100,
    "ccmixter": _every_ccmixter,
    "moisesdb": _every_moisesdb,
    "mir1k": lambda _, place: [Song(track) for track in mir1k.tracks(place, "train")],
    "track_folders": _every_folder,
}
"""All songs of each kind of corpus that may be used without their sources."""
