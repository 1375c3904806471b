"""The songs that a configuration learns from, whatever kinds of corpora it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from adversarial import lists, manifest
from adversarial.config import AdversarialConfig, Corpora
from adversarial.layouts import PAIRED, WHOLE, Song
from adversarial.lists import ACCOMPANIMENT, VOCALS, Lists
from common import files
from common.config import ConfigError
from common.corpora import reading
from common.corpora.track import CorpusError, Track
from common.files import user_path
from common.synthetic.miniature import WRITERS
from common.training.loop import say

MINIATURE: Mapping[str, Mapping[str, int]] = {
    "musdb": {"train": 12, "test": 8},
    "moisesdb": {"songs": 20},
    "dsd100": {"train": 12, "test": 8},
    "ccmixter": {"songs": 20},
}
"""Numbers of songs of the miniature of each kind of corpus."""
SUPERVISED_ONLY = (
    "no unpaired songs: training is supervised only; name a corpus with "
    "corpora.unpaired=..., or leave some songs unpaired with corpora.paired_tracks=..."
)


def read(config: AdversarialConfig) -> Lists:
    """List the songs of a run.

    Raises:
        ConfigError: A key does not fit the others.
        CorpusError: A corpus is not there, or a list of paired songs is empty.
    """
    with reading.cutting(config.corpora.allow_cut):
        return _read(config)


def _read(config: AdversarialConfig) -> Lists:
    corpora = config.corpora
    if corpora.function is not None and corpora.foreign_pickle is not None:
        raise ConfigError(
            "corpora.function and corpora.foreign_pickle are both set; expected one "
            "source of songs; leave one of them out"
        )
    if corpora.function is not None:
        given = lists.call(corpora.function)
        found = lists.from_dictionary(given, corpora.function, Path.cwd())
    elif corpora.foreign_pickle is not None:
        path = user_path(corpora.foreign_pickle)
        given = manifest.read_pickle(path)
        found = lists.from_dictionary(given, str(path), path.absolute().parent)
    else:
        found = _from_corpora(config)
    return _usable(_voiced(found, corpora.silent))


def tell(found: Lists) -> None:
    """Say how many songs there are."""
    counts = zip(found._fields, found, strict=True)
    say("songs: " + ", ".join(f"{len(each)} {name}" for name, each in counts))
    if not found.mixtures:
        say(SUPERVISED_ONLY)


def _usable(found: Lists) -> Lists:
    """Refuse to train, validate or test on no song, and two phases on half a corpus."""
    for name in ("paired", "valid", "test"):
        if not getattr(found, name):
            raise CorpusError(
                f"there are 0 songs in the list {name!r}; expected at least one with "
                "its sources; add songs, or choose another corpus or split"
            )
    unpaired = ("mixtures", "accompaniments", "vocals")
    lacking = [name for name in unpaired if not getattr(found, name)]
    if lacking and len(lacking) < len(unpaired):
        raise CorpusError(
            f"the unpaired songs have no {' and no '.join(lacking)}; the second phase "
            "needs all three kinds; add songs, or set corpora.unpaired=none to train "
            "supervised only"
        )
    return found


def _from_corpora(config: AdversarialConfig) -> Lists:
    corpora = config.corpora
    place = _root(config, corpora.paired, corpora.root, 0)
    kind = PAIRED[corpora.paired]
    train, valid, test = (
        [lists.song(track) for track in each] for each in kind(corpora, place)
    )
    _expect_accompaniment([*train, *valid, *test])
    # The mixtures of MoisesDB are sums, of which shorter files are silent at the end.
    if corpora.paired != "moisesdb":
        lists.expect_aligned([*train, *valid, *test])
    kept = _kept(corpora, len(train))
    others = [Song(track) for track in train[kept:]]
    if corpora.unpaired is not None:
        unpaired = _unpaired(config)
        if corpora.thirds:
            unpaired, more_valid, more_test = _thirds(unpaired)
            valid, test = valid + more_valid, test + more_test
        others += _unheard(unpaired, [*valid, *test])
    mixtures, accompaniments, vocals = _roles(others, corpora.bleed)
    return Lists(train[:kept], mixtures, accompaniments, vocals, valid, test)


def _kept(corpora: Corpora, count: int) -> int:
    """How many songs of the training keep their sources together."""
    if not 0 <= corpora.paired_tracks <= count:
        raise ConfigError(
            f"corpora.paired_tracks={corpora.paired_tracks}; expected 0 (all) to "
            f"{count}, the songs of the training"
        )
    return corpora.paired_tracks or count


def _root(config: AdversarialConfig, kind: str, root: str | None, seed: int) -> Path:
    """Folder of a corpus, or of its miniature."""
    if root is not None:
        place = user_path(root)
        if not place.is_dir():
            raise CorpusError(
                f"{kind}: the folder {place} does not exist; check its name, or set "
                "corpora.unpaired=none if it is the unpaired corpus that is missing"
            )
        return place
    if kind not in MINIATURE:
        raise ConfigError(
            f"the root of {kind} is not set and it has no miniature; set corpora.root "
            "or corpora.unpaired_root"
        )
    rate = config.model_config.expected_sr
    folder = files.cache_folder("miniature", f"{kind}-{rate}-{seed}")
    say(
        f"no root: using the synthetic miniature corpus in {folder}; its numbers say "
        "nothing about real recordings"
    )
    return WRITERS[kind](folder, seed=seed, sample_rate=rate, **MINIATURE[kind])


def _unpaired(config: AdversarialConfig) -> list[Song]:
    """Songs of the unpaired corpus, named so that they meet none of the paired one."""
    corpora = config.corpora
    kind = str(corpora.unpaired)
    if corpora.root is not None and corpora.unpaired_root is None:
        raise ConfigError(
            f"corpora.unpaired_root is not set; corpora.unpaired={kind} needs it, "
            "because corpora.root is no miniature; set it, or corpora.unpaired=none"
        )
    place = _root(config, kind, corpora.unpaired_root, 1)
    found = WHOLE[kind](corpora, place)
    named = [
        song._replace(
            track=replace(lists.song(song.track), name=f"{kind}/{song.track.name}")
        )
        for song in found
    ]
    return named[: corpora.unpaired_tracks or None]


def _thirds(songs: list[Song]) -> tuple[list[Song], list[Track], list[Track]]:
    """A third each for training, validation and test, in the order of the list."""
    one, two = len(songs) // 3, 2 * len(songs) // 3
    parts = songs[one:two], songs[two:]
    valid, test = (
        [song.track for song in part if ACCOMPANIMENT in song.track.sources]
        for part in parts
    )
    return songs[:one], valid, test


def _unheard(songs: list[Song], held_out: list[Track]) -> list[Song]:
    """Leave out songs that are held out: DSD100 is a part of MUSDB18."""
    titles = {title(track.name) for track in held_out}
    kept = [song for song in songs if title(song.track.name) not in titles]
    if len(kept) < len(songs):
        say(
            f"{len(songs) - len(kept)} of {len(songs)} unpaired songs are left out, "
            "because the validation or the test holds songs of these titles"
        )
    return kept


def title(name: str) -> str:
    """Tell the title of a song without the number or the corpus before it.

    >>> title("dsd100/001 - ANiMAL - Clinic A")
    'animal - clinic a'
    """
    return re.sub(r"^\d+ - ", "", name.partition("/")[2] or name).casefold()


def _roles(songs: list[Song], bleed: bool) -> list[list[Track]]:
    """Mixtures, accompaniments and vocals."""
    clean = {
        ACCOMPANIMENT: lambda song: bleed or not song.bleeding - {VOCALS},
        VOCALS: lambda song: bleed or VOCALS not in song.bleeding,
    }
    mixtures = [
        song.track
        for song in songs
        if song.track.mixture is not None or ACCOMPANIMENT in song.track.sources
    ]
    sources = [
        [song.track for song in songs if name in song.track.sources and is_clean(song)]
        for name, is_clean in clean.items()
    ]
    return [mixtures, *sources]


def _voiced(found: Lists, silent: bool) -> Lists:
    """Tell of paired songs without a voice; leave out all of these if told so."""
    voiced = {
        name: [track for track in getattr(found, name) if VOCALS in track.sources]
        for name in ("paired", "valid", "test")
    }
    if found.paired and not voiced["paired"]:
        raise CorpusError(
            f"none of {len(found.paired)} paired songs has vocals, the first is "
            f"{found.paired[0].name!r}; expected a source named vocals; rename the "
            "files or choose another corpus"
        )
    whole = [track for name in voiced for track in getattr(found, name)]
    silence = [track.name for track in whole if VOCALS not in track.sources]
    if silence:
        done = "their vocals are silence" if silent else "they are left out"
        say(
            f"{len(silence)} of {len(whole)} paired songs have no vocals, first "
            f"{silence[0]!r}: {done} (corpora.silent={str(silent).lower()})"
        )
    if silent:
        return found
    # Of a mixture alone nobody knows whether it has a voice.
    voiced["mixtures"] = [
        track
        for track in found.mixtures
        if VOCALS in track.sources or ACCOMPANIMENT not in track.sources
    ]
    return found._replace(**voiced)


def _expect_accompaniment(tracks: list[Track]) -> None:
    for track in tracks:
        if ACCOMPANIMENT not in track.sources:
            held = ", ".join(track.sources) or "a mixture alone"
            raise CorpusError(
                f"the paired song {track.name!r} has no accompaniment but {held}; "
                "expected accompaniment or stems beside the vocals; add it, or move "
                "the song to an unpaired corpus"
            )
