"""The recipe of an augmented set: all that decides its files, beside the sources."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.corpora import fuss
from common.corpora.track import CorpusError


@dataclass(frozen=True)
class Recipe:
    """How a set is made.

    Attributes:
        train: Number of mixtures for training.
        validation: Number of mixtures for validation.
        eval: Number of mixtures for evaluation.
        seed: Equal seeds and sources give equal files.
        seconds: Length of every mixture; longer files are backgrounds, others
            foregrounds.
        sample_rate: That of all sources and responses, in Hz.
        max_foregrounds: A mixture has 0 to so many foregrounds, each as often.
        unique_labels: Whether a mixture takes at most one file from a folder.
        align_sources: Whether a reverberant source keeps the place of the dry one.
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
        """Refuse a recipe that cannot be cooked."""
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
