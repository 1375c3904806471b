"""Mixing lists: file, excerpt, offset, level and room of every source of a mixture.

The distributions are those of FUSS, which uses Scaper [1]: a background throughout, and
up to three foregrounds of random onset and level. A foreground is never trimmed: if it
would end after the mixture it starts earlier, as in Scaper.

No sound is read for a draw, and no file is drawn a second time before all files were
drawn once, so that a mixture depends on those before it. :mod:`common.corpora.mixing`
makes sets in the same layout from recordings of any length, whose draws depend on what
is audible.

[1] Salamon et al., Scaper: A Library for Soundscape Synthesis and Augmentation,
    WASPAA 2017.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from common.corpora import fuss
from common.corpora.recordings import find_kinds
from common.corpora.track import CorpusError
from common.files import write_text

SNR_DB = (-5.0, 25.0)
"""Lowest and highest level of a foreground over the background."""
MIXTURES, BACKGROUNDS, FOREGROUNDS, ROOMS = range(4)
"""Purpose of a random generator, as part of its seed."""


@dataclass(frozen=True)
class Recipe:
    """Parameters of a set of mixtures.

    Attributes:
        train: Number of mixtures for training.
        validation: Number of mixtures for validation.
        eval: Number of mixtures for evaluation.
        seed: Equal seeds and sources give equal files.
        seconds: Length of every mixture; longer files are backgrounds, others
            foregrounds.
        sample_rate: Rate of all sources and responses, in Hz.
        max_foregrounds: A mixture has 0 to this number of foregrounds, uniformly.
        unique_labels: Whether a mixture has at most one file of a folder.
        align_sources: Whether a reverberant source is aligned with the dry one.
    """

    train: int = 20_000
    validation: int = 1_000
    eval: int = 0
    seed: int = 2020
    seconds: float = 10.0
    sample_rate: int = 16_000
    max_foregrounds: int = 3
    unique_labels: bool = False
    align_sources: bool = False

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        for name in (*fuss.SPLITS, "seed", "max_foregrounds"):
            if getattr(self, name) < 0:
                raise CorpusError(f"{name} is {getattr(self, name)}; it starts at 0.")
        if not any(self.counts.values()):
            raise CorpusError("No mixture is asked for; give --train or another count.")
        if not (math.isfinite(self.seconds) and self.samples >= 1):
            raise CorpusError(
                f"Mixtures of {self.seconds:g} s at {self.sample_rate} Hz hold no "
                "sample; both must be above 0."
            )

    @property
    def counts(self) -> dict[str, int]:
        """Number of mixtures of each split, in the order in which they are made."""
        return {split: getattr(self, split) for split in reversed(fuss.SPLITS)}

    @property
    def samples(self) -> int:
        """Length of every mixture in samples."""
        return round(self.seconds * self.sample_rate) if self.sample_rate > 0 else 0


class Event(NamedTuple):
    """A source of a mixture; counts are in samples.

    Attributes:
        file: The sound, below the folder of sources.
        start: First sample of the excerpt.
        samples: Length of the excerpt.
        offset: Position in the mixture.
        snr_db: Level over the background; None for the background.
        response: Its room impulse response, below the folder of rooms; None: dry only.
    """

    file: str
    start: int
    samples: int
    offset: int
    snr_db: float | None
    response: str | None = None


class Mixture(NamedTuple):
    """A mixture and its events, the background first.

    Attributes:
        name: Folder and stem, as ``train/example00012``.
        events: One for each source.
    """

    name: str
    events: tuple[Event, ...]

    @property
    def files(self) -> list[str]:
        """Names of the mixture and of its sources below the root of a set.

        >>> Mixture("eval/example7", (Event("a.wav", 0, 1, 0, None),)).files
        ['eval/example7.wav', 'eval/example7_sources/background0_sound.wav']
        """
        roles = [
            "background0",
            *(f"foreground{n}" for n in range(len(self.events) - 1)),
        ]
        sources = [f"{self.name}_sources/{role}_sound.wav" for role in roles]
        return [f"{self.name}.wav", *sources]


def find_sources(folder: Path, split: str, recipe: Recipe) -> dict[str, int]:
    """Find the sounds of a split.

    Args:
        folder: The folder of sources, ``fsd_data`` of FUSS.
        split: The split.
        recipe: Recipe with the sample rate.

    Returns:
        Length in samples by path below the folder, sorted.

    Raises:
        CorpusError: The split is missing, empty or of another sample rate.
    """
    if not (folder / split).is_dir():
        raise CorpusError(
            f"The folder of sources {folder} has no folder {split}; pass fsd_data of "
            f"FUSS or one laid out like it, or --{split} 0."
        )
    (recordings,) = find_kinds([folder / split]).values()
    for recording in recordings:
        if recording.sample_rate != recipe.sample_rate:
            raise CorpusError(
                f"{recording.path} has {recording.sample_rate} Hz instead of "
                f"{recipe.sample_rate} Hz; pass --sample-rate {recording.sample_rate} "
                "if all sources have it, or resample them."
            )
    return {
        recording.path.relative_to(folder).as_posix(): recording.samples
        for recording in recordings
    }


def divide(files: Mapping[str, int], samples: int) -> tuple[list[str], list[str]]:
    """Divide files into backgrounds, longer than a mixture, and foregrounds.

    Args:
        files: Length in samples by name.
        samples: Length of a mixture.

    Returns:
        Names of the backgrounds and of the foregrounds.

    >>> divide({"rain": 11, "bell": 10}, 10)
    (['rain'], ['bell'])
    """
    backgrounds = [name for name, length in files.items() if length > samples]
    return backgrounds, [name for name in files if files[name] <= samples]


def draw(recipe: Recipe, split: str, files: Mapping[str, int]) -> list[Mixture]:
    """Draw the mixtures of a split.

    Args:
        recipe: Parameters of the set.
        split: The split.
        files: Length in samples by name, from :func:`find_sources`.

    Returns:
        As many as in the recipe, numbered with leading zeros.

    Raises:
        CorpusError: There is no background, no foreground although some are required,
            or too few labels.
    """
    parts = divide(files, recipe.samples)
    _check_enough(recipe, split, *parts)
    seed = (recipe.seed, fuss.SPLITS.index(split))
    backgrounds = endless(parts[0], *seed, BACKGROUNDS)
    foregrounds = endless(parts[1], *seed, FOREGROUNDS)
    mixtures = []
    count = recipe.counts[split]
    for number in range(count):
        rng = np.random.default_rng([*seed, MIXTURES, number])
        chosen = [next(backgrounds)]
        for _ in range(rng.integers(recipe.max_foregrounds + 1)):
            used = set(map(_label, chosen)) if recipe.unique_labels else set()
            chosen.append(next(f for f in foregrounds if _label(f) not in used))
        events = [_place(rng, name, files[name], recipe.samples) for name in chosen]
        events[0] = events[0]._replace(snr_db=None)
        name = f"{split}/example{number:0{len(str(count))}d}"
        mixtures.append(Mixture(name, tuple(events)))
    return mixtures


def endless(items: Sequence[str], *seed: int) -> Iterator[str]:
    """Yield items in shuffled order without end, each time in a new order.

    Args:
        items: At least one item.
        *seed: Three numbers.

    Yields:
        The items; none repeats before all have been yielded.

    >>> some = endless(["a", "b", "c"], 0, 0, 0)
    >>> sorted(next(some) for _ in range(3))
    ['a', 'b', 'c']
    """
    for turn in itertools.count():
        order = np.random.default_rng([*seed, turn]).permutation(len(items))
        yield from (items[index] for index in order)


def _label(file: str) -> str:
    """Return the label of a file, the name of its folder."""
    return PurePosixPath(file).parent.name


def _place(
    rng: np.random.Generator, file: str, length: int, scene_samples: int
) -> Event:
    """Draw excerpt, onset and level of a file in a mixture."""
    samples = min(length, scene_samples)
    start = int(rng.integers(length - samples + 1))
    offset = min(int(rng.integers(scene_samples)), scene_samples - samples)
    return Event(file, start, samples, offset, float(rng.uniform(*SNR_DB)))


def _check_enough(
    recipe: Recipe, split: str, backgrounds: Sequence[str], foregrounds: Sequence[str]
) -> None:
    """Refuse a split without enough files for its mixtures."""
    if not backgrounds:
        raise CorpusError(
            f"The sources of {split} hold no background: none of {len(foregrounds)} "
            f"files is longer than {recipe.seconds:g} s; lower --seconds or add one."
        )
    if recipe.max_foregrounds and not foregrounds:
        raise CorpusError(
            f"The sources of {split} hold no foreground: all {len(backgrounds)} files "
            f"are longer than {recipe.seconds:g} s; add one, or pass "
            "--max-foregrounds 0."
        )
    if not recipe.unique_labels:
        return
    labels = set(map(_label, foregrounds))
    for name in backgrounds:
        if len(labels - {_label(name)}) < recipe.max_foregrounds:
            raise CorpusError(
                f"The foregrounds of {split} have {len(labels)} labels (folders), too "
                f"few for {recipe.max_foregrounds} foregrounds of different labels "
                f"beside {name}; leave out --unique-labels or lower --max-foregrounds."
            )


def write(path: Path, mixtures: Sequence[Mixture]) -> None:
    """Write a mixing list, a JSON object a line.

    Args:
        path: The file.
        mixtures: The mixtures.
    """
    rows = (
        {"name": mixture.name, "events": [event._asdict() for event in mixture.events]}
        for mixture in mixtures
    )
    write_text(path, "".join(f"{json.dumps(row)}\n" for row in rows))


def read(path: Path) -> list[Mixture]:
    """Read a mixing list.

    Args:
        path: The file.

    Returns:
        Its mixtures.

    Raises:
        CorpusError: It is missing or not a list of :func:`write`.
    """
    try:
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return [
            Mixture(row["name"], tuple(Event(**event) for event in row["events"]))
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorpusError(
            f"{path} is not a mixing list ({error}); remove the folder and make the "
            "set again."
        ) from error
