"""Writing corpora: a folder whole or not at all, sums exact to the bit."""

from __future__ import annotations

import shutil
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from common.corpora.track import CorpusError

HEADROOM = 0.98
"""Largest peak of a source or a mixture, full scale 1."""


def quantise(sources: np.ndarray) -> np.ndarray:
    """Round sources to 16 bits such that neither they nor their sum can clip.

    The whole example is scaled down where a peak would pass 0.98; levels between the
    sources stay. The mixture is the integer sum, so it is exact.

    Args:
        sources: [sources, samples] or [sources, channels, samples], full scale +-1.

    Returns:
        int16 of the same shape.

    >>> quantise(np.array([[0.5, 1.0], [0.5, 1.0]])).sum(axis=0).tolist()
    [16056, 32112]
    """
    peak = max(np.max(np.abs(sources)), np.max(np.abs(sources.sum(axis=0))))
    gain = min(1.0, HEADROOM / peak) if peak > 0 else 1.0
    return np.round(sources * (gain * 32767)).astype(np.int16)


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int) -> None:
    """Write 16-bit integers as they are; folders are made as needed.

    Not through :mod:`common.audio`, which takes floating point: here a file must hold
    exactly the integers whose sum the mixture is.

    Args:
        path: The file.
        waveform: int16 [samples] or [channels, samples].
        sample_rate: In Hz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.atleast_2d(waveform).T.astype("<i2")
    with path.open("wb") as file, wave.open(file, "wb") as writer:
        writer.setnchannels(frames.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(frames.tobytes())


@contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder that takes its name only when all went well.

    Args:
        folder: The name it gets; its parents are made.
        replace: Whether a folder of that name that is not empty gives way.

    Yields:
        The temporary folder, beside the final one.

    Raises:
        CorpusError: The name is taken, by a file or by a folder that is not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise CorpusError(f"{folder} is a file; choose another name for the folder.")
    if folder.is_dir() and any(folder.iterdir()) and not replace:
        raise CorpusError(
            f"The folder {folder} is not empty; choose another or empty it."
        )
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.partial."))
    try:
        work.chmod(0o755)
        yield work
        if replace and folder.is_dir():
            old = Path(
                tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old.")
            )
            folder.replace(old)
            shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.rmdir()
        work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
