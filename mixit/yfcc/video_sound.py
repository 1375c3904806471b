"""Read a part of the sound of a video, sample-accurate as after decoding all of it.

Time counts from the start of the file, as in players and ``ffmpeg -ss``. In mp4 and mov
every packet states its time in samples, so ffmpeg starts shortly before the part; late
sound or damaged packets become silence and shift nothing. Other containers round their
times (Matroska to milliseconds), which would shift a part by dozens of samples, so
these are decoded from the start.
"""

from __future__ import annotations

import re
import shutil
from functools import lru_cache
from math import ceil, gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.audio.decoding import BROKEN_OFF, check_finite
from common.audio.ffmpeg import FFMPEG_CURE
from common.audio.headers import AudioError
from common.audio.resample import resample
from common.corpora.track import CorpusError

LEAD_SECONDS = 2
"""Margin in s that is decoded before a part, for the start of the decoder."""
MARGIN_SECONDS = 0.1
"""Margin in s on both sides of a part, for the filter of the resampler."""
END_SECONDS = 0.1
"""Missing s at the end that are accepted; sound is often shorter than its video."""


class ClipError(CorpusError):
    """A clip that cannot be made, with a short reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Stream(NamedTuple):
    """The first audio stream of a video; ``seconds`` is its end, None if not stated."""

    path: Path
    sample_rate: int
    channels: int
    seconds: float | None
    seekable: bool


def need_ffmpeg() -> None:
    """Check that ffmpeg is installed.

    Raises:
        CorpusError: ffmpeg or ffprobe is missing.
    """
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise CorpusError(
            f"ffmpeg and ffprobe read videos and are not on PATH; {FFMPEG_CURE}."
        )


@lru_cache(maxsize=1024)
def probe(path: Path) -> Stream:
    """Probe the sound of a video.

    Args:
        path: The video.

    Raises:
        ClipError: The file is broken, or has no sound.
    """
    import ffmpeg

    try:
        probed = ffmpeg.probe(_url(path), v="error", select_streams="a")
    except ffmpeg.Error as error:
        raise ClipError("broken", _last_line(error.stderr, path)) from error
    if not probed["streams"]:
        raise ClipError("without sound", "no stream of sound")
    sound = probed["streams"][0]
    rate, channels = int(sound.get("sample_rate", 0)), int(sound.get("channels", 0))
    if not (rate and channels):
        raise ClipError("broken", "its sound has no sample rate")
    end = None
    if "duration" in sound:
        end = float(sound["duration"]) + float(sound.get("start_time", 0))
    is_mov = "mov" in probed["format"]["format_name"].split(",")
    counts_samples = sound.get("time_base") == f"1/{rate}"
    return Stream(path, rate, channels, end, is_mov and counts_samples)


def read(path: Path, start: int, samples: int, sample_rate: int) -> np.ndarray:
    """Read a part of a video's sound as one channel at a sample rate.

    The samples are those of the whole sound after its conversion, from ``start`` on.

    Args:
        path: The video.
        start: First sample, at ``sample_rate``.
        samples: Number of samples.
        sample_rate: In Hz.

    Returns:
        Float32 [samples], full scale +-1, the mean over the channels; up to 0.1 s
        that are missing at the end are silent.

    Raises:
        ClipError: The file is broken, has no sound or ends before the part does.
    """
    stream = probe(path)
    # The excerpt starts at a multiple of a step, where samples of both rates coincide.
    common = gcd(stream.sample_rate, sample_rate)
    step, source_step = sample_rate // common, stream.sample_rate // common
    margin = ceil(MARGIN_SECONDS * sample_rate)
    steps = max(0, start - margin) // step
    last = ceil((start + samples + margin) * stream.sample_rate / sample_rate)
    samples_read, remark = _decode(stream, steps * source_step, last)
    skip = start - steps * step
    mono = samples_read.mean(axis=1, dtype=np.float32)[np.newaxis]
    if mono.size:
        mono = resample(mono, stream.sample_rate, sample_rate)
    part = mono[0, skip : skip + samples]
    lacking = samples - len(part)
    if lacking > END_SECONDS * sample_rate or not len(part):
        available = steps * step / sample_rate + mono.shape[1] / sample_rate
        _refuse(stream, (start + samples) / sample_rate, available, remark)
    return np.pad(part, (0, lacking))


def _refuse(stream: Stream, clip_end: float, available: float, remark: str) -> None:
    """Raise an error for a truncated file, or for a part after its end."""
    promised = min(
        clip_end, stream.seconds if stream.seconds is not None else available
    )
    if promised > available + END_SECONDS or any(word in remark for word in BROKEN_OFF):
        detail = f"breaks off before {clip_end:.3f} s; {remark}".rstrip("; ")
        raise ClipError("broken", detail)
    end = stream.seconds if stream.seconds is not None else available
    raise ClipError(
        "past the end", f"the clip ends at {clip_end:.3f} s, the sound at {end:.3f} s"
    )


def _decode(stream: Stream, start: int, end: int) -> tuple[np.ndarray, str]:
    """Decode a part at the rate of the stream: [frames, channels], and a remark."""
    import ffmpeg

    rate = stream.sample_rate
    lead = max(0, start // rate - LEAD_SECONDS) if stream.seekable else 0
    # -ss 0 would drop the packets before time 0, which the first samples depend on.
    seek = {"noaccurate_seek": None, "ss": lead} if lead else {}
    first, last = start - lead * rate, end - lead * rate
    count = "" if stream.seekable else "asetpts=N/SR/TB,"
    graph = ffmpeg.input(_url(stream.path), **seek).output(
        "pipe:",
        map="0:a:0",
        af=f"{count}atrim=start_pts={first}:end_pts={last},"
        f"aresample=async=1:min_comp=0:first_pts={first}",
        format="f32le",
        acodec="pcm_f32le",
        ac=stream.channels,
        ar=rate,
    )
    command = graph.global_args("-nostdin", "-loglevel", "error")
    try:
        sound, remarks = command.run(capture_stdout=True, capture_stderr=True)
    except ffmpeg.Error as error:
        raise ClipError("broken", _last_line(error.stderr, stream.path)) from error
    frames = np.frombuffer(sound, "<f4").reshape(-1, stream.channels)
    try:
        check_finite(frames.T, start, rate, stream.path)
    except AudioError as error:
        raise ClipError("broken", str(error)) from error
    return frames, _last_line(remarks, stream.path) if remarks else ""


def _url(path: Path) -> str:
    return f"file:{path.absolute()}"  # neither an option nor a protocol of ffmpeg


def _last_line(remarks: bytes, path: Path) -> str:
    lines = remarks.decode(errors="replace").strip().splitlines() or ["no reason given"]
    plain = re.sub(r" @ 0x[0-9a-f]+", "", lines[-1])  # an address of memory
    return plain.replace(_url(path) + ": ", "").strip()
