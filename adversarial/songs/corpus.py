"""The songs of a run: lists for training, validation and test from any corpus.

A song is a track of at most two sources, accompaniment and vocals; a missing source is
silent. Unpaired songs are listed for each of their sounds that is used.
:data:`SPLITS` and :data:`ALL_SONGS` hold the functions of each corpus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from adversarial.config import AdversarialConfig, Corpora
from adversarial.songs.song_lists import ACCOMPANIMENT, VOCALS, SongLists, from_function
from common.config import ConfigError
from common.corpora import (
    catalogue,
    ccmixter,
    completeness,
    dsd100,
    grouping,
    moisesdb,
    musdb,
    reading,
    song_folders,
    waveforms,
)
from common.corpora.track import CorpusError, Options, Sound, Track
from common.files import user_path
from common.synthetic import miniature
from common.training.loop import say

TOLERANCE_SECONDS = 0.1
"""Largest difference in length of the files of a song; longer ones are trimmed."""
MINIATURE: Mapping[str, Mapping[str, int]] = {
    "musdb": {"train": 12, "test": 8},
    "moisesdb": {"songs": 20},
    "dsd100": {"train": 12, "test": 8},
    "ccmixter": {"songs": 20},
    "mir1k": {"train": 40, "test": 10},
    "remixpacks600": {"train": 20, "test": 4},
    "slakh": {"train": 20, "validation": 4, "test": 4},
    "fuss": {"train": 60, "validation": 10, "eval": 10},
    "wsj0_2mix": {"train": 60, "validation": 10, "test": 10},
    "wsj0_3mix": {"train": 60, "validation": 10, "test": 10},
    "wham": {"train": 60, "validation": 10, "test": 10},
    "scaper": {"train": 60, "valid": 10, "test": 10},
    "mix_folders": {"train": 20, "valid": 4, "test": 4},
}
"""Numbers of songs of the miniature of each corpus."""
SUPERVISED_ONLY = (
    "no unpaired songs: training is supervised only; name a corpus with "
    "corpora.unpaired=..., or leave some songs unpaired with corpora.paired_tracks=..."
)


class UnpairedSong(NamedTuple):
    """A song of an unpaired corpus, and the sources with bleed of others."""

    track: Track
    bleeding: frozenset[str] = frozenset()


Splits = tuple[list[Track], list[Track], list[Track]]
"""Songs for training, validation and test."""


def list_songs(config: AdversarialConfig) -> SongLists:
    """List the songs of a run.

    Raises:
        ConfigError: A key does not fit the others.
        CorpusError: A corpus is missing, or a list of paired songs is empty.
        AudioError: A file cannot be read.
    """
    function = config.corpora.function
    with reading.cutting(config.corpora.allow_cut):
        if function is None:
            songs = _from_corpora(config)
        else:
            songs = from_function(function)
            _expect_aligned([*songs.paired, *songs.valid, *songs.test])
    songs = _select_voiced(songs, config.corpora.silent)
    _check_lists(songs)
    return songs


def report(songs: SongLists) -> None:
    """Print the number of songs in each list."""
    counts = zip(songs._fields, songs, strict=True)
    say("songs: " + ", ".join(f"{len(tracks)} {name}" for name, tracks in counts))
    if not songs.mixtures:
        say(SUPERVISED_ONLY)


def group_accompaniment(track: Track, voice: str = VOCALS) -> Track:
    """Sum all sources of a track but its vocals.

    Args:
        track: The track.
        voice: Name of the source that is its vocals.

    >>> stems = {name: Path(name) for name in ("vocals", "drums", "bass")}
    >>> list(group_accompaniment(Track("a", 8000, 9, stems)).sources)
    ['accompaniment', 'vocals']
    """
    others = [sound for name, sound in track.sources.items() if name != voice]
    sources: dict[str, Sound] = {}
    if others:
        sources[ACCOMPANIMENT] = grouping.added(others)
    if voice in track.sources:
        sources[VOCALS] = track.sources[voice]
    return Track(track.name, track.sample_rate, track.samples, sources, track.mixture)


def mixture_of(track: Track) -> Sound:
    """Return the mixture of a song, which may be the sum of its sources.

    >>> mixture_of(Track("a", 8000, 9, {"vocals": Path("voice.wav")})).name
    'voice.wav'
    """
    if track.mixture is not None:
        return track.mixture
    return grouping.added(list(track.sources.values()))


def _check_lists(songs: SongLists) -> None:
    """Refuse empty paired lists, and unpaired songs without one of the sounds."""
    for name in ("paired", "valid", "test"):
        if not getattr(songs, name):
            raise CorpusError(
                f"there are 0 songs in the list {name!r}; expected at least one with "
                "its sources; add songs, or choose another corpus or split"
            )
    unpaired = ("mixtures", "accompaniments", "vocals")
    lacking = [name for name in unpaired if not getattr(songs, name)]
    if lacking and len(lacking) < len(unpaired):
        raise CorpusError(
            f"the unpaired songs have no {' and no '.join(lacking)}; the second phase "
            "needs all three sounds; add songs, or set corpora.unpaired=none to train "
            "supervised only"
        )


def _select_voiced(songs: SongLists, silent: bool) -> SongLists:
    """Report paired songs without vocals, and leave them out unless ``silent``."""
    voiced = {
        name: [track for track in getattr(songs, name) if VOCALS in track.sources]
        for name in ("paired", "valid", "test")
    }
    if songs.paired and not voiced["paired"]:
        raise CorpusError(
            f"none of {len(songs.paired)} paired songs has vocals, the first is "
            f"{songs.paired[0].name!r}; expected a source named vocals; name the "
            "source to use instead by corpora.voice=..., or choose another corpus"
        )
    tracks = [*songs.paired, *songs.valid, *songs.test]
    voiceless = [track.name for track in tracks if VOCALS not in track.sources]
    if voiceless:
        effect = "their vocals are silence" if silent else "they are left out"
        say(
            f"{len(voiceless)} of {len(tracks)} paired songs have no vocals, first "
            f"{voiceless[0]!r}: {effect} (corpora.silent={str(silent).lower()})"
        )
    if silent:
        return songs
    # A mixture without sources may have vocals.
    voiced["mixtures"] = [
        track
        for track in songs.mixtures
        if VOCALS in track.sources or ACCOMPANIMENT not in track.sources
    ]
    return songs._replace(**voiced)


def _from_corpora(config: AdversarialConfig) -> SongLists:
    corpora = config.corpora
    root = _root(config, corpora.paired, corpora.data_root, 0)
    train, valid, test = (
        [group_accompaniment(track, corpora.voice) for track in split]
        for split in _splits(corpora, root)
    )
    paired = [*train, *valid, *test]
    _expect_accompaniment(paired)
    # Mixtures of MoisesDB are sums, in which shorter files end with silence.
    if corpora.paired != "moisesdb":
        _expect_aligned(paired)
    kept = _paired_count(corpora, len(train))
    others = [UnpairedSong(track) for track in train[kept:]]
    if corpora.unpaired is not None:
        unpaired = _unpaired_songs(config)
        if corpora.thirds:
            unpaired, more_valid, more_test = _thirds(unpaired)
            valid, test = valid + more_valid, test + more_test
        others += _without_held_out(unpaired, [*valid, *test])
    mixtures, accompaniments, vocals = _by_sound(others, corpora.bleed)
    return SongLists(train[:kept], mixtures, accompaniments, vocals, valid, test)


def _paired_count(corpora: Corpora, count: int) -> int:
    """Return how many songs of the training keep their sources."""
    if not 0 <= corpora.paired_tracks <= count:
        raise ConfigError(
            f"corpora.paired_tracks={corpora.paired_tracks}; expected 0 (all) to "
            f"{count}, the songs of the training"
        )
    return corpora.paired_tracks or count


def _root(config: AdversarialConfig, corpus: str, root: str | None, seed: int) -> Path:
    """Return the folder of a corpus, or of its miniature."""
    if root is not None:
        folder = user_path(root)
        if not folder.is_dir():
            raise CorpusError(
                f"{corpus}: {reading.no_folder(folder)}; check its name, or set "
                "corpora.unpaired=none if it is the unpaired corpus that is missing"
            )
        return folder
    if corpus not in MINIATURE:
        raise ConfigError(
            f"the root of {corpus} is not set and it has no miniature; set "
            "corpora.data_root or corpora.unpaired_root"
        )
    rate = config.model_config.expected_sr
    sizes = {"seed": seed, "sample_rate": rate, **MINIATURE[corpus]}
    return miniature.cached(corpus, f"{corpus}-{rate}-{seed}", **sizes)


def _unpaired_songs(config: AdversarialConfig) -> list[UnpairedSong]:
    """List the unpaired corpus; names begin with that of the corpus to be unique."""
    corpora = config.corpora
    corpus = str(corpora.unpaired)
    if corpora.data_root is not None and corpora.unpaired_root is None:
        raise ConfigError(
            f"corpora.unpaired_root is not set; corpora.unpaired={corpus} needs it, "
            "because corpora.data_root is no miniature; set it, or "
            "corpora.unpaired=none"
        )
    root = _root(config, corpus, corpora.unpaired_root, 1)
    songs = _all_songs(corpus, corpora, root)
    named = []
    for song in songs:
        track = group_accompaniment(song.track, corpora.voice)
        track = replace(track, name=f"{corpus}/{track.name}")
        named.append(song._replace(track=track))
    if corpora.unpaired_tracks < 0:
        raise CorpusError(
            f"corpora.unpaired_tracks={corpora.unpaired_tracks}; expected 0 (all) or "
            "more"
        )
    return named[: corpora.unpaired_tracks or None]


def _thirds(
    songs: list[UnpairedSong],
) -> tuple[list[UnpairedSong], list[Track], list[Track]]:
    """Divide songs into thirds for training, validation and test, in their order.

    Songs that are left over go to the test, as in the original.
    """
    first = len(songs) // 3
    second = 2 * first
    valid, test = (
        [song.track for song in third if ACCOMPANIMENT in song.track.sources]
        for third in (songs[first:second], songs[second:])
    )
    return songs[:first], valid, test


def _without_held_out(
    songs: list[UnpairedSong], held_out: list[Track]
) -> list[UnpairedSong]:
    """Leave out songs of validation and test: DSD100 is a part of MUSDB18."""
    titles = {_title(track.name) for track in held_out}
    kept = [song for song in songs if _title(song.track.name) not in titles]
    if len(kept) < len(songs):
        say(
            f"{len(songs) - len(kept)} of {len(songs)} unpaired songs are left out, "
            "because the validation or the test holds songs of these titles"
        )
    return kept


def _title(name: str) -> str:
    """Return the title of a song without the corpus or the number before it."""
    return re.sub(r"^\d+ - ", "", name.partition("/")[2] or name).casefold()


def _by_sound(songs: list[UnpairedSong], bleed: bool) -> list[list[Track]]:
    """List the songs with mixtures, accompaniments and vocals."""
    mixtures = [
        song.track
        for song in songs
        if song.track.mixture is not None or ACCOMPANIMENT in song.track.sources
    ]
    accompaniments = [
        song.track
        for song in songs
        if ACCOMPANIMENT in song.track.sources
        and (bleed or not song.bleeding - {VOCALS})
    ]
    vocals = [
        song.track
        for song in songs
        if VOCALS in song.track.sources and (bleed or VOCALS not in song.bleeding)
    ]
    return [mixtures, accompaniments, vocals]


def _expect_accompaniment(tracks: list[Track]) -> None:
    for track in tracks:
        if ACCOMPANIMENT not in track.sources:
            held = ", ".join(track.sources) or "a mixture alone"
            raise CorpusError(
                f"the paired song {track.name!r} has no accompaniment but {held}; "
                "expected accompaniment or stems beside the vocals; add it, or move "
                "the song to an unpaired corpus"
            )


def _expect_aligned(tracks: Sequence[Track]) -> None:
    """Check that the files of each song have one rate and one length."""
    by_song = {track.name: _files(track) for track in tracks}
    infos = reading.measure(file for files in by_song.values() for file in files)
    for name, (first, *others) in by_song.items():
        rate, _, samples = infos[first]
        for file in others:
            if infos[file].sample_rate != rate:
                raise CorpusError(
                    f"the song {name!r}: {file} has {infos[file].sample_rate} Hz and "
                    f"{first} {rate} Hz; expected one rate; resample one of them."
                )
            excess = abs(infos[file].samples - samples)
            if excess > TOLERANCE_SECONDS * rate and not reading.may_cut():
                raise CorpusError(
                    f"the song {name!r}: {file} has {infos[file].samples / rate:.2f} s "
                    f"and {first} {samples / rate:.2f} s; expected equal lengths, "
                    "because they must be aligned in time; trim or pad one, or set "
                    "corpora.allow_cut=true to trim songs to their shortest file."
                )


def _files(track: Track) -> list[Path]:
    return [file for sound in track.sounds for file in waveforms.files(sound)]


# The splits of each corpus with its sources, and all its songs without.


def _musdb(corpora: Corpora, root: Path) -> Splits:
    if corpora.split == "museval":
        train, valid, test = (musdb.tracks(root, s) for s in ("train", "valid", "test"))
        return train, valid, test
    return _musdb_training(root), *_halves(musdb.tracks(root, "test"))


def _musdb_training(root: Path) -> list[Track]:
    tracks = musdb.tracks(root, "train") + musdb.tracks(root, "valid")
    return sorted(tracks, key=lambda track: track.name)


def _halves(test: list[Track]) -> tuple[list[Track], list[Track]]:
    """Divide the songs of a test folder into validation and test."""
    if len(test) < 2:
        raise CorpusError(
            f"the test folder holds {len(test)} songs; expected at least two, half of "
            "them for the validation; add songs, or set corpora.split=museval"
        )
    return test[: len(test) // 2], test[len(test) // 2 :]


def _dsd100(corpora: Corpora, root: Path) -> Splits:
    train, test = (
        dsd100.tracks(root, split, skip=corpora.skip) for split in ("train", "test")
    )
    return train, *_halves(test)


def _mir1k(corpora: Corpora, root: Path) -> Splits:
    """List clips, the first of every song first, so that few paired ones differ."""
    train, valid, test = (
        sorted(tracks, key=lambda track: track.name.rpartition("_")[::-1])
        for tracks in _catalogued(corpora, "mir1k", root)
    )
    return train, valid, test


def _folders(corpora: Corpora, root: Path) -> Splits:
    """List track folders, in which no file is required."""
    train, valid, test = (
        song_folders.tracks(root, split) for split in ("train", "valid", "test")
    )
    return train, valid, test


def _all_folders(corpora: Corpora, root: Path) -> list[UnpairedSong]:
    split = "train" if completeness.has_splits(root) else None
    return _unmarked(song_folders.tracks(root, split))


def _all_dsd100(corpora: Corpora, root: Path) -> list[UnpairedSong]:
    return [
        song
        for split in dsd100.SPLITS
        for song in _unmarked(dsd100.tracks(root, split, skip=corpora.skip))
    ]


def _all_moisesdb(corpora: Corpora, root: Path) -> list[UnpairedSong]:
    songs = moisesdb.songs(root, skip=corpora.skip)
    return [UnpairedSong(song.track, song.bleeding) for song in songs]


def _unmarked(tracks: Iterable[Track]) -> list[UnpairedSong]:
    """Take songs of a corpus that does not mark bleed."""
    return [UnpairedSong(track) for track in tracks]


SPLITS: Mapping[str, Callable[[Corpora, Path], Splits]] = {
    "musdb": _musdb,
    "dsd100": _dsd100,
    "mir1k": _mir1k,
    "track_folders": _folders,
}
"""Corpora with other splits than in :mod:`common.corpora.catalogue`."""

ALL_SONGS: Mapping[str, Callable[[Corpora, Path], list[UnpairedSong]]] = {
    "musdb": lambda _, root: _unmarked(_musdb_training(root)),
    "dsd100": _all_dsd100,
    "ccmixter": lambda corpora, root: _unmarked(
        ccmixter.tracks(root, skip=corpora.skip)
    ),
    "moisesdb": _all_moisesdb,
    "track_folders": _all_folders,
}
"""All songs of corpora that may be used without their sources; of others, training."""


def _splits(corpora: Corpora, root: Path) -> Splits:
    read = SPLITS.get(corpora.paired)
    return read(corpora, root) if read else _catalogued(corpora, corpora.paired, root)


def _all_songs(corpus: str, corpora: Corpora, root: Path) -> list[UnpairedSong]:
    read = ALL_SONGS.get(corpus)
    return read(corpora, root) if read else _unmarked(_read(corpora, corpus, root))


def _catalogued(corpora: Corpora, corpus: str, root: Path) -> Splits:
    train, valid, test = (
        _read(corpora, corpus, root, split) for split in ("train", "valid", "test")
    )
    return train, valid, test


def _read(
    corpora: Corpora, corpus: str, root: Path, split: str = "train"
) -> list[Track]:
    options = Options(skip=corpora.skip, noise=True)
    return catalogue.tracks(corpus, root, split, options)
