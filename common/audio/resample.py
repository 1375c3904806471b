"""Sample rate conversion by soxr, at once or block by block with the same bits.

The quality is soxr's "very high": a pass band to 91 % of half the lower rate and errors
below those of 24 bit samples.
"""

from __future__ import annotations

import numpy as np
import soxr

from common.audio.headers import AudioError

QUALITY = "VHQ"


def resample(waveform: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Convert a waveform to another sample rate.

    Args:
        waveform: Float [channels, samples].
        source_rate: Rate of the waveform, in Hz.
        target_rate: New rate, in Hz; an equal one returns the waveform unchanged.

    Returns:
        Float32 [channels, ceil(samples * target_rate / source_rate)], aligned in time.

    Raises:
        AudioError: A rate is not a positive whole number, or the shape does not fit.

    >>> resample(np.ones((2, 441), np.float32), 44100, 16000).shape
    (2, 160)
    """
    channels = np.shape(waveform)[0] if np.ndim(waveform) == 2 else 1
    return ResampleStream(source_rate, target_rate, channels).push(waveform, last=True)


class ResampleStream:
    """Converts block by block; the joined blocks equal the result of `resample`.

    Args:
        source_rate: Rate of the blocks pushed, in Hz.
        target_rate: Rate of the blocks returned, in Hz.
        channels: Number of channels.

    Raises:
        AudioError: A rate or the number of channels is not a positive whole number.

    >>> stream = ResampleStream(8000, 16000, 1)
    >>> first = stream.push(np.zeros((1, 1000), np.float32))
    >>> rest = stream.push(np.zeros((1, 500), np.float32), last=True)
    >>> first.shape[1] + rest.shape[1]
    3000
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        for name, value in {
            "source_rate": source_rate,
            "target_rate": target_rate,
            "channels": channels,
        }.items():
            if value < 1 or int(value) != value:
                raise AudioError(
                    f"{name} is {value}; it must be a whole number from 1."
                )
        self._rates = int(source_rate), int(target_rate)
        self._channels = channels
        self._received = 0
        self._returned = 0
        self._ended = False
        self._soxr = None
        if source_rate != target_rate:
            self._soxr = soxr.ResampleStream(
                source_rate, target_rate, channels, dtype="float32", quality=QUALITY
            )

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Convert a block; return the samples that are complete.

        Args:
            block: Float [channels, samples], of any length including 0.
            last: Whether the sound ends with it; then the rest is returned.

        Returns:
            Float32 [channels, samples], empty until the filter is filled.

        Raises:
            AudioError: The shape does not fit, or the last block was pushed before.
        """
        block = np.asarray(block, np.float32)
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise AudioError(
                f"a block must be [channels={self._channels}, samples], "
                f"not {list(block.shape)}."
            )
        if self._ended:
            raise AudioError("the last block was pushed before; start a new stream.")
        self._ended = last
        if self._soxr is None:
            return block
        return self._convert(self._soxr, block, last)

    def _convert(
        self, converter: soxr.ResampleStream, block: np.ndarray, last: bool
    ) -> np.ndarray:
        self._received += block.shape[1]
        source, target = self._rates
        if last:
            # soxr rounds the length; silence after the end makes it reach the ceiling.
            silence = np.zeros((self._channels, -(-source // target) + 1), np.float32)
            block = np.concatenate([block, silence], axis=1)
        chunk = converter.resample_chunk(np.ascontiguousarray(block.T), last=last).T
        if last:
            left = -(-self._received * target // source) - self._returned
            chunk = chunk[:, :left]
        self._returned += chunk.shape[1]
        return np.ascontiguousarray(chunk)
