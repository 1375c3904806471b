"""Clean sounds to mix: by speaker or by kind of sound, divided among splits.

A pool holds sounds by label and by name. In a folder the label is the first folder
below it, or what a pattern finds in the path; in a corpus it is the name of the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.corpora import reading, sound_files
from common.corpora.recordings import SUFFIXES
from common.corpora.track import Channel, CorpusError, Sum, Track
from common.files import user_path

SPLITS = ("train", "valid", "test")
ALIASES = {"tr": "train", "cv": "valid", "validation": "valid", "val": "valid"}
ALIASES |= {"tt": "test", "eval": "test"} | {split: split for split in SPLITS}
HELD_OUT = 0.1
LIST = "@"


class Clean(NamedTuple):
    """A sound in files, with its rate in Hz and its length in samples."""

    sound: Path | Channel | Sum
    sample_rate: int
    samples: int


Pool = Mapping[str, Mapping[str, Clean]]
"""Clean sounds by label and by name."""


@dataclass(frozen=True)
class Rules:
    """How the sounds of a folder are told apart; patterns are searched in paths.

    Attributes:
        speaker: Pattern whose first group is the label; none: the first folder.
        test: Pattern of the sounds that are heard in the test split alone, or ``@`` and
            a file that lists their paths; none: no sound belongs to it by its path.
        valid: The same for the validation, of what is not for the test.
        match: Pattern of the sounds to use; none: all.
        exclude: Pattern of sounds to leave out; none: none.
        by_label: Where neither folders nor patterns tell the splits: whether whole
            labels are held out (speakers), rather than names (songs).
        least: Labels that a split must have.
        seed: Seed of the division.
    """

    speaker: str | None = None
    test: str | None = None
    valid: str | None = None
    match: str | None = None
    exclude: str | None = None
    by_label: bool = True
    least: int = 2
    seed: int = 0


def of_folder(root: Path, rules: Rules) -> dict[str, Pool]:
    """Find the clean sounds of a folder and divide them among the splits.

    Folders named as splits (``train``, ``valid``, ``test``, or ``tr``, ``cv``, ``tt``)
    divide them; else the patterns do, else a tenth is held out for each of valid and
    test.

    Args:
        root: The folder, searched to any depth.
        rules: How they are told apart.

    Returns:
        A pool by split; a split that the patterns leave empty is not in it.

    Raises:
        CorpusError: There is nothing to use, a sound has no label, or a pattern is
            wrong or finds nothing.
    """
    place = reading.folder_of("clean sounds", user_path(root), "sounds by label")
    files = _files(place, rules)
    heads = {file.split("/")[0] for file in files}
    if heads <= set(ALIASES):
        splits = {file: ALIASES[file.split("/")[0]] for file in files}
        pools = _pools(place, splits, lambda file: file.partition("/")[2], rules)
    elif rules.test or rules.valid:
        pools = _pools(place, _by_pattern(files, rules), str, rules)
    else:
        whole = _pools(place, dict.fromkeys(files, "train"), str, rules)["train"]
        pools = divide(whole, rules)
    return pools


def of_tracks(tracks: Iterable[Track]) -> Pool:
    """Sort the sources of tracks by their names.

    Raises:
        CorpusError: A source is no file.
    """
    pool: dict[str, dict[str, Clean]] = {}
    for track in tracks:
        for name, sound in track.sources.items():
            if isinstance(sound, np.ndarray):
                raise CorpusError(f"{track.name}/{name} is no file; write it first.")
            clean = Clean(sound, track.sample_rate, track.samples)
            pool.setdefault(name, {})[track.name] = clean
    return pool


def divide(pool: Pool, rules: Rules) -> dict[str, Pool]:
    """Hold out a tenth of the labels, or of the names, for each of valid and test.

    Raises:
        CorpusError: There are too few.

    >>> a = Clean(Path("a.wav"), 8000, 100)
    >>> parts = divide({str(n): {"a.wav": a} for n in range(20)}, Rules())
    >>> [len(parts[split]) for split in SPLITS]
    [16, 2, 2]
    """
    names = {name for sounds in pool.values() for name in sounds}
    items = sorted(pool if rules.by_label else names)
    least = rules.least if rules.by_label else 1
    held = max(least, round(HELD_OUT * len(items)))
    if len(items) < 3 * least:
        raise CorpusError(
            f"clean sounds: {len(items)} {'labels' if rules.by_label else 'names'} "
            f"cannot be divided into train, valid and test of {least} or more each; "
            "add more, or tell the splits apart by --test-files and --valid-files."
        )
    order = np.random.default_rng(rules.seed).permutation(len(items))
    shuffled = [items[place] for place in order]
    parts = (shuffled[2 * held :], shuffled[held : 2 * held], shuffled[:held])
    return {
        split: _only(pool, set(part), rules.by_label)
        for split, part in zip(SPLITS, parts, strict=True)
    }


def _only(pool: Pool, items: set[str], by_label: bool) -> Pool:
    if by_label:
        return {label: pool[label] for label in pool if label in items}
    kept = {
        label: {name: clean for name, clean in sounds.items() if name in items}
        for label, sounds in pool.items()
    }
    return {label: sounds for label, sounds in kept.items() if sounds}


def _files(place: Path, rules: Rules) -> list[str]:
    """Paths of the sounds to use, relative to the folder."""
    found = sorted(
        file.relative_to(place).as_posix()
        for file in sound_files.sounds_below(place, SUFFIXES)
    )
    wanted = _finder(rules.match) if rules.match else lambda file: True
    unwanted = _finder(rules.exclude) if rules.exclude else lambda file: False
    files = [file for file in found if wanted(file) and not unwanted(file)]
    if not files:
        raise CorpusError(
            f"clean sounds: {place} holds {len(found)} sound(s), of which --match "
            f"{rules.match!r} and --exclude {rules.exclude!r} leave none; check them."
        )
    return files


def _by_pattern(files: Iterable[str], rules: Rules) -> dict[str, str]:
    """Split of each file: that of the test first, then that of the validation."""
    splits = dict.fromkeys(files, "train")
    for split, pattern in (("valid", rules.valid), ("test", rules.test)):
        if pattern is None:
            continue
        held = [file for file in splits if _finder(pattern)(file)]
        if not held:
            raise CorpusError(
                f"clean sounds: --{split}-files {pattern!r} finds none of "
                f"{len(splits)} sounds, such as {next(iter(splits))}; check it."
            )
        splits |= dict.fromkeys(held, split)
    return splits


def _finder(pattern: str) -> Callable[[str], bool]:
    """Tell the paths that a pattern, or a list of paths after ``@``, means."""
    if pattern.startswith(LIST):
        lines = Path(pattern[1:]).read_text(encoding="utf-8").splitlines()
        return {line.strip() for line in lines}.__contains__
    compiled = _compiled(pattern)
    return lambda file: compiled.search(file) is not None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise CorpusError(
            f"the pattern {pattern!r} is no regular expression ({error}); quote what "
            "is meant literally with a backslash."
        ) from error


def _pools(
    place: Path,
    splits: Mapping[str, str],
    inner: Callable[[str], str],
    rules: Rules,
) -> dict[str, Pool]:
    """Measure sounds and sort them by split, label and name."""
    infos = reading.measure(place / file for file in splits)
    pools: dict[str, dict[str, dict[str, Clean]]] = {}
    for file, split in splits.items():
        label, name = _labelled(inner(file), rules)
        info = infos[place / file]
        clean = Clean(place / file, info.sample_rate, info.samples)
        pools.setdefault(split, {}).setdefault(label, {})[name] = clean
    return dict(pools)


def _labelled(file: str, rules: Rules) -> tuple[str, str]:
    """Label of a sound and its name within the label."""
    if rules.speaker is None:
        label, _, name = file.partition("/")
        if not name:
            raise CorpusError(
                f"clean sounds: {file} lies in no folder that would name its label; "
                "sort sounds into folders, or name a pattern with --speaker."
            )
        return label, name
    found = _compiled(rules.speaker).search(file)
    if found is None or not found.groups() or not found[1]:
        raise CorpusError(
            f"clean sounds: --speaker {rules.speaker!r} finds no speaker in {file}; "
            "expected a pattern with one group, such as '^([a-z]+)_'."
        )
    return found[1], file
