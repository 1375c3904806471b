"""Compare the headers of sound files with the bytes that the files hold.

libsndfile reads a truncated wav, au, caf or w64, only the first song of a chained ogg,
an mp3 up to a guessed length and a FLAC up to the stated length without an error. The
functions here detect these files.

References:
    RFC 9639, "Free Lossless Audio Codec (FLAC)", 2024.
    EBU Tech 3306, "RF64: an extended file format for audio data", 2018.
    RFC 3533, "The Ogg encapsulation format version 0", 2003.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

RIFF_BYTES = 0xFFFFFFFF
"""Largest size that a RIFF header can state; a wav beyond it becomes RF64."""

ELSEWHERE = 0xFFFFFFFF  # the true size is in the chunk "ds64"

STREAMED = {*(0, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**64 - 1)}
"""Data sizes that programs write to a pipe, before they know the length."""

OGG_PAGE_BYTES = 65307
FLAC_FRAME_BYTES = 1 << 20
"""Longest frame of a FLAC that does not state it."""

FLAC_HEADER_BYTES = 16


class AudioError(ValueError):
    """Sound that cannot be read or written as asked."""


def is_whole(path: Path, container: str = "") -> bool:
    """Return whether libsndfile reads the whole sound of a file.

    Args:
        path: A sound file.
        container: libsndfile's name of its format, such as ``"WAV"``; empty where it
            does not open the file.

    Returns:
        False if ffmpeg is needed, which reads every packet: for an ogg of several
        streams in a row, an mp3 or wav without a stated length, a FLAC that states no
        length or too short a one, or a voc, whose headers of blocks libsndfile reads as
        samples.

    Raises:
        AudioError: The file ends before the sound that its header promises.

    >>> import soundfile, tempfile
    >>> path = Path(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, [0.0] * 30, 8000)
    >>> is_whole(path, "WAV")
    True
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
        check = CHECKS.get(container) or MAGIC.get(magic, _check_chunks)
        return check(path, file, size)


def chunks(file: BinaryIO, order: str = "<") -> Iterator[tuple[bytes, int, int]]:
    """Walk the chunks of a RIFF or AIFF file.

    Args:
        file: The file, which is moved to the first byte of each chunk.
        order: Byte order of the sizes, as in `struct`.

    Yields:
        Name, stated number of bytes and first byte of each chunk.

    >>> import io
    >>> wav = io.BytesIO(wav_header(8000, 1, 2, 100))
    >>> [(name, length) for name, length, _ in chunks(wav)]
    [(b'JUNK', 28), (b'fmt ', 16), (b'data', 200)]
    """
    position = file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(order + "4sI", head)
        yield name, length, position + 8
        position = file.seek(position + 8 + length + length % 2)


def _check_chunks(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the data chunk of RIFF, RIFX, RF64 and AIFF files with their size.

    Of an AVI it is the whole of the first RIFF.
    """
    magic, stated, wide = *struct.unpack("<4sI", file.read(8).ljust(8)), None
    if magic not in {b"RIFF", b"RIFX", b"RF64", b"FORM"}:
        return True
    order = ">" if magic in {b"RIFX", b"FORM"} else "<"
    if file.read(4) == b"AVI ":
        if stated not in STREAMED:
            _check_bytes(path, stated, size - 8)
        return True
    for name, length, first_byte in chunks(file, order):
        if name == b"ds64" and first_byte + 16 <= size:
            wide = struct.unpack("<8xQ", file.read(16))[0]
        if name in {b"data", b"SSND"}:
            promised = length if wide is None or length != ELSEWHERE else wide
            if promised not in STREAMED:
                _check_bytes(path, promised, size - first_byte)
            # No size, as programs write to a pipe: libsndfile then reads no samples.
            return promised > 0 or stated + 8 == size or first_byte == size
    return True


def _check_au(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the size in the header of an AU file with the bytes after it."""
    magic, head = file.read(4), file.read(8).ljust(8)
    first, length = struct.unpack("<II" if magic == b"dns." else ">II", head)
    if length not in STREAMED:
        _check_bytes(path, length, size - first)
    # Of the sizes that stand for an unknown length, libsndfile accepts one.
    return length == ELSEWHERE or length not in STREAMED


def _check_caf(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the chunks of a Core Audio file with its size."""
    position = 8
    while position + 12 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sQ", file.read(12))
        position += 12
        if name == b"data":
            if length not in STREAMED:
                _check_bytes(path, length, size - position)
            return True
        position += length
    return True


def _check_w64(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the chunks of a Sony Wave64 file with its size."""
    position = 40
    while position + 24 <= size:
        file.seek(position)
        name, length = struct.unpack("<4s12xQ", file.read(24))
        if name == b"data" and length not in STREAMED:
            _check_bytes(path, length - 24, size - position - 24)
            # libsndfile reads to the end of the file, whatever is there.
            return bool(length + -length % 8 >= size - position)
        if name == b"data" or length < 24:
            return True
        position += length + -length % 8
    return True


def _check_voc(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the blocks of a Creative Voice file with its size.

    Of several blocks libsndfile takes the headers for samples, so ffmpeg reads them.
    """
    file.seek(20)
    position = int.from_bytes(file.read(2), "little")
    while 0 < position < size:
        file.seek(position)
        block, length = file.read(1), int.from_bytes(file.read(3), "little")
        if block == b"\0":
            break
        _check_bytes(path, length, size - position - 4)
        position += 4 + length
    return False


def _check_bytes(path: Path, promised: int, present: int) -> None:
    if present < promised:
        raise AudioError(
            f"{path} breaks off: its header promises {promised} bytes of sound, "
            f"{max(present, 0)} are there; copy or download it again."
        )


def _is_single_ogg(path: Path, file: BinaryIO, size: int) -> bool:
    """Return whether the last page is complete and of the stream of the first one."""
    serial = file.read(18)[14:]
    file.seek(max(0, size - 2 * OGG_PAGE_BYTES))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return False
    page = tail[at:]
    segments = page[26] if len(page) > 26 else 0
    whole = 27 + segments + sum(page[27 : 27 + segments])
    _check_bytes(path, size - len(page) + whole, size)
    return page[14:18] == serial


def _is_measured_mp3(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the byte count in the Xing/Info header with the size of the file."""
    start = _behind_id3(file)
    frame = file.read(4096)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or at + 16 > len(frame):
        return False
    flags, _, length = struct.unpack_from(">3I", frame, at + 4)
    if flags & 3 != 3:
        return False
    rest = size - start
    if rest < length - 2048:  # encoders differ in whether this frame counts itself
        _check_bytes(path, length, rest)
    # tags may follow, not music
    return bool(rest - length <= max(4096, length // 100))


def _behind_id3(file: BinaryIO) -> int:
    """Skip ID3 tags at the beginning; return where they end."""
    head, start = file.read(10), 0
    if head[:3] == b"ID3" and len(head) == 10:
        a, b, c, d = head[6:]  # seven bits each
        start = 10 + (a << 21 | b << 14 | c << 7 | d)
    return file.seek(start)


def _is_measured_flac(path: Path, file: BinaryIO, size: int) -> bool:
    """Compare the stated samples with the end of the last frame [RFC 9639, 8.2]."""
    _behind_id3(file)
    head = file.read(42)
    block = int.from_bytes(head[8:10], "big")
    longest = int.from_bytes(head[15:18], "big")
    stated = int.from_bytes(head[21:26], "big") & (2**36 - 1)
    file.seek(max(0, size - 2 * (longest or FLAC_FRAME_BYTES)))
    tail = file.read()
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        end = _flac_frame_end(tail[at : at + FLAC_HEADER_BYTES], block)
        if end is not None:
            return 0 < stated >= end
    return stated > 0


def _flac_frame_end(header: bytes, block: int) -> int | None:
    """Return the sample after a frame, None if it is not a frame [RFC 9639, 9.1].

    Args:
        header: Its first 16 bytes, more than a header has.
        block: Samples of each frame but the last, where frames are numbered.
    """
    if len(header) < FLAC_HEADER_BYTES or header[1] & 0xFE != 0xF8:
        return None
    size, rate = header[2] >> 4, header[2] & 15
    digits = max(1, 8 - (~header[4] & 0xFF).bit_length())  # as in UTF-8
    after = 4 + digits
    wide = {6: 1, 7: 2}.get(size, 0)
    crc = after + wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    # Reserved values are checked too, because eight bits of checksum are not enough.
    if size == 0 or rate == 15 or header[3] >> 4 > 10 or header[3] & 1:
        return None
    if digits == 8 or _crc8(header[: crc + 1]):
        return None
    number = header[4] & (0x7F >> (digits if digits > 1 else 0))
    for byte in header[5:after]:
        number = number << 6 | byte & 0x3F
    first = number if header[1] & 1 else number * block
    return first + _flac_block(size, header[after : after + wide])


def _flac_block(size: int, stated: bytes) -> int:
    """Return the number of samples of a frame, by its code or as stated."""
    if stated:
        return int.from_bytes(stated, "big") + 1
    if size == 1:
        return 192
    return 576 << (size - 2) if size < 6 else 256 << (size - 8)


def _crc8(data: bytes) -> int:
    """Compute the CRC of a frame header, which is 0 if it ends with its own CRC."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ (0x107 if crc & 0x80 else 0)
    return crc


Check = Callable[[Path, BinaryIO, int], bool]

CHECKS: dict[str, Check] = {"MP3": _is_measured_mp3, "FLAC": _is_measured_flac}
"""Checks by libsndfile's name of the container, of those that tags may precede."""

MAGIC: dict[bytes, Check] = {
    b"OggS": _is_single_ogg,
    b".snd": _check_au,
    b"dns.": _check_au,
    b"caff": _check_caf,
    b"riff": _check_w64,
    b"Crea": _check_voc,
}
"""Checks by the first bytes of a file; all others are those of chunks."""


def wav_header(
    sample_rate: int,
    channels: int,
    sample_bytes: int,
    samples: int,
    tail_bytes: int = 0,
) -> bytes:
    """Return a wav header with room to become RF64 [EBU Tech 3306, section 4].

    Args:
        sample_rate: In Hz.
        channels: Number of channels.
        sample_bytes: 2 or 3 (integers) or 4 (float) bytes a sample.
        samples: Length in samples; beyond 4 GiB the header is that of RF64.
        tail_bytes: Bytes of the chunks that follow the samples.

    Returns:
        92 bytes for floats, 80 for integers, whatever the length.

    >>> wav_header(8000, 1, 2, 100)[:4], wav_header(8000, 1, 2, 2**32)[:4]
    (b'RIFF', b'RF64')
    """
    frame_bytes = channels * sample_bytes
    format_tag = 3 if sample_bytes == 4 else 1
    data = samples * frame_bytes
    layout = struct.pack(
        "<4sIHHIIHH",
        *(b"fmt ", 16, format_tag, channels, sample_rate),
        *(sample_rate * frame_bytes, frame_bytes, 8 * sample_bytes),
    )
    if format_tag == 3:
        layout += struct.pack("<4sII", b"fact", 4, min(samples, ELSEWHERE))
    riff = 4 + 36 + len(layout) + 8 + data + data % 2 + tail_bytes
    large = riff > RIFF_BYTES
    size, stated = (ELSEWHERE, ELSEWHERE) if large else (riff, data)
    sizes = (riff, data, samples) if large else (0, 0, 0)
    return (
        struct.pack("<4sI4s", b"RF64" if large else b"RIFF", size, b"WAVE")
        + struct.pack("<4sI3QI", b"ds64" if large else b"JUNK", 28, *sizes, 0)
        + layout
        + struct.pack("<4sI", b"data", stated)
    )
