"""Probe and decode untrusted sound files in processes with limited memory and time.

ffprobe reads the header of this file only, with formats of music only. Then
``python -m harmony_split.sound`` decodes the first audio stream to a float wav, by the
decoders of `common.audio`, and stops at the length limit, whatever the header states.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common import audio
from common.audio.decoding import inspect
from common.errors import exit_code
from harmony_split.limits import Limits, RefusedError, duration

FORMATS = (
    "aac,aiff,asf,au,caf,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,w64,wav"
)
"""Demuxers of ffmpeg for uploads; none of them opens another file."""

NAMES = "wav, flac, mp3, m4a, ogg, opus, aiff or wma"
PROBE_SECONDS = 10
"""CPU time for a header; on the clock it may take longer on a machine that is busy."""

PROBE_PATIENCE = 6
MOST_RATE = 384_000
BLOCK_SAMPLES = 1 << 16
TOO_LONG = 3
"""Exit code of a decoding that stopped at the length limit."""

LIMITED = 'ulimit -v "$1" && ulimit -t "$2" && ulimit -f "$3" && shift 3 && exec "$@"'
"""Command that limits kB of memory, s of CPU time and 512-byte blocks of a file."""


@dataclass(frozen=True)
class Header:
    """Format in the header of a file; the length is None if it is not stated."""

    sample_rate: int
    channels: int
    seconds: float | None


def probe(path: Path, limits: Limits) -> Header:
    """Read the header of an upload.

    Args:
        path: The file.
        limits: Limits on memory, time, length and channels.

    Returns:
        The format of the first audio stream.

    Raises:
        RefusedError: It is not sound, or exceeds a limit.
    """
    if not path.stat().st_size:
        raise RefusedError(
            "not_audio", "The file is empty (0 bytes); choose another file."
        )
    words = ["ffprobe", "-v", "error", "-protocol_whitelist", "file"]
    words += ["-format_whitelist", FORMATS, "-select_streams", "a:0", "-of", "json"]
    words += ["-show_entries", "stream=sample_rate,channels,duration:format=duration"]
    shorter = replace(limits, decoder_seconds=PROBE_SECONDS)
    command = limited([*words, f"file:{path.absolute()}"], shorter, 0)
    slow = RefusedError(
        "unreadable",
        f"The header of the file takes longer than {PROBE_SECONDS} seconds to read; "
        "save the sound again in another format.",
    )
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=PROBE_PATIENCE * PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise slow from None
    if done.returncode < 0:
        raise slow
    if done.returncode:
        raise RefusedError(
            "not_audio",
            f"The file is not sound in a supported format; choose a {NAMES} file.",
        )
    return _checked(json.loads(done.stdout), limits)


def _checked(probed: dict, limits: Limits) -> Header:
    if not probed.get("streams"):
        raise RefusedError(
            "not_audio", f"The file holds no sound; choose a {NAMES} file with sound."
        )
    stream = probed["streams"][0]
    rate, channels = int(stream.get("sample_rate", 0)), int(stream.get("channels", 0))
    stated = stream.get("duration") or probed.get("format", {}).get("duration")
    header = Header(rate, channels, float(stated) if stated else None)
    if not 1 <= rate <= MOST_RATE:
        raise RefusedError(
            "unreadable",
            f"The file states a sample rate of {rate} Hz; expected 1 to {MOST_RATE} "
            "Hz. Save the sound again in another format.",
        )
    if not 1 <= channels <= limits.channels:
        raise RefusedError(
            "unreadable",
            f"The file has {channels} channels; expected 1 to {limits.channels:g}. "
            "Mix it down first.",
        )
    if (header.seconds or 0) > limits.song_seconds:
        raise too_long(limits)
    return header


def too_long(limits: Limits) -> RefusedError:
    """Return the refusal of a sound that is too long."""
    return RefusedError(
        "too_long",
        f"The sound is longer than {duration(limits.song_seconds)}, the most that this "
        "server accepts; shorten it and try again.",
    )


def decode(
    source: Path,
    target: Path,
    limits: Limits,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Decode an upload to a float wav in its own process.

    Args:
        source: The upload.
        target: The wav, which appears whole or not at all.
        limits: Limits on memory, time and length.
        stopped: Called several times a second; the process ends when it returns true.

    Raises:
        RefusedError: The sound is damaged or too long.
    """
    words = [sys.executable, "-m", "harmony_split.sound", str(source), str(target)]
    words.append(f"--seconds={limits.song_seconds}")
    command = limited(words, limits, int(limits.disk_gigabytes * 1e9))
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        while True:
            try:
                _, remarks = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if stopped():
                    return
    finally:
        process.kill()
        process.wait()
    if process.returncode == TOO_LONG:
        raise too_long(limits)
    if process.returncode:
        raise RefusedError("unreadable", _reason(remarks, source, process.returncode))


def _reason(remarks: str, source: Path, code: int) -> str:
    """Return the message of the decoder without the path, which users do not know."""
    lines = [line for line in remarks.splitlines() if line.startswith("decode: ")]
    if code == 1 and lines:
        sentence = lines[-1].removeprefix("decode: ")
        return sentence.replace(f"file:{source}", "the file").replace(
            str(source), "The file"
        )
    return (
        "The file needs more memory or time to decode than this server allows; save "
        "the sound again as flac or wav."
    )


def limited(command: Sequence[str], limits: Limits, file_bytes: int) -> list[str]:
    """Put limits on memory, CPU time and the size of a file before a command."""
    kilobytes, seconds = limits.decoder_megabytes * 1000, limits.decoder_seconds
    words = [str(math.ceil(n)) for n in (kilobytes, seconds, file_bytes / 512)]
    return ["/bin/sh", "-c", LIMITED, "sh", *words, *command]


def main(argv: Sequence[str] | None = None) -> int:
    """Decode one file; return 0, 1 after bad input, or `TOO_LONG`."""
    parser = argparse.ArgumentParser("harmony_split.sound", description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True, help="longest sound")
    options = parser.parse_args(argv)
    path, target = Path(options.source), Path(options.target)
    try:
        return exit_code("decode", lambda: _decode(path, target, options.seconds))
    except EOFError:
        return TOO_LONG


def _decode(source: Path, target: Path, seconds: float) -> int:
    """Decode a file block by block; raise EOFError after the length limit."""
    sound = inspect(source)
    left = int(seconds * sound.sample_rate) + 1
    with audio.Writer(target, sound.sample_rate, sound.channels) as writer:
        for block in audio.blocks(source, BLOCK_SAMPLES):
            left -= block.shape[1]
            if left < 0:
                raise EOFError
            writer.write(block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
