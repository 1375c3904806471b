"""MIR-1K: karaoke clips of Chinese pop songs, the accompaniment left, the voice right.

``MIR-1K/Wavfile/<singer>_<song>_<clip>.wav`` are 1000 clips of 16 kHz; the 110 songs
that they are cut from, in ``MIR-1K/UndividedWavfile``, are not read. The mixture is the
sum of the two channels. Where ``Wavfile`` holds the folders
``train``, ``dev`` and ``test``, as the copy of Huang et al. does (171, 4 and 825 clips,
both sources of a clip equally loud), these are the splits.

References:
    Hsu, Jang: On the improvement of singing voice separation for monaural recordings
    using the MIR-1K dataset, IEEE TASLP 18(2), 2010.
    Huang, Kim, Hasegawa-Johnson, Smaragdis: Singing-voice separation from monaural
    recordings using deep recurrent neural networks, ISMIR 2014 (the usual split);
    https://github.com/posenhuang/deeplearningsourceseparation (their copy).
"""

from __future__ import annotations

import functools
import logging
import re
from pathlib import Path

from common.corpora import completeness, reading, sound_files
from common.corpora.track import Channel, CorpusError, Track
from common.files import user_path

LOG = logging.getLogger(__name__)

CORPUS = "MIR-1K"
FOLDER = "Wavfile"
CLIP = "<singer>_<song>_<clip>.wav"
CLIP_NAME = re.compile(r"[A-Za-z]+_\d+_\d+\.wav")
CHANNELS = {"vocals": 1, "accompaniment": 0}
TRAIN_SINGERS = ("abjones", "amy")
"""The male and the female singer of the usual training set."""
COUNT = 1000
"""Clips of the published corpus."""
DIVISION = {"train": ("train", 171), "valid": ("dev", 4), "test": ("test", 825)}
"""Folder and number of clips of each split of Huang et al."""


def tracks(root: Path | str, split: str) -> list[Track]:
    """Return a split as tracks of ``vocals`` and ``accompaniment``.

    Folders ``train``, ``dev`` and ``test`` are the splits where they exist. Otherwise
    clips are divided by singer, with a warning. A fixed tenth of the songs of the
    training singers is held out for validation, in whole songs, because clips of one
    song are alike.

    Args:
        root: The folder MIR-1K, the one that holds it, or the folder of the clips.
        split: ``"train"``, ``"valid"`` or ``"test"`` (all other singers).

    Returns:
        Tracks by name, whose mixture is the sum of their sources.

    Raises:
        CorpusError: The split is empty, or a file does not have two channels.
    """
    completeness.expect_split(CORPUS, split)
    clips = _find(user_path(root))
    chosen = _folder(clips, split) if _is_divided(clips) else _undivided(clips, split)
    _check_channels(chosen)
    return reading.make_tracks(
        (file.stem, {name: Channel(file, at) for name, at in CHANNELS.items()}, None)
        for file in chosen
    )


def _folder(clips: Path, split: str) -> list[Path]:
    folder, count = DIVISION[split]
    files = _sounds(reading.folder_of(CORPUS, clips / folder, CLIP))
    LOG.info("%s: %r is the folder %s, as Huang et al. divide", CORPUS, split, folder)
    completeness.expect_count(CORPUS, split, len(files), [count])
    return files


def _undivided(clips: Path, split: str) -> list[Path]:
    files = _sounds(clips)
    _warn_undivided(clips)
    completeness.expect_count(CORPUS, "all", len(files), [COUNT])
    chosen = _part(files, split)
    if not chosen:
        singers = sorted({_singer(file) for file in files})
        raise CorpusError(
            f"{CORPUS}: the split {split!r} is empty: {clips} holds the singers "
            f"{', '.join(singers)}; {' and '.join(TRAIN_SINGERS)} are for train and "
            "valid, all others for test; unpack the corpus there."
        )
    return chosen


@functools.cache
def _warn_undivided(clips: Path) -> None:
    """Warn only once that scores on this split are comparable with few others."""
    LOG.warning(
        "%s: %s has no folders train, dev and test, the split of Huang et al.; it is "
        "divided by singer, and some songs of the training singers are the validation",
        CORPUS,
        clips,
    )


def _sounds(clips: Path) -> list[Path]:
    files = sound_files.sounds(clips, ".wav")
    if not files:
        raise reading.misplaced(CORPUS, clips, CLIP)
    return files


def _find(root: Path) -> Path:
    reading.folder_of(CORPUS, root, f"MIR-1K with its folder {FOLDER}")
    for parent in (root, *reading.subfolders(root)):
        if (parent / FOLDER).is_dir():
            return parent / FOLDER
    if _holds_clips(root):
        return root
    return reading.folder_of(CORPUS, root / FOLDER, CLIP)


def _is_divided(clips: Path) -> bool:
    return any((clips / folder).is_dir() for folder, _ in DIVISION.values())


def _holds_clips(folder: Path) -> bool:
    parts = [folder, *(folder / name for name, _ in DIVISION.values())]
    files = (file for part in parts for file in part.glob("*.wav"))
    return any(CLIP_NAME.fullmatch(file.name) for file in files)


def _singer(file: Path) -> str:
    return file.stem.split("_")[0]


def _song(file: Path) -> str:
    return "_".join(file.stem.split("_")[:2])


def _part(files: list[Path], split: str) -> list[Path]:
    training = [file for file in files if _singer(file) in TRAIN_SINGERS]
    if split == "test":
        return [file for file in files if file not in set(training)]
    songs = sorted({_song(file) for file in training})
    chosen = set(completeness.training_part(songs, split))
    return [file for file in training if _song(file) in chosen]


def _check_channels(files: list[Path]) -> None:
    for file, info in reading.measure(files).items():
        if info.channels != len(CHANNELS):
            raise CorpusError(
                f"{CORPUS}: {file} has {info.channels} channel(s); the set has 2 (left "
                "accompaniment, right voice); unpack it again."
            )
