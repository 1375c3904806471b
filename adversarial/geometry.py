"""How large the separator's images are, and where they lie on each other.

Its convolutions see no padding, so an image shrinks on its way: what comes out is the
centre of what goes in. Both axes follow the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from adversarial.config import ModelConfig
from common.config import ConfigError


@dataclass(frozen=True)
class Geometry:
    """Sizes of the images of one training example, in bins and frames.

    Attributes:
        input_bins: Rows of the mixture with its context.
        input_frames: Frames of the mixture with its context.
        output_bins: Rows of the estimates and sources.
        output_frames: Frames of the estimates and sources.
        critic_bins: Rows that the critics see.
        critic_frames: Frames that the critics see.
        period: Frames by which a longer input must grow: only shifts by a multiple of
            it shift the output and change nothing else.
    """

    input_bins: int
    input_frames: int
    output_bins: int
    output_frames: int
    critic_bins: int
    critic_frames: int
    period: int

    @property
    def context_frames(self) -> int:
        """Frames that the input has more than the output, on either side."""
        return (self.input_frames - self.output_frames) // 2


def solve(config: ModelConfig) -> Geometry:
    """Find the least images that cover the wanted bins and frames.

    Args:
        config: Gives ``num_layers``, ``num_frames`` and ``num_fft``.

    Raises:
        ConfigError: One of them is that of no separator.

    >>> found = solve(ModelConfig())
    >>> (found.input_bins, found.input_frames), (found.output_bins, found.output_frames)
    ((350, 158), (258, 66))
    """
    _check(config)
    bins, frames = config.num_fft // 2, config.num_frames
    input_bins, output_bins = axis(bins, config.num_layers)
    input_frames, output_frames = axis(frames, config.num_layers)
    return Geometry(
        input_bins,
        input_frames,
        output_bins,
        output_frames,
        bins,
        frames,
        2**config.num_layers,
    )


def axis(wanted: int, num_layers: int) -> tuple[int, int]:
    """Find the least input and output of one axis whose output covers a length.

    The smallest map is rounded up to an even number, as in the original.

    Args:
        wanted: Length that the output must have at least.
        num_layers: Times that the separator halves its images.

    Returns:
        Length of the input and of the output.

    >>> axis(128, 4)
    (222, 130)
    """
    smallest = float(wanted)
    for _ in range(num_layers):
        smallest = (smallest + 2.0) / 2.0
    size = 2 * int(-(-smallest // 2))
    entering = leaving = size
    for _ in range(num_layers):
        entering, leaving = 2 * (entering + 2), 2 * leaving - 2
    return entering + 2, leaving


def margins(num_layers: int) -> list[int]:
    """Tell how much of each image is cropped on every side before it is used again.

    Args:
        num_layers: Times that the separator halves its images.

    Returns:
        For each level of the decoder from the smallest image on, and at the end for
        the mixture itself.

    >>> margins(4)
    [2, 8, 20, 44, 46]
    """
    found = [2]
    for _ in range(num_layers - 1):
        found.append(2 * found[-1] + 4)
    return [*found, found[-1] + 2]


def covering(frames: int, geometry: Geometry) -> int:
    """Find the least output that covers a song in one pass.

    Args:
        frames: Frames of the song, at least 1.
        geometry: That of the separator.

    Returns:
        Frames of the output; the input has ``2 * context_frames`` more.

    >>> covering(7500, solve(ModelConfig()))
    7506
    """
    return frames + (geometry.output_frames - frames) % geometry.period


def paddings(have: int, wanted: int) -> tuple[int, int]:
    """Divide what an axis lacks; of an odd number the one more goes to the end.

    >>> paddings(257, 350)
    (46, 47)
    """
    missing = wanted - have
    return missing // 2, missing - missing // 2


def pad_bins(images: tf.Tensor, bins: int) -> tf.Tensor:
    """Surround images by silent rows.

    Args:
        images: Magnitudes, linear or logarithmic, [batch, bins, frames, 1].
        bins: Number of rows that they shall have, not less than they have.
    """
    around = paddings(int(images.shape[1]), bins)  # type: ignore[arg-type]
    return tf.pad(images, [[0, 0], around, [0, 0], [0, 0]])


def crop(images: tf.Tensor, bins: int, frames: int) -> tf.Tensor:
    """Take the centre of images.

    Args:
        images: [..., bins, frames, channels], of known size.
        bins: Rows of the centre; the rows around must be an even number.
        frames: Frames of the centre; likewise.

    Raises:
        ValueError: There is no such centre.

    >>> crop(tf.ones([2, 258, 66, 1]), 256, 64).shape
    TensorShape([2, 256, 64, 1])
    """
    have = np.array(images.shape[-3:-1].as_list())
    around = have - [bins, frames]
    if min(around) < 0 or any(around % 2):
        raise ValueError(
            f"images of {have[0]} x {have[1]} have no centre of {bins} x {frames}; "
            "expected as much around it on both sides"
        )
    low, left = around // 2
    return images[..., low : low + bins, left : left + frames, :]


def _check(config: ModelConfig) -> None:
    if config.num_layers < 1:
        raise ConfigError(f"num_layers={config.num_layers}; expected at least 1")
    if config.num_frames < 2 or config.num_frames % 2:
        raise ConfigError(
            f"num_frames={config.num_frames}; expected an even number from 2 on"
        )
    if config.num_fft < 16 or config.num_fft % 4:
        raise ConfigError(
            f"num_fft={config.num_fft}; expected a multiple of 4 from 16 on"
        )
