"""Processes of ffmpeg that read or write pipes, in the memory of one chunk."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.audio.headers import AudioError

FFMPEG_CURE = (
    "install it with 'apt install ffmpeg', 'brew install ffmpeg' or "
    "'conda install -c conda-forge ffmpeg'"
)
LEAST_SECONDS = 0.02
"""Shortest sound; a shorter one is lost in the first frame of an encoder."""

BIT_RATE = 128_000
"""Bits per second of each channel, if the sample rate allows it."""


def ffmpeg_url(path: Path) -> str:
    """Return a path as ffmpeg takes it, neither an option nor a protocol.

    >>> ffmpeg_url(Path("/a/-b.wav"))
    'file:/a/-b.wav'
    """
    return f"file:{path.absolute()}"


class Ffmpeg:
    """A running ffmpeg, whose log is read so that it never blocks.

    Args:
        arguments: Arguments of the program.
        **options: Those of ``subprocess.Popen``, such as its pipes.

    Attributes:
        process: The process.
    """

    def __init__(self, arguments: Sequence[str], **options: Any) -> None:
        command = ["ffmpeg", "-v", "error", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
        self._log: deque[bytes] = deque(maxlen=20)
        self._reader = threading.Thread(
            target=self._log.extend, args=(self.process.stderr,), daemon=True
        )
        self._reader.start()

    def wait(self) -> tuple[int, list[str]]:
        """Wait for the end; return the exit code and the last lines of the log."""
        code = self.process.wait()
        self._reader.join()
        return code, [line.decode(errors="replace").strip() for line in self._log]

    def stop(self) -> None:
        """Kill the process, whatever it does, and close its pipes."""
        self.process.kill()
        self.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


class FfmpegEncoder(Ffmpeg):
    """An ffmpeg that encodes float samples into a file.

    Args:
        path: The file to write, replaced if it exists.
        codec: ffmpeg's name of the encoder.
        sample_rate: In Hz.
        channels: Number of channels.
        options: Further options of the file.

    Raises:
        AudioError: There is no ffmpeg.
    """

    def __init__(
        self,
        path: Path,
        codec: str,
        sample_rate: int,
        channels: int,
        options: Sequence[str],
    ) -> None:
        if not shutil.which("ffmpeg"):
            raise AudioError(
                f"{path.suffix} files need ffmpeg to be written, and it is not on "
                f"PATH; {FFMPEG_CURE}, or write wav instead."
            )
        bits = min(BIT_RATE, 4 * sample_rate) * channels
        words = ["-nostdin", "-y", "-f", "f32le", "-ar", str(sample_rate)]
        words += ["-ac", str(channels), "-i", "pipe:0", "-c:a", codec]
        # Without bitexact each file has its own serial number or date.
        words += ["-b:a", str(bits), "-fflags", "+bitexact", "-flags:a", "+bitexact"]
        words += [*options, ffmpeg_url(path)]
        # A file that grows too large is then an error, not a silent end.
        super().__init__(words, stdin=subprocess.PIPE, restore_signals=False)

    def write(self, frames: np.ndarray) -> None:
        """Encode float32 [samples, channels].

        Raises:
            OSError: ffmpeg has stopped.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(frames.astype("<f4", copy=False).tobytes())
        except OSError as error:
            raise self._failure() or error from error

    def close(self) -> None:
        """Encode the remaining samples and wait until the file is written.

        Raises:
            OSError: The file could not be written.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if failure := self._failure():
            raise failure

    def _failure(self) -> OSError | None:
        """Return the error of an ffmpeg that has failed, None if it has not."""
        code, log = self.wait()
        if not (code or log):
            return None
        reason = log[0].rpartition(": ")[2] if log else f"ffmpeg ends with code {code}"
        return OSError(code, reason)
