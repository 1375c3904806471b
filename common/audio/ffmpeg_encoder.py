"""Encoding by ffmpeg through a pipe, in the memory of one chunk."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.audio.decoding import FFMPEG_CURE
from common.audio.headers import AudioError
from common.audio.tags import ffmpeg_options

LEAST_SECONDS = 0.02
"""Shortest sound; a shorter one is lost in the first frame of an encoder."""

BIT_RATE = 128_000
"""Bits per second of each channel, if the sample rate allows it."""


class FfmpegEncoder:
    """A process of ffmpeg that encodes float samples into a file.

    Args:
        path: The file to write, replaced if it exists.
        codec: ffmpeg's name of the encoder.
        sample_rate: In Hz.
        channels: Number of channels.
        tags: Text of each tag.

    Raises:
        AudioError: There is no ffmpeg.
    """

    def __init__(
        self,
        path: Path,
        codec: str,
        sample_rate: int,
        channels: int,
        tags: Mapping[str, str],
    ) -> None:
        if not shutil.which("ffmpeg"):
            raise AudioError(
                f"{path.suffix} files need ffmpeg to be written, and it is not on "
                f"PATH; {FFMPEG_CURE}, or write wav instead."
            )
        bits = min(BIT_RATE, 4 * sample_rate) * channels
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
        command += ["-f", "f32le", "-ar", str(sample_rate), "-ac", str(channels)]
        command += ["-i", "pipe:0", "-c:a", codec, "-b:a", str(bits)]
        # Without this each file has its own serial number or date.
        command += ["-fflags", "+bitexact", "-flags:a", "+bitexact"]
        command += [*ffmpeg_options(tags), f"file:{path.absolute()}"]
        # With this a file that grows too large is an error, not a silent end.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            restore_signals=False,
        )
        self._remarks: deque[bytes] = deque(maxlen=20)
        self._listener = threading.Thread(
            target=self._remarks.extend, args=(self._process.stderr,)
        )
        self._listener.start()

    def write(self, frames: np.ndarray) -> None:
        """Encode float32 [samples, channels].

        Raises:
            OSError: ffmpeg has stopped.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frames.astype("<f4", copy=False).tobytes())
        except OSError as error:
            raise self._failure() from error

    def close(self) -> None:
        """Encode the remaining samples and wait until the file is written.

        Raises:
            OSError: The file could not be written.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        failure = self._failure()
        if self._process.returncode or failure.strerror:
            raise failure

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _failure(self) -> OSError:
        code = self._process.wait()
        self._listener.join()
        lines = [line.decode(errors="replace").strip() for line in self._remarks]
        reason = f"ffmpeg ends with code {code}" if code and not lines else ""
        return OSError(code, lines[0].rpartition(": ")[2] if lines else reason)
