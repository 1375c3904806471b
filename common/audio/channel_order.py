"""Order of the channels in an ogg, which differs from that of other files.

Vorbis and Opus store the centre before the right channel and the low frequencies last
[1, 2]. libsndfile hands the channels over as they are stored, ffmpeg in the order of
wav, which is the order of all arrays here: front left, front right, centre, low
frequencies, back, sides.

[1] Xiph.org, Vorbis I specification, section 4.3.9, output channel order.
[2] RFC 7845, Ogg Encapsulation for the Opus Audio Codec, section 5.1.1.2, 2016.
"""

from __future__ import annotations

import numpy as np

STORED: dict[int, list[int]] = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 4, 5, 3],
    7: [0, 2, 1, 5, 6, 4, 3],
    8: [0, 2, 1, 6, 7, 4, 5, 3],
}
"""The channel at each position, for the numbers of channels whose order differs."""


def stored(frames: np.ndarray, container: str) -> np.ndarray:
    """Put the channels of frames into the order of a container.

    Args:
        frames: [samples, channels] in the order of wav.
        container: libsndfile's name of it.

    >>> stored(np.array([[0, 1, 2, 3, 4, 5]]), "OGG").tolist()
    [[0, 2, 1, 4, 5, 3]]
    """
    if container != "OGG" or frames.shape[1] not in STORED:
        return frames
    return frames[:, STORED[frames.shape[1]]]


def restored(frames: np.ndarray, container: str) -> np.ndarray:
    """Put the channels of frames of a container into the order of wav.

    >>> frames = np.arange(6)[np.newaxis]
    >>> restored(stored(frames, "OGG"), "OGG").tolist()
    [[0, 1, 2, 3, 4, 5]]
    """
    if container != "OGG" or frames.shape[1] not in STORED:
        return frames
    return frames[:, np.argsort(STORED[frames.shape[1]])]
