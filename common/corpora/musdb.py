"""MUSDB18: 150 songs of four stems, as wav files (HQ) or as stem files (mp4).

``<root>/{train,test}/<Artist - Title>/{mixture,vocals,drums,bass,other}.wav`` is the
layout of MUSDB18-HQ, ``<root>/{train,test}/<Artist - Title>.stem.mp4`` that of MUSDB18.
Stem files are decoded once, all five streams in one pass of ffmpeg, into the layout of
the wav files in the cache.

References:
    Rafii, Liutkus, Stoter, Mimilakis, Bittner: The MUSDB18 corpus for music separation,
    2017, doi:10.5281/zenodo.1117372.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from common import cpus, download, files
from common.audio.ffmpeg import FFMPEG_CURE
from common.corpora import reading, sound_files, waveforms
from common.corpora.track import CorpusError, Track
from common.download import DownloadError
from common.files import replacing_folder, user_path

SOURCES = ("vocals", "drums", "bass", "other")
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""Audio streams of a stem file in their order."""
SPLITS = {"train": "train", "valid": "train", "test": "test"}
"""Folder of each split."""
SUFFIXES = (".stem.mp4", ".stem.m4a")
DECODED_FROM = "decoded-from.txt"
"""File in a folder of decoded stems with the fingerprint of the stem file."""
VALIDATION = (
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)
"""Tracks of the training folder that the community holds out for validation."""
OTHER_SHARE = 0.14
"""Share held out of another corpus of this layout, without these tracks."""
PREVIEW_URL = (
    "https://github.com/sigsep/sigsep-mus-db/releases/download/v0.4.0/"
    "MUSDB18-7-STEMS.zip"
)
PREVIEW_SECONDS = 7


def find_root(folder: Path | str) -> Path:
    """Return the folder that holds ``train`` or ``test``.

    Args:
        folder: That folder, or one that holds it as ``MUSDB18``, ``musdb18hq``, ...

    Raises:
        CorpusError: There is no such folder.
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"MUSDB18: {reading.no_folder(folder)}; pass the one that holds "
            "train and test, or another corpus with dataset=..."
        )
    for root in (folder, *reading.subfolders(folder)):
        if any((root / split).is_dir() for split in ("train", "test")):
            return root
    raise CorpusError(
        f"MUSDB18: {folder} holds neither train nor test but "
        f"{reading.contents(folder)}; unpack MUSDB18 or MUSDB18-HQ there, or choose "
        "the kind of your corpus with dataset=..."
    )


def tracks(root: Path | str, split: str, *, is_wav: bool = False) -> list[Track]:
    """Return a split as tracks of four sources and a mixture, all in wav files.

    Args:
        root: Folder of the corpus, as for :func:`find_root`.
        split: ``"train"`` (without validation tracks), ``"valid"`` or ``"test"``.
        is_wav: Read only tracks of wav files; otherwise stem files are decoded too.

    Returns:
        Tracks sorted by name, their sources in the order of :data:`SOURCES`.

    Raises:
        CorpusError: The split is empty or a track lacks a file.
    """
    if split not in SPLITS:
        raise CorpusError(f"MUSDB18: no split {split!r}; it has {', '.join(SPLITS)}.")
    root = find_root(root)
    folder = reading.folder_of("MUSDB18", root / SPLITS[split], "a folder a track")
    by_name = songs(folder, is_wav=is_wav)
    if not by_name:
        stems = " or ".join(f"*{suffix}" for suffix in SUFFIXES)
        layouts = "folders of wav files" if is_wav else f"wav folders or {stems}"
        raise reading.misplaced(
            f"MUSDB18: the split {split!r} is empty", folder, layouts
        )
    names = _held_out(folder, sorted(by_name), split)
    folders = _wav_folders([by_name[name] for name in names], folder)
    return reading.make_tracks(
        _laid_out(name, folder) for name, folder in zip(names, folders, strict=True)
    )


def songs(folder: Path, *, is_wav: bool = False) -> dict[str, Path]:
    """Return the songs of a folder by name: folders of wav files, or stem files.

    Args:
        folder: Folder of a split.
        is_wav: Leave out stem files.

    Raises:
        CorpusError: Two stem files are of one song.
    """
    by_name: dict[str, Path] = {}
    for file in [] if is_wav else sound_files.sounds(folder, SUFFIXES):
        if by_name.setdefault(_title(file), file) != file:
            raise CorpusError(
                f"MUSDB18: {by_name[_title(file)]} and {file.name} are both stems of "
                "one song; remove one of them."
            )
    # A song that exists in both forms needs no decoding.
    return by_name | {
        subfolder.name: subfolder for subfolder in reading.subfolders(folder)
    }


def preview() -> Path:
    """Download the 7 s excerpts of all tracks into the cache, unless they are there.

    Returns:
        The folder of the corpus.

    Raises:
        CorpusError: There is no network, or the download is not the archive.
    """
    folder = files.cache_folder("musdb18-7")
    if (folder / "train").is_dir():
        return folder
    with files.locked(folder):
        if not (folder / "train").is_dir():
            _fetch_preview(folder)
    return folder


def decode(stem_file: Path, folder: Path) -> Path:
    """Decode all streams of a stem file into 16-bit wav files, in one pass.

    Args:
        stem_file: A file of five audio streams.
        folder: Folder to make, with a file for each of :data:`STREAMS`; one that was
            decoded from a file of the same content is kept.

    Returns:
        The folder.

    Raises:
        CorpusError: ffmpeg is not installed, or cannot decode the file.
    """
    if _is_decoded(stem_file, folder):
        return folder
    if not shutil.which("ffmpeg"):
        raise CorpusError(
            f"{stem_file} needs ffmpeg to be decoded and there is none on PATH; "
            f"{FFMPEG_CURE}, or take MUSDB18-HQ, which is wav."
        )
    import ffmpeg

    with replacing_folder(folder, overwrite=True) as work:
        source = ffmpeg.input(f"file:{stem_file.absolute()}")
        outputs = [
            source[f"a:{index}"].output(str(work / f"{name}.wav"), acodec="pcm_s16le")
            for index, name in enumerate(STREAMS)
        ]
        job = ffmpeg.merge_outputs(*outputs)
        job = job.global_args("-nostdin", "-loglevel", "error", "-xerror")
        try:
            job.run(capture_stderr=True)
        except ffmpeg.Error as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines() or ["?"]
            raise CorpusError(
                f"{stem_file} cannot be decoded into {len(STREAMS)} stems "
                f"({lines[-1]}); copy or download it again."
            ) from error
        (work / DECODED_FROM).write_text(waveforms.fingerprint(stem_file))
    return folder


def _is_decoded(stem_file: Path, folder: Path) -> bool:
    """Return whether a folder holds the decoded content of a stem file."""
    if not folder.is_dir():
        return False
    note = folder / DECODED_FROM
    if note.is_file():
        return note.read_text() == waveforms.fingerprint(stem_file)
    # Releases up to 0.1.0 compared modification times.
    return folder.stat().st_mtime >= stem_file.stat().st_mtime


def _held_out(folder: Path, names: Sequence[str], split: str) -> list[str]:
    """Return the tracks of a split; validation tracks are no training tracks."""
    if split == "test":
        return list(names)
    valid = [name for name in names if name in VALIDATION]
    if not valid:
        if len(names) < 2:
            raise CorpusError(
                f"MUSDB18: {folder} holds one track, {names[0]!r}; training needs at "
                "least two, one of them for validation."
            )
        _, valid = reading.divide(names, OTHER_SHARE)
        if split == "valid":
            reading.warn_once(
                f"{folder} holds none of MUSDB18's validation tracks: holding out "
                f"{len(valid)} of its {len(names)} tracks: {', '.join(valid)}"
            )
    chosen = [name for name in names if (name in valid) == (split == "valid")]
    if not chosen:
        raise CorpusError(
            f"MUSDB18: the split {split!r} is empty: {folder} holds nothing but "
            "validation tracks; add training tracks."
        )
    return chosen


def _wav_folders(songs: Sequence[Path], parent: Path) -> list[Path]:
    """Return folders of wav files; stem files are decoded into the cache first."""
    encoded = [song for song in songs if not song.is_dir()]
    if not encoded:
        return list(songs)
    digest = hashlib.sha256(str(parent.resolve()).encode()).hexdigest()[:12]
    target = files.cache_folder(f"musdb18-{digest}", parent.name)
    folders = {song: target / _title(song) for song in encoded}
    with ThreadPoolExecutor(cpus.count()) as pool:
        work = pool.map(decode, encoded, folders.values())
        list(tqdm(work, f"decoding into {target}", len(encoded), disable=None))
    return [folders.get(song, song) for song in songs]


def _title(stem_file: Path) -> str:
    # Drop two suffixes, such as .stem.mp4, in any case.
    return stem_file.name.rsplit(".", 2)[0]


def _laid_out(name: str, folder: Path) -> tuple[str, dict[str, Path], Path]:
    names = ("mixture", *SOURCES)
    files = {name: sound_files.path_of(folder / f"{name}.wav") for name in names}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise CorpusError(
            f"MUSDB18: the track {folder} lacks {', '.join(missing)}; it holds "
            f"{reading.contents(folder)}; unpack it again, or use "
            "dataset=trackfolder_fix for other stems."
        )
    mixture = files.pop("mixture")
    return name, files, mixture


def _fetch_preview(folder: Path) -> None:
    url = os.environ.get("MUSDB_PREVIEW_URL", PREVIEW_URL)
    downloads = folder.with_name(f"{folder.name}-download")
    try:
        file = download.obtain(url, downloads / Path(PREVIEW_URL).name)
        with replacing_folder(folder) as work, zipfile.ZipFile(file) as archive:
            archive.extractall(work)
            find_root(work)
    except (DownloadError, zipfile.BadZipFile) as error:
        raise CorpusError(
            f"downloading the {PREVIEW_SECONDS}-second previews of MUSDB18 from {url} "
            f"fails ({error}); it needs the internet: name the folder of the corpus "
            "instead (--root FOLDER)"
        ) from error
    finally:
        # The next attempt continues an unfinished download.
        if not list(downloads.glob("*.part")):
            shutil.rmtree(downloads, ignore_errors=True)
