"""FUSS, the Free Universal Sound Separation data set, read from its example lists.

A line of ``{split}_example_list.txt`` holds tab separated paths: the mixture, the
background, then the foregrounds. The mixture is the sum of its sources, so its file is
never read. Any folder with such lists is a corpus; ``python -m common.corpora.mixing``
makes one from your recordings (see :mod:`common.corpora.mixing`).
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import audio
from common.corpora import reading, sound_files
from common.corpora.track import BadTrack, Channel, CorpusError, Sound, Track
from common.corpora.writing import write_sum
from common.files import user_path, write_text

LOG = logging.getLogger(__name__)

SPLITS = ("train", "validation", "eval")
SIZES = {"train": 20_000, "validation": 1_000, "eval": 1_000}
"""Examples of each split of the published data set (10 s, 16 kHz, mono, 16 bits)."""
FOLDERS = ("fuss_dev/ssdata", "ssdata", "fuss_dev/ssdata_reverb", "ssdata_reverb")
"""Subfolders that may hold the lists, the dry set before the reverberant one."""
REMOTE = "https://zenodo.org/records/3743844/files/"
REMOTES = {
    "dry": "FUSS_ssdata.tar.gz",
    "reverberant": "FUSS_ssdata_reverb.tar.gz",
    "single sources": "FUSS_fsd_data.tar.gz",
    "room responses": "FUSS_rir_data.tar.gz",
    "licences": "FUSS_license_doc.tar.gz",
}
"""Archives below REMOTE; ``get_fuss.sh`` fetches them."""


class Example(NamedTuple):
    """One line of an example list: its number, the mixture and the source files."""

    line: int
    mixture: Path
    sources: tuple[Path, ...]


def find_root(folder: Path | str) -> Path:
    """Return the folder that holds the example lists.

    Args:
        folder: That folder, or one that holds it as ``fuss_dev/ssdata``, ``ssdata`` or,
            if the dry set is absent, ``ssdata_reverb``.

    Returns:
        The folder of the lists.

    Raises:
        CorpusError: The folder is missing or none of these holds a list.

    >>> find_root("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    common.corpora.track.CorpusError: FUSS: the folder no/such/folder does not exist...
    """
    folder = user_path(folder)
    if not folder.is_dir():
        raise CorpusError(
            f"FUSS: {reading.no_folder(folder)}; pass the one that holds "
            f"{list_name('train')}, or its parent."
        )
    for root in [folder, *(folder / name for name in FOLDERS)]:
        if any((root / list_name(split)).is_file() for split in SPLITS):
            return root
    raise CorpusError(
        f"FUSS: no {list_name('train')} in {folder} or its {', '.join(FOLDERS)}; the "
        f"folder holds {reading.contents(folder)}; fetch FUSS with ./get_fuss.sh (or "
        f"unpack {REMOTES['dry']} from {REMOTE} there), or make a set of your own with "
        "python -m common.corpora.mixing."
    )


def list_name(split: str) -> str:
    """Return the file name of the example list of a split.

    Args:
        split: ``"train"``, ``"validation"`` or ``"eval"``.

    Raises:
        CorpusError: There is no such split.

    >>> list_name("eval")
    'eval_example_list.txt'
    """
    if split not in SPLITS:
        raise CorpusError(f"FUSS: no split {split!r}; it has {', '.join(SPLITS)}.")
    return f"{split}_example_list.txt"


def source_names(count: int) -> tuple[str, ...]:
    """Return the names of the sources by their position in a line of a list.

    Args:
        count: Number of sources, at least 1.

    Returns:
        ``background``, ``foreground_1``, ``foreground_2``, ...

    >>> source_names(3)
    ('background', 'foreground_1', 'foreground_2')
    """
    return ("background", *(f"foreground_{index}" for index in range(1, count)))


def tracks(
    root: Path | str,
    split: str,
    *,
    bad: list[BadTrack] | None = None,
    first_channel: bool = False,
) -> list[Track]:
    """Return a split as tracks whose mixture is the sum of their sources.

    Args:
        root: Folder of the lists, or a parent as in :func:`find_root`.
        split: ``"train"``, ``"validation"`` or ``"eval"``.
        bad: List to which the examples with a missing, broken or empty file are
            added, which are then left out; None raises an error for the first.
        first_channel: Take the first channel of files with several, as the original
            program does.

    Returns:
        Tracks in the order of the list, named after their mixture files, as long as
        their longest source.

    Raises:
        CorpusError: The list is missing, empty or malformed, names missing files, or
            the files differ in sample rate.
    """
    root = find_root(root)
    examples = read_list(root, split, check_files=bad is None)
    named = dict(zip(_names(root, examples), examples, strict=True))
    files = [file for example in examples for file in example.sources]
    if bad is None:
        infos = reading.measure(files)
    else:
        infos = _leave_out(root / list_name(split), named, files, bad)
    rate = _one_rate(infos)
    _compare_size(root, split, len(examples))
    result = []
    for name, example in named.items():
        samples = max(infos[file].samples for file in example.sources)
        sounds: Sequence[Sound] = example.sources
        if first_channel:
            sounds = [_first_channel(file, infos[file]) for file in example.sources]
        sources = dict(zip(source_names(len(sounds)), sounds, strict=True))
        result.append(Track(name, rate, samples, sources))
    return result


def read_list(root: Path, split: str, *, check_files: bool = True) -> list[Example]:
    """Return the examples of a split, after a check that their sources exist.

    Args:
        root: Folder of the lists.
        split: ``"train"``, ``"validation"`` or ``"eval"``.
        check_files: Make that check.

    Returns:
        The examples, with paths below the root.

    Raises:
        CorpusError: The list is missing, empty or malformed, or names missing files.
    """
    path = root / list_name(split)
    if not path.is_file():
        present = [list_name(other) for other in SPLITS]
        present = [name for name in present if (root / name).is_file()]
        has = ", ".join(present) or "no list"
        raise CorpusError(f"FUSS: {root} has no {path.name}; it has {has}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"FUSS: {path} is not UTF-8 text ({error.reason} at byte {error.start}); "
            "save it as UTF-8."
        ) from error
    if "\0" in text:
        raise CorpusError(
            f"FUSS: {path} holds a byte 0, which no list of files does; copy it again."
        )
    examples = list(_parse(path, text))
    if not examples:
        raise CorpusError(f"FUSS: {path} names no example; every line is empty.")
    if check_files:
        _check_files(path, examples)
    return examples


def write_example(
    root: Path, split: str, index: int, sources: np.ndarray, sample_rate: int
) -> str:
    """Write the wav files of one example under the names of FUSS.

    Args:
        root: Folder of the lists.
        split: ``"train"``, ``"validation"`` or ``"eval"``.
        index: Number of the example in its split.
        sources: [sources, samples], full scale +-1, the background first; all are
            scaled down together if one would clip.
        sample_rate: In Hz.

    Returns:
        The example's line of the list.
    """
    stem = f"{split}/example{index:05d}"
    labels = ["background0", *(f"foreground{i}" for i in range(len(sources) - 1))]
    names = [f"{stem}.wav", *(f"{stem}_sources/{label}_sound.wav" for label in labels)]
    mixture, *files = names
    named = dict(zip(files, sources, strict=True))
    write_sum(root, "{}", mixture, named, sample_rate)
    return "\t".join(names)


def write_list(root: Path, split: str, lines: Sequence[str]) -> None:
    """Write the example list of a split, atomically.

    Args:
        root: Folder of the lists.
        split: ``"train"``, ``"validation"`` or ``"eval"``.
        lines: Result of :func:`write_example` for each example.
    """
    write_text(root / list_name(split), "".join(f"{line}\n" for line in lines))


def _parse(path: Path, text: str) -> Iterator[Example]:
    """Yield the examples in the text of a list; blank lines are skipped."""
    for number, line in enumerate(text.split("\n"), 1):
        fields = [field.strip() for field in line.split("\t")]
        fields = [field for field in fields if field]
        if not fields:
            continue
        if len(fields) == 1:
            raise CorpusError(
                f"FUSS: {path} line {number} names only the mixture {fields[0]}; its "
                "sources must follow, separated by tabs."
            )
        mixture, *sources = (sound_files.listed(field, path.parent) for field in fields)
        yield Example(number, mixture, tuple(sources))


def _check_files(path: Path, examples: Sequence[Example]) -> None:
    """Raise an error for a list that names missing sources."""
    missing = [
        (file, example.line)
        for example in examples
        for file in example.sources
        if not os.path.isfile(file)  # noqa: PTH113 (is_file raises for long names)
    ]
    if missing:
        file, line = missing[0]
        total = sum(len(example.sources) for example in examples)
        raise CorpusError(
            f"FUSS: {path} line {line} names {file}, which does not exist "
            f"({len(missing)} of {total} source files are missing); unpack the archive "
            "again or correct the list."
        )


def _names(root: Path, examples: Sequence[Example]) -> list[str]:
    """Return unique names: those of the mixtures, with the folder if two are equal.

    Mixtures of one path are numbered from the second on, as their sources may differ.
    """
    paths = [example.mixture.with_suffix("") for example in examples]
    folders = Counter(path.name for path in set(paths))
    names: dict[str, None] = {}
    used: Counter[str] = Counter()
    for path in paths:
        plain = path.name if folders[path.name] == 1 else os.path.relpath(path, root)
        name = plain
        while name in names:
            used[plain] += 1
            name = f"{plain}-{used[plain] + 1}"
        names[name] = None
    return list(names)


def _leave_out(
    path: Path,
    named: dict[str, Example],
    files: Sequence[Path],
    bad: list[BadTrack],
) -> dict[Path, audio.AudioInfo]:
    """Leave out the examples with a file that cannot be read; add them to ``bad``."""
    infos, faults = reading.readable(files)
    reasons = {file: str(fault) for file, fault in faults.items()}
    reasons |= {
        file: f"{file} holds no sound (0 samples)"
        for file, info in infos.items()
        if info.samples == 0
    }
    for name, example in list(named.items()):
        reason = next((reasons[f] for f in example.sources if f in reasons), None)
        if reason is not None:
            bad.append(BadTrack(name, reason))
            del named[name]
    if not named:
        raise CorpusError(
            f"FUSS: {path} names no example that can be read; the first: "
            f"{bad[0].reason}; unpack the archive again."
        )
    used = {file for example in named.values() for file in example.sources}
    return {file: info for file, info in infos.items() if file in used}


def _first_channel(file: Path, info: audio.AudioInfo) -> Sound:
    # A mono file stays a path, so that its records are those of earlier releases.
    return file if info.channels == 1 else Channel(file, 0)


def _one_rate(infos: dict[Path, audio.AudioInfo]) -> int:
    """Return the sample rate of all files."""
    first, expected = next(iter(infos.items()))
    for file, info in infos.items():
        if info.sample_rate != expected.sample_rate:
            raise CorpusError(
                f"FUSS: {first} has {expected.sample_rate} Hz but {file} has "
                f"{info.sample_rate} Hz; resample the set to one rate."
            )
        if info.samples == 0:
            raise CorpusError(f"FUSS: {file} holds no sound (0 samples); replace it.")
    return expected.sample_rate


def _compare_size(root: Path, split: str, count: int) -> None:
    """Warn if a set in the folder of the published one has another size."""
    if root.parent.name == "fuss_dev" and count != SIZES[split]:
        LOG.warning(
            "FUSS: %s names %d examples; the published %s split has %d.",
            root / list_name(split),
            count,
            split,
            SIZES[split],
        )
