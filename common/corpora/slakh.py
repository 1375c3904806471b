"""Slakh2100: music rendered from MIDI, one file for each instrument.

``{train,validation,test}/TrackXXXXX/{metadata.yaml,mix.flac,stems/Sxx.flac}``, as flac
or wav; BabySlakh is twenty tracks without folders of splits. ``omitted`` holds the
duplicates that redux removed.

References:
    Manilow, Wichern, Seetharaman, Le Roux: Cutting music source separation some Slakh,
    WASPAA 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from common.corpora import completeness, grouping, reading, sound_files
from common.corpora.track import CorpusError, Track
from common.files import user_path

CORPUS = "Slakh2100"
SPLITS = {
    "train": "train",
    "valid": "validation",
    "test": "test",
    "omitted": "omitted",
}
COUNTS = {"train": (1500, 1289), "valid": (375, 270), "test": (225, 151)}
"""Tracks of each split in the original and in redux."""
SUFFIXES = (".flac", ".wav")


def tracks(root: Path | str, split: str, *, skip: bool = False) -> list[Track]:
    """Return a split as tracks of stems, ``piano::0``, ``piano::1``, ``drums::0``.

    The names are ``drums`` and those of :data:`FAMILIES`.

    Args:
        root: Folder of the corpus, or one that holds it.
        split: ``"train"``, ``"valid"``, ``"test"`` or ``"omitted"``.
        skip: Leave out tracks that lack a file, with a warning, instead of raising.

    Returns:
        Tracks sorted by name.

    Raises:
        CorpusError: A stem is declared as rendered but absent, or a metadata.yaml
            cannot be read.
    """
    completeness.expect_split(CORPUS, split, SPLITS)
    folders = _folders(user_path(root), split)
    with ThreadPoolExecutor(reading.THREADS) as pool:
        rows = list(pool.map(_lay_out, folders))
    rendered = _without_faults(rows, skip)
    return reading.make_tracks(completeness.complete(CORPUS, rendered, skip=skip))


def _folders(root: Path, split: str) -> list[Path]:
    """Return the folders of a split's tracks; a corpus without splits is divided."""
    reading.folder_of(CORPUS, root, "train, validation and test")
    for parent in (root, *reading.subfolders(root)):
        if any((parent / name).is_dir() for name in SPLITS.values()):
            folder = reading.folder_of(CORPUS, parent / SPLITS[split], "TrackXXXXX")
            folders = _track_folders(folder)
            if split in COUNTS:
                completeness.expect_count(CORPUS, split, len(folders), COUNTS[split])
            break
    else:
        folder, folders = root, _undivided(root, split)
    if not folders:
        empty = f"{CORPUS}: the split {split!r} is empty"
        raise reading.misplaced(empty, folder, "TrackXXXXX/metadata.yaml")
    return folders


def _undivided(root: Path, split: str) -> list[Path]:
    """Return the part of BabySlakh that serves as a split."""
    candidates = map(_track_folders, (root, *reading.subfolders(root)))
    folders = next(filter(None, candidates), [])
    if not folders or split not in completeness.SPLITS:
        return []
    return completeness.part_of(CORPUS, folders, split)


def _track_folders(folder: Path) -> list[Path]:
    folders = reading.subfolders(folder)
    return [track for track in folders if (track / "metadata.yaml").is_file()]


def _lay_out(folder: Path) -> tuple[completeness.Row, str | None]:
    """Return the files of a track, and its fault if there is one."""
    stems = rendered_stems(folder)
    files = {
        name: sound_files.path_of(folder / "stems" / name, *SUFFIXES) for name in stems
    }
    labels = [instrument(stem) for stem in stems.values()]
    sources = dict(zip(grouping.count_labels(labels), files.values(), strict=True))
    absent = [name for name, file in files.items() if not file.is_file()]
    fault = None
    if absent:
        fault = (
            f"{folder.name} lists {', '.join(absent)} as rendered but "
            f"{files[absent[0]]} is absent"
        )
    elif not stems:
        fault = f"{folder / 'metadata.yaml'} lists no stem as rendered"
    mixture = sound_files.path_of(folder / "mix", *SUFFIXES)
    return (folder.name, sources, mixture), fault


def _without_faults(
    rows: Sequence[tuple[completeness.Row, str | None]], skip: bool
) -> Iterator[completeness.Row]:
    faults = [fault for _, fault in rows if fault]
    if faults:
        fault = f"{CORPUS}: {faults[0]} (first of {len(faults)} of {len(rows)} tracks)"
        completeness.report(fault, skip=skip and len(faults) < len(rows))
    yield from (row for row, fault in rows if not fault)


FAMILIES = (
    "piano",
    "chromatic percussion",
    "organ",
    "guitar",
    "bass",
    "strings",
    "ensemble",
    "brass",
    "reed",
    "pipe",
    "synth lead",
    "synth pad",
    "synth effects",
    "ethnic",
    "percussive",
    "sound effects",
)
"""Instruments of General MIDI, eight programs each from number 0."""
DRUMS = 128
# The C loader is as safe, and reads 1500 metadata files in seconds.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def instrument(stem: Mapping[str, Any]) -> str:
    """Return the instrument of a stem from its metadata.

    Args:
        stem: Entry of metadata.yaml, with ``program_num`` and ``is_drum``.

    Returns:
        ``"drums"``, one of :data:`FAMILIES`, or the value of ``inst_class`` if there
        is no program number.

    >>> instrument({"program_num": 33, "is_drum": False})
    'bass'
    >>> instrument({"program_num": 128})
    'drums'
    """
    program = stem.get("program_num")
    if stem.get("is_drum") or program == DRUMS:
        return "drums"
    if isinstance(program, int) and 0 <= program < DRUMS:
        return FAMILIES[program // 8]
    return str(stem.get("inst_class", "unknown")).lower()


def rendered_stems(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the rendered stems of a track.

    Args:
        folder: Folder of the track, with its metadata.yaml.

    Returns:
        The entry of each stem by its name, such as ``S00``.

    Raises:
        CorpusError: The file is not such metadata. Nothing in it is executed.
    """
    path = folder / "metadata.yaml"
    try:
        metadata = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
        stems = dict(sorted(metadata["stems"].items()))
        return {
            name: stem for name, stem in stems.items() if stem.get("audio_rendered")
        }
    # Whatever a constructor of YAML meets, and another structure lacks.
    except Exception as error:
        raise CorpusError(
            f"Slakh2100: {path} is not the metadata of a track with its stems "
            f"({type(error).__name__}); unpack the track again."
        ) from error
