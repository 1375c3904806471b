"""Find your recordings by kind of sound, and divide them among splits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import audio
from common.corpora import reading, sound_files
from common.corpora.track import CorpusError

TIME_PARTS = {"train": (0.0, 0.65), "validation": (0.65, 0.75), "eval": (0.75, 1.0)}
"""Part of a recording for each split, if recordings are cut in time."""
FILE_SHARES = {"eval": 0.2, "validation": 0.1}
MANY = 10
"""Kinds with this many recordings are divided by file even with --by-time."""


class Recording(NamedTuple):
    """Part of a file that a split may use, in samples at the file's rate."""

    path: Path
    sample_rate: int
    start: int
    samples: int

    @property
    def seconds(self) -> float:
        """Length of the part."""
        return self.samples / self.sample_rate


Kinds = Mapping[str, Sequence[Recording]]
"""Recordings that a split may use, by kind of sound."""


def find_kinds(sources: Sequence[Path]) -> dict[str, list[Recording]]:
    """Return the recordings of each kind of sound.

    Args:
        sources: Folders, searched to any depth, or files.

    Returns:
        Full recordings of each source, by the source's path.

    Raises:
        CorpusError: A source is missing, named twice or holds no recording, or a
            recording lies in two sources.
    """
    kinds: dict[str, list[Recording]] = {}
    owners: dict[str, str] = {}
    for source in sources:
        if not source.exists():
            raise CorpusError(f"The source {source} does not exist.")
        files = [source]
        if source.is_dir():
            files = sound_files.sounds_below(source, audio.SUFFIXES)
        if not files:
            raise CorpusError(
                f"The folder {source} holds no recording; looked to any depth for "
                f"{' '.join(audio.SUFFIXES)}."
            )
        if str(source) in kinds:
            raise CorpusError(f"The source {source} is named twice; name it once.")
        for file in files:
            # Two sources are divided apart, so it could be in training and test.
            owner = owners.setdefault(os.path.realpath(file), str(source))
            if owner != str(source):
                raise CorpusError(
                    f"The recording {file} lies in {owner} and in {source}; name "
                    "sources that share none."
                )
        kinds[str(source)] = [
            Recording(file, info.sample_rate, 0, info.samples)
            for file, info in reading.measure(files).items()
        ]
    return kinds


def divide(
    kinds: Kinds, splits: Sequence[str], *, by_time: bool, seed: int
) -> dict[str, dict[str, list[Recording]]]:
    """Divide the recordings of every kind among disjoint splits.

    Args:
        kinds: Recordings of each kind.
        splits: Names of the splits, of ``train``, ``validation`` and ``eval``.
        by_time: Cut each recording in time (first part for training, last quarter for
            eval) if a kind has fewer than MANY.
        seed: Seed of the division by file.

    Returns:
        Recordings by split and kind.

    Raises:
        CorpusError: A kind has fewer recordings than there are splits, or parts of no
            length.
    """
    divided: dict[str, dict[str, list[Recording]]] = {split: {} for split in splits}
    for index, (name, recordings) in enumerate(kinds.items()):
        if by_time and len(recordings) < MANY:
            parts = {
                s: [_cut(recording, s) for recording in recordings] for s in splits
            }
        else:
            rng = np.random.default_rng([seed, index])
            parts = _by_file(name, recordings, splits, rng)
        for split, part in parts.items():
            divided[split][name] = [
                recording for recording in part if recording.samples > 0
            ]
            if not divided[split][name]:
                raise CorpusError(
                    f"The source {name} is too short to be divided among "
                    f"{', '.join(splits)}; add recordings."
                )
    return divided


def _cut(recording: Recording, split: str) -> Recording:
    """Return the part of a recording that belongs to a split."""
    first, last = (round(share * recording.samples) for share in TIME_PARTS[split])
    return recording._replace(start=first, samples=last - first)


def _by_file(
    name: str,
    recordings: Sequence[Recording],
    splits: Sequence[str],
    rng: np.random.Generator,
) -> dict[str, list[Recording]]:
    """Divide full recordings at random: a fifth for eval, a tenth for validation."""
    if len(recordings) < len(splits):
        raise CorpusError(
            f"The source {name} has {len(recordings)} recording(s), too few to divide "
            f"among {', '.join(splits)}; pass --by-time to cut recordings in time, or "
            "add recordings."
        )
    shuffled = [recordings[index] for index in rng.permutation(len(recordings))]
    parts = {}
    for split in reversed(splits[1:]):
        count = max(1, round(FILE_SHARES[split] * len(recordings)))
        parts[split], shuffled = shuffled[:count], shuffled[count:]
    return {splits[0]: shuffled, **parts}
