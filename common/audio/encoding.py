"""Write sound files in all formats; a file appears whole or not at all.

Integers are rounded to the nearest step of 1 / 2^(bits - 1), so that samples of a 16 or
24 bit file are written back bit for bit. This module writes wav itself, because a file
that grows beyond 4 GiB has to become RF64; ffmpeg encodes m4a and opus, and libsndfile
all others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import soundfile

from common.audio.channel_order import stored
from common.audio.decoding import check_finite
from common.audio.ffmpeg import LEAST_SECONDS, FfmpegEncoder
from common.audio.headers import AudioError, wav_header
from common.audio.tags import NONE, ffmpeg_options, set_tags, wav_chunk
from common.files import replacing

Result = TypeVar("Result")

CHUNK_SAMPLES = 1 << 16  # libsndfile's ogg encoder overflows its stack on long chunks
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (7350, *MP3_RATES, 64000, 88200, 96000)
AIFF_BYTES = 0xFFFFFFFF - 4096
"""Samples that an aiff holds at most, less its other chunks."""


class Format(NamedTuple):
    """A file format.

    Attributes:
        suffix: Suffix of the file.
        container: libsndfile's name of the container, or ``"FFMPEG"``.
        subtype: libsndfile's name of the samples, or ffmpeg's of the encoder.
        bits: Bits of integer samples; None for all others.
        max_channels: Most channels.
        max_rate: Highest sample rate, in Hz.
    """

    suffix: str
    container: str
    subtype: str
    bits: int | None
    max_channels: int
    max_rate: int


FORMATS = {
    "wav": Format(".wav", "WAV", "FLOAT", None, 1024, 1_000_000),
    "wav16": Format(".wav", "WAV", "PCM_16", 16, 1024, 1_000_000),
    "wav24": Format(".wav", "WAV", "PCM_24", 24, 1024, 1_000_000),
    "flac": Format(".flac", "FLAC", "PCM_24", 24, 8, 655_350),
    "flac16": Format(".flac", "FLAC", "PCM_16", 16, 8, 655_350),
    "aiff": Format(".aiff", "AIFF", "PCM_24", 24, 1024, 1_000_000),
    "aiff16": Format(".aiff", "AIFF", "PCM_16", 16, 1024, 1_000_000),
    "aiff32": Format(".aiff", "AIFF", "FLOAT", None, 1024, 1_000_000),
    "ogg": Format(".ogg", "OGG", "VORBIS", None, 255, 200_000),
    "mp3": Format(".mp3", "MP3", "MPEG_LAYER_III", None, 2, 48_000),
    "m4a": Format(".m4a", "FFMPEG", "aac", None, 2, 96_000),
    "opus": Format(".opus", "FFMPEG", "libopus", None, 2, 192_000),
}
"""Formats that can be written, by their name on command lines."""

GROWING = ("wav", "wav16", "wav24", "flac", "flac16", "ogg", "mp3")
"""Formats that can be read while they are written."""

RATES = {"MPEG_LAYER_III": MP3_RATES, "aac": AAC_RATES}
"""Sample rates of encoders that support only a few."""


class Writer:
    """A sound file that appears whole at the end of its `with`, or not at all.

    Integer formats clip at full scale; a wav of more than 4 GiB becomes RF64. An opus
    file is resampled to 48 kHz unless it has one of opus' own rates, and decoders of
    m4a may add silence, up to 1024 samples, at its end.

    Args:
        path: The file, with the suffix of the format; replaced if it exists.
        sample_rate: In Hz.
        channels: Number of channels.
        format: A key of `FORMATS`.
        tags: Tags to write where the format has them, see `common.audio.tags`.
        growing: Write to the path itself, in a format of `GROWING`: whoever reads it
            meanwhile finds what is written so far. An error leaves the file.

    Attributes:
        samples: Samples written so far (of each channel).
        clipped: Samples (of all channels) beyond full scale that an integer format cut.

    Raises:
        AudioError: The format does not fit the suffix, rate or channels; the folder
            cannot be written or is full; a sample is not finite; nothing was written.

    >>> import tempfile
    >>> with Writer(Path(tempfile.mkdtemp(), "a.wav"), 8000, 1, "wav16") as writer:
    ...     writer.write(np.array([[0.5, 2.0]]))
    >>> writer.samples, writer.clipped
    (2, 1)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        channels: int,
        format: str = "wav",  # noqa: A002
        tags: Mapping[str, str] = NONE,
        *,
        growing: bool = False,
    ) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self.samples = 0
        self.clipped = 0
        self._format = _checked_format(self.path, sample_rate, channels, format)
        self._growing = growing
        if growing and format not in GROWING:
            raise AudioError(
                f"{self.path}: {format} cannot be read while it is written; choose "
                f"one of {', '.join(GROWING)}."
            )
        self._tags = tags
        self._tail = wav_chunk(tags) if self._format.container == "WAV" else b""
        self._encoder: soundfile.SoundFile | None = None
        self._ffmpeg: FfmpegEncoder | None = None
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Writer:
        if os.path.isdir(self.path):  # noqa: PTH112 (is_dir raises without permission)
            raise AudioError(f"{self.path} is a folder; give the name of a file.")
        with self._reported(), contextlib.ExitStack() as stack:
            path = self.path
            if not self._growing:
                path = stack.enter_context(replacing(path))
            self._sink = _Sink(path.open("wb+"))
            stack.callback(self._close)
            self._start(path)
            if self._growing:
                self._show()
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The caller's error is not one of this file, whose name it must not get.
        with contextlib.suppress(_Abandoned), self._reported(), self._opened:
            if error is not None:
                raise _Abandoned
            self._finish()

    def write(self, waveform: np.ndarray) -> None:
        """Append samples.

        Args:
            waveform: Float [channels, samples], full scale +-1; may hold no samples.
        """
        waveform = np.asarray(waveform)
        if waveform.ndim != 2 or len(waveform) != self.channels:
            raise AudioError(
                f"{self.path} takes arrays [channels={self.channels}, samples], "
                f"not one of shape {list(waveform.shape)}."
            )
        if not np.issubdtype(waveform.dtype, np.floating):
            raise AudioError(
                f"{self.path} takes float samples of full scale +-1, "
                f"not {waveform.dtype}; divide by the integers' full scale first."
            )
        for first in range(0, waveform.shape[1], CHUNK_SAMPLES):
            chunk = waveform[:, first : first + CHUNK_SAMPLES]
            with np.errstate(over="ignore"):
                chunk = chunk.astype(np.float32)
            check_finite(
                chunk, self.samples, self.sample_rate, f"the sound for {self.path}"
            )
            self._check_room(chunk.shape[1])
            self._write_frames(np.ascontiguousarray(chunk.T))
            self.samples += chunk.shape[1]
        if self._growing and waveform.shape[1]:
            self._show()

    def _check_room(self, samples: int) -> None:
        if self._format.container != "AIFF":
            return
        width = self.channels * (self._format.bits or 32) // 8
        if (self.samples + samples) * width > AIFF_BYTES:
            raise AudioError(
                f"{self.path} would become longer than the 4 GiB that aiff holds; "
                "write wav instead."
            )

    def _start(self, path: Path) -> None:
        file_format = self._format
        if file_format.container == "WAV":
            self._sink.write(self._wav_header())
        elif file_format.container == "FFMPEG":
            self._ffmpeg = FfmpegEncoder(
                path,
                file_format.subtype,
                self.sample_rate,
                self.channels,
                ffmpeg_options(self._tags),
            )
        else:
            self._encode(self._open_encoder)
        self._check_sink()

    def _open_encoder(self) -> None:
        file_format = self._format
        self._encoder = soundfile.SoundFile(
            self._sink,
            "w",
            self.sample_rate,
            self.channels,
            file_format.subtype,
            format=file_format.container,
        )
        set_tags(self._encoder, self._tags)

    def _wav_header(self, tail_bytes: int = 0) -> bytes:
        return wav_header(
            self.sample_rate,
            self.channels,
            (self._format.bits or 32) // 8,
            self.samples,
            tail_bytes,
        )

    def _show(self) -> None:
        """Flush the samples, with an up-to-date header if it is a wav, for readers."""
        self._sink.flush()
        if self._format.container == "WAV":
            end = self._sink.tell()
            self._sink.seek(0)
            self._sink.write(self._wav_header())
            self._sink.seek(end)
        self._check_sink()

    def _write_frames(self, frames: np.ndarray) -> None:
        bits = self._format.bits
        frames, clipped = quantised(frames, bits)
        self.clipped += clipped
        if self._encoder:
            encoder = self._encoder
            ordered = stored(frames, self._format.container)
            self._encode(lambda: encoder.write(ordered))
        elif ffmpeg := self._ffmpeg:
            with self._reported():
                ffmpeg.write(frames)
        else:
            self._sink.write(packed(frames, bits))
        self._check_sink()

    def _encode(self, action: Callable[[], object]) -> None:
        """Call libsndfile and report its errors; a short write is an AssertionError."""
        try:
            action()
        except (soundfile.LibsndfileError, AssertionError) as error:
            self._check_sink()
            raise AudioError(
                f"{self.path} could not be encoded ({error}); write wav instead."
            ) from error

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn errors of the system into errors that name the file and a cure."""
        try:
            yield
        except OSError as error:
            raise self._failure(error) from error

    def _check_sink(self) -> None:
        if self._sink.failure:
            raise self._failure(self._sink.failure) from self._sink.failure

    def _failure(self, error: OSError) -> AudioError:
        return AudioError(
            f"{self.path} could not be written: {error.strerror}; "
            "choose a folder that exists, may be written and has room."
        )

    def _finish(self) -> None:
        if not self.samples:
            raise AudioError(
                f"{self.path} would hold no samples, so it was not written."
            )
        if self._encoder:
            encoder, self._encoder = self._encoder, None
            self._encode(encoder.close)
        elif self._ffmpeg:
            self._check_length()
            self._ffmpeg.close()
        else:
            self._sink.write(b"\0" * (self._sink.tell() % 2) + self._tail)
            self._sink.seek(0)
            self._sink.write(self._wav_header(len(self._tail)))
        self._check_sink()
        self._sink.file.close()

    def _check_length(self) -> None:
        if self.samples < LEAST_SECONDS * self.sample_rate:
            raise AudioError(
                f"{self.path} would have {self.samples} samples, which its encoder "
                f"loses; it takes {LEAST_SECONDS:g} s or more, write wav instead."
            )

    def _close(self) -> None:
        """Close all that is still open, without errors."""
        if self._ffmpeg:
            self._ffmpeg.stop()
        if self._encoder:
            with contextlib.suppress(soundfile.LibsndfileError):
                self._encoder.close()
        with contextlib.suppress(OSError):
            self._sink.file.close()


class _Abandoned(Exception):  # noqa: N818 (no error: it discards a draft)
    """Discards the file of a `with` block that failed."""


class _Sink:
    """A file that keeps its first failure, which cannot be raised through C code."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        return self._try(self.file.write, data)

    def read(self, size: int = -1) -> Any:
        return self._try(self.file.read, size) or b""

    def flush(self) -> None:
        self._try(self.file.flush)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._try(self.file.seek, offset, whence)

    def tell(self) -> int:
        return self._try(self.file.tell)

    def _try(self, action: Callable[..., Result], *arguments: object) -> Result | int:
        try:
            return action(*arguments)
        except OSError as error:
            self.failure = self.failure or error
            return 0


def quantised(frames: np.ndarray, bits: int | None) -> tuple[np.ndarray, int]:
    """Round to integers: int16, or int32 with the bits at its upper end.

    Args:
        frames: Float32 of any shape, full scale +-1.
        bits: Bits of integer samples; None leaves the floats as they are.

    Returns:
        The integers, and how many samples beyond full scale were clipped.

    >>> quantised(np.array([0.5, 2.0], np.float32), 16)
    (array([16384, 32767], dtype=int16), 1)
    """
    if not bits:
        return frames, 0
    clipped = int(np.count_nonzero(np.abs(frames) > 1))
    full = 2 ** (bits - 1)
    steps = np.clip(np.rint(frames * np.float32(full)), -full, full - 1)
    if bits == 16:
        return steps.astype("<i2"), clipped
    return steps.astype("<i4") << (32 - bits), clipped


def packed(frames: np.ndarray, bits: int | None) -> bytes:
    r"""Return samples as little-endian bytes of a wav.

    >>> packed(quantised(np.array([0.5], np.float32), 24)[0], 24)
    b'\x00\x00@'
    """
    if bits == 24:
        return frames.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    return frames.astype(frames.dtype.newbyteorder("<"), copy=False).tobytes()


def _checked_format(path: Path, sample_rate: int, channels: int, name: str) -> Format:
    if name not in FORMATS:
        raise AudioError(f"format {name!r} is not one of {', '.join(FORMATS)}.")
    file_format = FORMATS[name]
    if path.suffix.lower() != file_format.suffix:
        raise AudioError(
            f"{path} does not end in {file_format.suffix}, the suffix of format "
            f"{name!r}; change the name or the format (one of {', '.join(FORMATS)})."
        )
    if not 1 <= channels <= file_format.max_channels:
        raise AudioError(
            f"{path}: format {name!r} takes 1 to {file_format.max_channels} channels, "
            f"not {channels}; write wav instead."
        )
    if not _takes_rate(file_format, sample_rate):
        few = RATES.get(file_format.subtype)
        rates = f"1 to {file_format.max_rate} Hz, whole numbers"
        if few:
            rates = ", ".join(map(str, few)) + " Hz"
        raise AudioError(
            f"{path}: format {name!r} takes {rates}, not {sample_rate} Hz; "
            "resample the sound or write wav instead."
        )
    return file_format


def _takes_rate(file_format: Format, sample_rate: int) -> bool:
    if file_format.subtype in RATES:
        return sample_rate in RATES[file_format.subtype]
    # Above 65535 Hz, FLAC states rates in units of 10 Hz.
    if file_format.container == "FLAC" and sample_rate > 65535:
        return sample_rate % 10 == 0 and sample_rate <= file_format.max_rate
    return int(sample_rate) == sample_rate and 1 <= sample_rate <= file_format.max_rate
