"""Read and write sound of any length through pipes as it arrives.

Wav and raw samples are decoded here, because libsndfile and ffmpeg stop at the 4 GiB
that the header of a wav from a pipe states; ffmpeg decodes everything else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import soundfile

from common.audio.decoding import Sound, check_ending, check_finite
from common.audio.encoding import FORMATS, packed, quantised
from common.audio.ffmpeg import FFMPEG_CURE, Ffmpeg
from common.audio.headers import ELSEWHERE, STREAMED, AudioError, wav_header
from common.audio.tags import NONE, kept_tags

NAME = "standard input"
READ_BYTES = 1 << 16
MOST_HEADER_BYTES = 1 << 26
"""Limit of the size of a header, with pictures; a longer one is damaged."""

PLAIN = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of an uncompressed sample, by libsndfile's name of its type."""

RAW_TYPES = {"s16le": "wav16", "s24le": "wav24", "f32le": "wav"}
"""Keys of `FORMATS` with the same samples, by ffmpeg's names of raw ones."""


class Raw(NamedTuple):
    """Layout of raw samples: a key of `RAW_TYPES`, rate in Hz and channels."""

    sample_type: str
    sample_rate: int
    channels: int


def parse_raw(text: str) -> Raw:
    """Read the layout of raw samples.

    Args:
        text: Type, rate and channels, such as ``s16le,44100,2``.

    Raises:
        AudioError: The text has another form.

    >>> parse_raw("s16le,44100,2")
    Raw(sample_type='s16le', sample_rate=44100, channels=2)
    """
    sample_type, _, numbers = text.partition(",")
    rate, _, channels = numbers.partition(",")
    is_layout = sample_type in RAW_TYPES and rate.isdecimal() and channels.isdecimal()
    if not is_layout or not (int(rate) and int(channels)):
        raise AudioError(
            f"raw is {text!r}; expected type, rate in Hz and channels, such as "
            f"s16le,44100,2, of the types {', '.join(RAW_TYPES)}"
        )
    return Raw(sample_type, int(rate), int(channels))


class PipedSound:
    """Sound from a pipe, which can be read once.

    Args:
        file: The pipe; it is read without a buffer.
        raw: Layout of its samples if it has no header.

    Attributes:
        sample_rate: In Hz.
        channels: Number of channels.
        tags: Tags before the samples, named as in `common.audio.tags` names them.

    Raises:
        AudioError: The pipe is empty, or carries no sound or something that needs
            ffmpeg where there is none.

    >>> pipe = io.BytesIO(np.array([0, 16384], "<i2").tobytes())
    >>> sound = PipedSound(pipe, Raw("s16le", 8000, 1))
    >>> [block.tolist() for block in sound.blocks()], sound.facts()["bytes"]
    ([[[0.0, 0.5]]], 4)
    """

    def __init__(self, file: IO[bytes], raw: Raw | None = None) -> None:
        self._input = _Counted(getattr(file, "raw", file))
        self._decoder: _Decoder | None = None
        self._is_raw = raw is not None
        self._layout = _raw_layout(raw) if raw else self._open()
        self.sample_rate = self._layout.sample_rate
        self.channels = self._layout.channels
        self.tags = self._layout.tags

    def _open(self) -> _Layout:
        head = self._input.exactly(12)
        if not head:
            raise AudioError(f"{NAME} is empty; check the command that sends the sound")
        if head[:4] in {b"RIFF", b"RF64"} and head[8:] == b"WAVE":
            head, length = _wav_head(self._input, head)
            layout = _wav_layout(head, length)
            if layout is not None:
                return layout
        self._decoder = _Decoder(head, self._input)
        try:
            return self._decoder.layout()
        except BaseException:
            self.close()
            raise

    def blocks(self, start: int = 0, samples: int | None = None) -> Iterator[Any]:
        """Decode samples as they arrive.

        Args:
            start: First sample.
            samples: How many at most; None reads to the end.

        Yields:
            Float32 [channels, samples] of whatever lengths arrive.

        Raises:
            AudioError: The sound is damaged, breaks off, has no samples from `start`
                on, or holds one that is not finite.
        """
        end = None if samples is None else start + samples
        position = 0
        try:
            for block in self._blocks():
                first = max(0, start - position)
                part = block[:, first : None if end is None else end - position]
                check_finite(part, position + first, self.sample_rate, NAME)
                position += block.shape[1]
                if part.shape[1]:
                    yield part
                if position == end or (end is not None and position > end):
                    return
        finally:
            self.close()
        if position <= start:
            raise AudioError(
                f"{NAME} holds {position} samples; expected more than {start}"
            )

    def _blocks(self) -> Iterator[np.ndarray]:
        """Decode to the end, and check that nothing is missing."""
        layout, rest = self._layout, b""
        source = self._decoder.output if self._decoder else self._input
        width = layout.channels * PLAIN[layout.subtype]
        left = math.inf if layout.length is None else layout.length
        while left and (data := source.read(int(min(left, READ_BYTES)))):
            left -= len(data)
            rest += data
            whole = len(rest) - len(rest) % width
            if whole:
                yield decoded(rest[:whole], layout.channels, layout.subtype)
            rest = rest[whole:]
        if self._decoder:
            self._decoder.check()
        if 0 < left < math.inf:
            raise AudioError(
                f"{NAME} breaks off: its header promises {left} bytes more than it has"
            )
        if rest and self._is_raw:
            raise AudioError(
                f"{NAME} ends {len(rest)} bytes after its last sample of "
                f"{layout.channels} channels; it breaks off, or --raw is another"
            )
        while self._input.read(READ_BYTES):  # chunks after the samples of a wav
            pass

    def close(self) -> None:
        """Stop the decoder; the pipe stays open."""
        if self._decoder:
            self._decoder.stop()

    def facts(self) -> dict[str, Any]:
        """Return ``bytes`` and ``sha256`` of the input, once it has ended."""
        if not self._input.ended:
            return {}
        return {"bytes": self._input.bytes, "sha256": self._input.sha256.hexdigest()}


class PipeWriter:
    """A wav of unknown length, written as its samples arrive.

    Args:
        file: The pipe.
        sample_rate: In Hz.
        channels: Number of channels.
        format: A key of `audio.FORMATS` that is a wav.

    Attributes:
        samples: Samples written so far (of each channel).
        clipped: Samples (of all channels) beyond full scale that an integer format cut.

    >>> pipe = io.BytesIO()
    >>> PipeWriter(pipe, 8000, 1, "wav16").write(np.array([[0.5]], np.float32))
    >>> next(PipedSound(io.BytesIO(pipe.getvalue())).blocks()).tolist()
    [[0.5]]
    """

    def __init__(
        self,
        file: IO[bytes],
        sample_rate: int,
        channels: int,
        format: str = "wav",  # noqa: A002
    ) -> None:
        self._file, self._bits = file, FORMATS[format].bits
        self.samples = self.clipped = 0
        head = wav_header(sample_rate, channels, (self._bits or 32) // 8, 0)
        size = struct.pack("<I", ELSEWHERE)
        file.write(head[:4] + size + head[8:-4] + size)

    def write(self, waveform: np.ndarray) -> None:
        """Write float [channels, samples], full scale +-1."""
        data, clipped = encoded(waveform, self._bits)
        self.samples += waveform.shape[1]
        self.clipped += clipped
        self._file.write(data)
        self._file.flush()


class _Layout(NamedTuple):
    """Layout of the samples of a pipe; length in bytes, None if unknown."""

    sample_rate: int
    channels: int
    subtype: str
    length: int | None
    tags: Mapping[str, str]


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Counted:
    """A pipe that counts and hashes the bytes read from it."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self.bytes = 0
        self.sha256 = hashlib.sha256()
        self.ended = False

    def read(self, size: int) -> bytes:
        """Return the next bytes that are available; none at the end."""
        data = self._file.read(size) or b""
        self.bytes += len(data)
        self.sha256.update(data)
        self.ended = self.ended or not data
        return data

    def exactly(self, size: int) -> bytes:
        """Wait for a number of bytes; fewer come only at the end."""
        parts, left = [], size
        while left and (data := self.read(left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)


def _wav_head(pipe: _Counted, head: bytes) -> tuple[bytes, int]:
    """Read the header of a wav; return it with the data size that it states."""
    wide = None
    while len(head) < MOST_HEADER_BYTES:
        chunk = pipe.exactly(8)
        head += chunk
        if len(chunk) < 8:
            break
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            return head, wide if wide and length == ELSEWHERE else length
        body = pipe.exactly(min(length + length % 2, MOST_HEADER_BYTES))
        if name == b"ds64" and len(body) >= 16:
            wide = struct.unpack_from("<8xQ", body)[0]
        head += body
    raise AudioError(f"{NAME} is a wav without samples; check what sends it")


def _wav_layout(head: bytes, length: int) -> _Layout | None:
    """Parse a header with libsndfile; return None for compressed samples."""
    silence = bytes(4096)
    data = b"RIFF" + head[4:].replace(b"ds64", b"JUNK", 1)[:-4]
    data += struct.pack("<I", len(silence)) + silence
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError:
        return None
    with file:
        if file.subtype not in PLAIN:
            return None
        stated = None if length in STREAMED else length
        tags = kept_tags(file.copy_metadata())
        return _Layout(file.samplerate, file.channels, file.subtype, stated, tags)


def _raw_layout(raw: Raw) -> _Layout:
    subtype = FORMATS[RAW_TYPES[raw.sample_type]].subtype
    return _Layout(raw.sample_rate, raw.channels, subtype, None, NONE)


def decoded(data: bytes, channels: int, subtype: str) -> np.ndarray:
    r"""Decode little-endian samples as libsndfile does in a file.

    Args:
        data: The samples, interleaved.
        channels: Number of channels.
        subtype: A key of `PLAIN`.

    Returns:
        Float32 [channels, samples], full scale +-1.

    >>> decoded(b"\0\x40\0\xc0", 2, "PCM_16").tolist()
    [[0.5], [-0.5]]
    """
    frames, _ = soundfile.read(
        io.BytesIO(data),
        dtype="float32",
        always_2d=True,
        samplerate=1,
        channels=channels,
        format="RAW",
        subtype=subtype,
        endian="LITTLE",
    )
    return np.ascontiguousarray(frames.T)


def encoded(waveform: np.ndarray, bits: int | None) -> tuple[bytes, int]:
    r"""Encode samples little-endian, with the channels interleaved.

    Args:
        waveform: Float [channels, samples], full scale +-1.
        bits: Bits of integer samples; None for float32.

    Returns:
        The bytes, and how many samples beyond full scale were clipped.

    >>> encoded(np.array([[0.5], [-2.0]]), 16)
    (b'\x00@\x00\x80', 1)
    """
    frames, clipped = quantised(np.ascontiguousarray(waveform.T, np.float32), bits)
    return packed(frames, bits), clipped


class _Decoder(Ffmpeg):
    """An ffmpeg that decodes a pipe to a wav of floats."""

    def __init__(self, head: bytes, pipe: _Counted) -> None:
        if not shutil.which("ffmpeg"):
            raise AudioError(
                f"{NAME} is neither wav nor raw samples, which needs ffmpeg, and there "
                f"is none on PATH; {FFMPEG_CURE}."
            )
        words = ["-i", "pipe:0", "-map", "0:a:0", "-c:a", "pcm_f32le"]
        super().__init__(
            [*words, "-f", "wav", "pipe:1"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        # A daemon, as the pipe may stay open when the program ends.
        self._feeder = threading.Thread(
            target=self._feed, args=(head, pipe), daemon=True
        )
        self._feeder.start()
        assert self.process.stdout is not None
        self.output = _Counted(self.process.stdout)

    def _feed(self, data: bytes, pipe: _Counted) -> None:
        sink = self.process.stdin
        assert sink is not None
        while data:
            with contextlib.suppress(OSError, ValueError):  # ffmpeg has ended
                sink.write(data)
            data = pipe.read(READ_BYTES)
        with contextlib.suppress(OSError):
            sink.close()

    def layout(self) -> _Layout:
        """Read the header of ffmpeg's output."""
        head = self.output.exactly(12)
        if not head:
            _, log = self.wait()
            reason = log[-1] if log else "it has no sound"
            raise AudioError(
                f"{NAME} is not audio that can be read from a pipe ({reason}); send "
                "wav, or save it to a file first"
            )
        layout = _wav_layout(*_wav_head(self.output, head))
        assert layout is not None
        return layout

    def check(self) -> None:
        """Raise an error if ffmpeg failed, and wait for the end of the pipe."""
        check_ending(Sound(Path(NAME), 0, 0, None, 0), *self.wait())
        self._feeder.join()
