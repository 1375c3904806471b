"""Lists of songs that a run learns from, and the dictionary in which they may come.

A song is a track of at most two sources, accompaniment and vocals; one that it lacks is
silence. The lists of unpaired songs hold tracks of which only one sound is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.config import ConfigError
from common.corpora import grouping, reading, sound_files, waveforms
from common.corpora.track import CorpusError, Sound, Track

ACCOMPANIMENT, VOCALS, MIXTURE = "accompaniment", "vocals", "mixture"
TOLERANCE_SECONDS = 0.1
"""By how much files of one song may differ in length; what is over is cut."""
KEYS = {
    "paired": ("train_sup",),
    "unpaired": ("train_unsup",),
    "valid": ("valid", "train_valid"),
    "test": ("test", "train_test"),
}
"""Keys of the original's dictionary: those of its program, then those of its manual."""


class Lists(NamedTuple):
    """Songs by what is learnt from them.

    Attributes:
        paired: Songs whose sources and mixture belong together.
        mixtures: Songs of which the mixture is used, without its sources.
        accompaniments: Songs of which the accompaniment is used.
        vocals: Songs of which the vocals are used.
        valid: Paired songs of the validation.
        test: Paired songs of the test.
    """

    paired: list[Track]
    mixtures: list[Track]
    accompaniments: list[Track]
    vocals: list[Track]
    valid: list[Track]
    test: list[Track]


def song(track: Track) -> Track:
    """Add up all sources of a track but its vocals.

    >>> stems = {name: Path(name) for name in ("vocals", "drums", "bass")}
    >>> list(song(Track("a", 8000, 9, stems)).sources)
    ['accompaniment', 'vocals']
    """
    others = [sound for name, sound in track.sources.items() if name != VOCALS]
    sources: dict[str, Sound] = {}
    if others:
        sources[ACCOMPANIMENT] = grouping.added(others)
    if VOCALS in track.sources:
        sources[VOCALS] = track.sources[VOCALS]
    return Track(track.name, track.sample_rate, track.samples, sources, track.mixture)


def mixture(track: Track) -> Sound:
    """Tell the sound of the mixture of a song, if need be the sum of its sources."""
    if track.mixture is not None:
        return track.mixture
    return grouping.added(list(track.sources.values()))


def expect_aligned(tracks: Sequence[Track]) -> None:
    """See that the files of each song have one rate and one length.

    Raises:
        CorpusError: They have not, so that they cannot belong together.
    """
    files = {track.name: _files(track) for track in tracks}
    infos = reading.measure(file for each in files.values() for file in each)
    for name, every in files.items():
        for file in every[1:]:
            rate, _, samples = infos[every[0]]
            if infos[file].sample_rate != rate:
                raise CorpusError(
                    f"the song {name!r}: {file} has {infos[file].sample_rate} Hz and "
                    f"{every[0]} {rate} Hz; expected one rate; resample one of them."
                )
            excess = abs(infos[file].samples - samples)
            if excess > TOLERANCE_SECONDS * rate and not reading.may_cut():
                raise CorpusError(
                    f"the song {name!r}: {file} has {infos[file].samples / rate:.2f} s "
                    f"and {every[0]} {samples / rate:.2f} s; expected equal lengths, "
                    "because they must lie in time with each other; cut or pad one, or "
                    "set corpora.allow_cut=true to cut songs to their shortest file."
                )


def call(function: str) -> Mapping[str, Any]:
    """Call the user's function that gives a dictionary of lists.

    Args:
        function: Its import path, ``package.module:name``.

    Raises:
        ConfigError: There is no such function, or it gives no dictionary.
    """
    module, _, name = function.partition(":")
    try:
        found: Callable[[], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"corpora.function={function!r} cannot be imported ({error}); expected "
            "package.module:name of a function, in the current folder or installed"
        ) from error
    given = found() if callable(found) else found
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"corpora.function={function!r} gives {type(given).__name__}; expected a "
            f"dictionary with the keys {_spelled()}"
        )
    return given


def from_dictionary(given: Mapping[str, Any], where: str, folder: Path) -> Lists:
    """Make lists of the dictionary that the original documents.

    Args:
        given: ``train_sup`` and ``valid`` and ``test`` (or ``train_valid`` and
            ``train_test``) are lists of mixture, accompaniment and vocals;
            ``train_unsup`` is a list of mixtures, one of accompaniments and one of
            vocals. Each of these is a path, an object with a ``path``, or a number of
            seconds, which stands for silence.
        where: Where it came from, for errors.
        folder: Where relative paths begin.

    Raises:
        ConfigError: A key is missing, or a value is of another kind.
        CorpusError: Files of a song do not belong together.
    """
    paired, valid, test = (
        _triples(_value(given, KEYS[key], where), f"{where}, {KEYS[key][0]}", folder)
        for key in ("paired", "valid", "test")
    )
    unpaired: Any = given.get("train_unsup") or ([], [], [])
    if not isinstance(unpaired, list | tuple) or len(unpaired) != 3:
        raise ConfigError(
            f"{where}: train_unsup is no list of three lists; expected mixtures, "
            "accompaniments, vocals"
        )
    mixtures, accompaniments, vocals = (
        _singles(each, role, f"{where}, train_unsup", folder)
        for each, role in zip(unpaired, (MIXTURE, ACCOMPANIMENT, VOCALS), strict=True)
    )
    expect_aligned([*paired, *valid, *test])
    return Lists(paired, mixtures, accompaniments, vocals, valid, test)


def _files(track: Track) -> list[Path]:
    sounds = [*track.sources.values()]
    sounds += [track.mixture] if track.mixture is not None else []
    return [file for sound in sounds for file in waveforms.files(sound)]


def _value(given: Mapping[str, Any], keys: Sequence[str], where: str) -> Any:
    for key in keys:
        if key in given:
            return given[key]
    raise ConfigError(
        f"{where} has no {' or '.join(keys)}; expected the keys {_spelled()}, it has "
        f"{', '.join(map(str, given)) or 'none'}"
    )


def _spelled() -> str:
    return ", ".join(names[-1] for names in KEYS.values())


def _triples(items: Any, where: str, folder: Path) -> list[Track]:
    rows: list[tuple[str, dict[str, Path], Path]] = []
    for place, item in enumerate(items):
        if not isinstance(item, list | tuple) or len(item) != 3:
            raise ConfigError(
                f"{where}: entry {place} is {item!r}; expected mixture, accompaniment "
                "and vocals"
            )
        mix, *sources = (_path(each, where, folder) for each in item)
        if mix is None:
            raise ConfigError(
                f"{where}: the mixture of entry {place} is a number of seconds; "
                "expected a file, because only sources may be silent"
            )
        named = zip((ACCOMPANIMENT, VOCALS), sources, strict=True)
        heard = {name: file for name, file in named if file is not None}
        rows.append((_title(place, mix), heard, mix))
    return reading.make_tracks(rows, allow_cut=True)  # See expect_aligned.


def _singles(items: Any, role: str, where: str, folder: Path) -> list[Track]:
    paths = [_path(each, where, folder) for each in items]
    # A critic that takes silence for a real source would teach silence.
    named = [
        (f"{role} {_title(place, path)}", path)
        for place, path in enumerate(paths)
        if path is not None
    ]
    if role == MIXTURE:
        return reading.make_tracks((name, {}, path) for name, path in named)
    return reading.make_tracks((name, {role: path}, None) for name, path in named)


def _path(item: Any, where: str, folder: Path) -> Path | None:
    """The file of an element, or None for silence."""
    if isinstance(item, int | float) and not isinstance(item, bool):
        return None
    path = getattr(item, "path", item)
    if not isinstance(path, str | Path):
        raise ConfigError(
            f"{where}: {item!r} is no path, no object with a path and no number of "
            "seconds"
        )
    return sound_files.listed(str(path), folder)


def _title(place: int, path: Path) -> str:
    # Files of all songs may be named alike, as may their folders.
    return f"{place:04d} {path.parent.name}/{path.stem}"
