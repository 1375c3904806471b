"""Configuration of the augmentation of training excerpts, the same in all packages.

:mod:`common.corpora.augmented` applies it; configurations are read without TensorFlow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.config import ConfigError

TAPS = 32
"""Length of the interpolation filter, in samples."""

PHASES = 256
"""Steps of the speed in a factor of 1, of some 7 cents."""

SPEEDS = (0.5, 2.0)


@dataclass(frozen=True)
class Augment:
    """Augmentation of the sources of a training excerpt; by default none.

    Attributes:
        speed: Range of the factor by which all sources of an excerpt are played faster,
            in steps of 1 / 256; pitch changes with it.
        gain_db: Range of the gain of each source, in dB.
        polarity: Invert the polarity of each source with a probability of 1/2.
        swap: Exchange the two channels of each source with a probability of 1/2.
        remix: Take each source from another excerpt with a probability of 1/2.

    Raises:
        ConfigError: A range is not valid.
    """

    speed: tuple[float, float] = (1.0, 1.0)
    gain_db: tuple[float, float] = (0.0, 0.0)
    polarity: bool = False
    swap: bool = False
    remix: bool = False

    def __post_init__(self) -> None:
        low, high = self.speed
        if not SPEEDS[0] <= low <= high <= SPEEDS[1]:
            raise ConfigError(
                f"augment.speed={low:g},{high:g}: expected the lowest and the "
                f"highest factor, {SPEEDS[0]:g} to {SPEEDS[1]:g}, such as 0.95,1.05"
            )
        low, high = self.gain_db
        if not -math.inf < low <= high < math.inf:
            raise ConfigError(
                f"augment.gain_db={low:g},{high:g}: expected the lowest and the "
                "highest gain in dB, such as -6,6"
            )

    @property
    def is_on(self) -> bool:
        """Whether anything is changed."""
        return self != Augment()

    @property
    def needs_length(self) -> bool:
        """Whether excerpts must have one length."""
        return self.remix or self.speed != (1.0, 1.0)

    def reading(self, samples: int) -> int:
        """Return the number of samples to read for an excerpt; more if played faster.

        >>> Augment(speed=(0.95, 1.05)).reading(1000), Augment().reading(1000)
        (1083, 1000)
        """
        if self.speed == (1.0, 1.0):
            return samples
        return math.ceil(samples * self.speed[1]) + TAPS + 1
