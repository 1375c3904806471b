"""Songs to score, of MUSDB18 or any corpus, with their targets and references.

Each target of a model is compared with the sum of some sources of a song.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from common import audio
from common.corpora import catalogue, musdb, reading, sound_files, waveforms
from common.corpora.mix_folders import SUFFIXES
from common.corpora.track import CorpusError, Options, Sound, Sum, Track
from unmix.corpus import COMPOUND

SPEECH_PARTS = ("speech", "noise")
PARTS = {
    **{name: (name,) for name in musdb.SOURCES},
    **COMPOUND,
    **{name: (name,) for name in SPEECH_PARTS},
}
"""Targets with a reference and their parts, in museval's order."""
MIXTURE = "mixture"
VOCALS, ACCOMPANIMENT = "vocals", "accompaniment"
MIX = "mix"
"""Folder of the mixtures where each source has its own folder."""


class Song(NamedTuple):
    """A song of MUSDB18, or a track of another corpus.

    Attributes:
        name: ``Artist - Title``.
        path: Folder of its wav files, or its stem file; or the folder that holds a
            folder of each source; or the folder of the other corpus.
        pooled: Whether the sounds of all songs lie in a folder for each source.
        track: The track of another corpus, whose sounds are written as wav files
            before they are scored.
    """

    name: str
    path: Path
    pooled: bool = False
    track: Track | None = None

    def file(self, part: str) -> Path:
        """Return the wav file of a source, or of ``"mixture"``."""
        if not self.pooled:
            return _sound(self.path / f"{part}.wav")
        folder = self.path / (MIX if part == MIXTURE else part)
        return _sound(folder / f"{self.name}.wav")


def fingerprint(song: Song) -> str:
    """Hash the names, the sizes and parts of the files of a song.

    Args:
        song: The song; missing files of a folder are left out.

    Returns:
        SHA-256 in hexadecimal digits, the same after the corpus is moved.

    Raises:
        OSError: A file cannot be read.
    """
    sounds: Sequence[Sound]
    if song.track is not None:
        sounds = song.track.sounds
    elif song.path.is_dir():
        parts = dict.fromkeys(part for parts in PARTS.values() for part in parts)
        files = [song.file(part) for part in (MIXTURE, *parts)]
        sounds = [file for file in files if file.is_file()]
    else:
        sounds = [song.path]
    identities = [waveforms.identity(file, waveforms.fingerprint) for file in sounds]
    return hashlib.sha256(repr(identities).encode()).hexdigest()


def find_songs(root: Path | str, subset: str, *, is_wav: bool = False) -> list[Song]:
    """List the songs of a folder of MUSDB18 by name, without opening them.

    Args:
        root: Folder of the corpus.
        subset: ``"test"``, or ``"train"`` including the validation songs.
        is_wav: Leave stem files out.

    Raises:
        CorpusError: There is no song.
    """
    folder = reading.folder_of("MUSDB18", musdb.find_root(root) / subset, "songs")
    if (folder / MIX).is_dir():
        return [Song(path.stem, folder, True) for path in _mixtures(folder / MIX)]
    songs = musdb.songs(folder, is_wav=is_wav)
    if not songs:
        raise CorpusError(
            f"MUSDB18: {folder} holds no song but {reading.contents(folder)}; unpack "
            "the corpus there" + (", or leave out --is-wav" if is_wav else "")
        )
    return [Song(name, songs[name]) for name in sorted(songs)]


def find_tracks(
    dataset: str, root: Path, split: str, *, skip: bool = False
) -> list[Song]:
    """List the tracks of any corpus by its name in the catalogue.

    Args:
        dataset: Name of the corpus.
        root: Its folder.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        skip: Leave out tracks that lack a file, as the training of the model did.

    Raises:
        CorpusError: There is no track, or one lacks a file, without ``skip``.
    """
    tracks = catalogue.tracks(dataset, root, split, Options(skip=skip))
    return [Song(track.name, root, track=track) for track in tracks]


def parts_of(songs: Sequence[Song]) -> Mapping[str, Sequence[str]]:
    """Return the sources that add up to each target with a reference.

    Args:
        songs: Songs of one corpus.

    >>> track = Track("a", 8000, 4, {"vocals": Path("v.wav"), "oud": Path("o.wav")})
    >>> parts_of([Song("a", Path("corpus"), track=track)])
    {'vocals': ['vocals'], 'oud': ['oud'], 'accompaniment': ['oud']}
    """
    tracks = [song.track for song in songs if song.track is not None]
    if not tracks:
        return PARTS
    sources = dict.fromkeys(name for track in tracks for name in track.sources)
    parts = {name: [name] for name in sources}
    others = [name for name in sources if name != VOCALS]
    if VOCALS in sources and others:
        parts.setdefault(ACCOMPANIMENT, others)
    return parts


def scored_targets(
    sources: Sequence[str], parts: Mapping[str, Sequence[str]] = PARTS
) -> list[str]:
    """Return the sources that museval scores, in its order.

    Args:
        sources: Sources of a model.
        parts: From :func:`parts_of`.

    Raises:
        CorpusError: There are fewer than the two that it needs.

    >>> scored_targets(["drums", "vocals", "residual"])
    ['vocals', 'drums']
    """
    targets = [target for target in parts if target in sources]
    if len(targets) < 2:
        raise CorpusError(
            f"the model makes {', '.join(sources)} and the corpus has "
            f"{', '.join(parts)}: museval needs at least two that both have; "
            "give a corpus with the sources of the model, --targets vocals --residual "
            "accompaniment, or --aggregate"
        )
    return targets


def check_residual(
    name: str, sources: Iterable[str], parts: Mapping[str, Sequence[str]] = PARTS
) -> None:
    """Refuse a residual that cannot be the source of its name.

    Args:
        name: Name of what the other sources leave of the mixture.
        sources: Sources of the model, with the residual.
        parts: From :func:`parts_of`.

    Raises:
        CorpusError: Another source is a part of it or unknown, or a source of the
            corpus that is no part of it remains in it.

    >>> check_residual("accompaniment", ["vocals", "accompaniment"])
    """
    others = [source for source in sources if source != name]
    taken = [s for s in others if s not in parts or s in parts[name]]
    if taken:
        raise CorpusError(
            f"{name} would be scored without {', '.join(taken)}, because --residual is "
            f"what {', '.join(others)} leave of the mixture; give --targets vocals "
            "too, or another name"
        )
    music = [*parts.get(VOCALS, ()), *parts.get(ACCOMPANIMENT, ())]
    used = {part for source in (*others, name) for part in parts[source]}
    extra = [part for part in music if part not in used]
    if extra and {*parts[name]} <= {*music}:
        raise CorpusError(
            f"{name} would be scored with {', '.join(extra)} in it, because --residual "
            f"is what {', '.join(others)} leave of the mixture; give all other sources "
            "by --targets, or another name"
        )


def references(
    song: Song,
    targets: Iterable[str],
    parts: Mapping[str, Sequence[str]] = PARTS,
) -> dict[str, list[Path]]:
    """Return the files whose sums are the references of targets.

    Args:
        song: The song, as wav files.
        targets: Names in ``parts``.
        parts: From :func:`parts_of`.

    Raises:
        CorpusError: A file, or the mixture, does not exist.
    """
    files = {target: [song.file(part) for part in parts[target]] for target in targets}
    needed = [
        song.file(MIXTURE),
        *(file for paths in files.values() for file in paths),
    ]
    missing = dict.fromkeys(file.name for file in needed if not file.is_file())
    if missing:
        raise CorpusError(
            f"{song.path} lacks {', '.join(missing)}; it holds "
            f"{reading.contents(song.path)}: unpack it again"
        )
    return files


def write_wavs(track: Track, targets: Sequence[str], folder: Path) -> Song:
    """Write the mixture and the sources of a track as 32-bit wav files.

    Raises:
        CorpusError: The track lacks a target, which has no score then.
    """
    parts = parts_of([Song(track.name, folder, track=track)])
    missing = [target for target in targets if target not in parts]
    if missing:
        raise CorpusError(
            f"{track.name} lacks {', '.join(missing)}; it holds "
            f"{', '.join(track.sources)}, and BSS Eval needs every target of a track"
        )
    mixture = track.mixture if track.mixture is not None else _sum(track)
    folder.mkdir(parents=True)
    for name, sound in {MIXTURE: mixture, **track.sources}.items():
        about = waveforms.info(sound, track.sample_rate)
        rate = about.sample_rate or track.sample_rate
        with audio.Writer(folder / f"{name}.wav", rate, about.channels) as file:
            for block in waveforms.blocks(sound, audio.CHUNK_SAMPLES):
                file.write(block)
    return Song(track.name, folder)


def _sum(track: Track) -> Sound:
    """Return the sum of the sources of a track."""
    sounds = track.sources.values()
    groups = [sound.parts if isinstance(sound, Sum) else (sound,) for sound in sounds]
    return Sum(tuple(part for group in groups for part in group))


def _mixtures(folder: Path) -> list[Path]:
    return sorted(sound_files.sounds(folder, SUFFIXES))


def _sound(path: Path) -> Path:
    return sound_files.find(path) or path
