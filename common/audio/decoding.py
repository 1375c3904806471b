"""Decode sound files with libsndfile where it reads the whole file, else with ffmpeg.

Both yield one chunk after another, in the memory of one chunk.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import soundfile

from common.audio.channel_order import restored
from common.audio.ffmpeg import FFMPEG_CURE, Ffmpeg, ffmpeg_url
from common.audio.headers import AudioError, is_whole

MP3_FRAME_SAMPLES = 1152
BROKEN_OFF = ("partial file", "ended prematurely")
PLAYLISTS = (".m3u", ".m3u8", ".pls", ".xspf", ".cue")


class Sound(NamedTuple):
    """One of the audio streams of a file; no length if ffmpeg decodes it."""

    path: Path
    sample_rate: int
    channels: int
    samples: int | None
    stream: int
    streams: int = 1


def inspect(path: Path, stream: int = 0) -> Sound:
    """Probe a file and choose its decoder.

    Args:
        path: A sound file.
        stream: Index of the audio stream in a container with several.

    Raises:
        AudioError: It is missing, a folder, empty, not audio, cut short or without a
            sample, or needs ffmpeg where there is none.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.zeros([30, 2]), 8000)
    >>> inspect(path)[1:]
    (8000, 2, 30, 0, 1)
    """
    _check_file(path)
    file = None if stream else open_file(path)
    if file is None:
        is_whole(path)
        return _ffprobe(path, stream)
    with file:
        in_wav = file.subtype.startswith("MPEG") and file.format != "MP3"
        # Only ffmpeg reads which order the channels of an Opus file have.
        has_order = file.subtype == "OPUS" and file.channels > 2
        if in_wav or has_order or not is_whole(path, file.format):
            return _ffprobe(path, stream)
        sound = Sound(path, file.samplerate, file.channels, file.frames, stream)
    _check_start(sound, 0, file.frames)
    return sound


def decode(
    sound: Sound, chunk_samples: int, start: int, samples: int | None
) -> Iterator[np.ndarray]:
    """Decode an excerpt chunk by chunk, all but the last of one length.

    mp3 and what ffmpeg reads are decoded from their beginning, because seeking in them
    is not exact.

    Args:
        sound: From `inspect`.
        chunk_samples: Length of a chunk.
        start: First sample.
        samples: Largest number of samples, or None to the end.

    Yields:
        Float32 [channels, at most chunk_samples], at least one of them, all finite.

    Raises:
        AudioError: The excerpt starts after the end, the file is damaged, or a sample
            is NaN or infinite.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.zeros(30), 8000)
    >>> [chunk.shape for chunk in decode(inspect(path), 12, 5, None)]
    [(1, 12), (1, 12), (1, 1)]
    """
    chunks = _ffmpeg_chunks if sound.samples is None else _sndfile_chunks
    position = start
    for chunk in chunks(sound, chunk_samples, start, samples):
        check_finite(chunk, position, sound.sample_rate, sound.path)
        yield chunk
        position += chunk.shape[1]


class _Forward(soundfile.SoundFile):
    """A file that is read without the seek that soundfile makes after each read.

    In some mp3 files these seeks land at a wrong position, which is audible.
    """

    def seekable(self) -> bool:
        return False


def open_file(path: Path) -> _Forward | None:
    """Open a file with libsndfile; return None if it cannot read the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.zeros(30), 8000)
    >>> with open_file(path) as file:
    ...     file.subtype
    'PCM_16'
    """
    name = path.absolute()  # "-" alone would be standard input
    try:
        return _Forward(str(name) if os.name == "nt" else os.fsencode(name))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: .raw has no header
        return None


def _check_file(path: Path) -> None:
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises without permission)
        raise AudioError(f"{path} is a folder; give a sound file.")
    if _is_stream(path):
        raise AudioError(
            f"{path} is a pipe or a device, which cannot be read twice; give a sound "
            "file, or send the sound to standard input and give - instead."
        )
    try:
        with path.open("rb") as file:
            if file.read(1):
                return
    except FileNotFoundError:
        raise AudioError(f"{path} does not exist; check its name.") from None
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {error.strerror}.") from error
    raise AudioError(f"{path} is empty (0 bytes); copy or download it again.")


def _is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _check_start(sound: Sound, start: int, samples: int) -> None:
    if not samples:
        raise AudioError(f"{sound.path} holds no samples; give a file with sound.")
    if start >= samples:
        raise AudioError(
            f"{sound.path} holds {samples} samples; an excerpt cannot start at {start}."
        )


def check_finite(
    waveform: np.ndarray, position: int, sample_rate: int, name: object
) -> None:
    """Refuse NaN and infinite samples, naming the first.

    Args:
        waveform: Float [channels, samples].
        position: Position of its first sample in the whole sound.
        sample_rate: In Hz.
        name: Name of the sound, for the error.

    Raises:
        AudioError: A sample is not finite.

    >>> check_finite(np.zeros((1, 10)), 0, 8000, "a.wav")
    """
    finite = np.isfinite(waveform)
    if finite.all():
        return
    column = int(np.argmin(finite.all(axis=0)))
    value = waveform[:, column][~finite[:, column]][0]
    raise AudioError(
        f"{name} holds {value} at sample {position + column} "
        f"({(position + column) / sample_rate:.6f} s); samples must be finite; "
        "export the sound again."
    )


def _sndfile_chunks(
    sound: Sound, chunk_samples: int, start: int, samples: int | None
) -> Iterator[np.ndarray]:
    file = open_file(sound.path)
    if file is None:
        raise AudioError(f"{sound.path} changed while it was read; try again.")
    with file:
        _check_start(sound, start, file.frames)
        left = min(file.frames - start, samples or file.frames)
        if file.format == "MP3":
            for skip in _lengths(start, chunk_samples):
                _read_frames(file, skip, sound)
        else:
            _seek(file, start, sound)
        for length in _lengths(left, chunk_samples):
            frames = _read_frames(file, length, sound)
            if len(frames):
                yield np.ascontiguousarray(restored(frames, file.format).T)
            if len(frames) < length:
                return


def _lengths(total: int, chunk: int) -> Iterator[int]:
    for done in range(0, total, chunk):
        yield min(chunk, total - done)


def _seek(file: _Forward, start: int, sound: Sound) -> None:
    try:
        file.seek(start)
    except soundfile.LibsndfileError as error:  # a flac that breaks off
        raise _damage(sound, error) from error


def _damage(sound: Sound, error: soundfile.LibsndfileError) -> AudioError:
    return AudioError(
        f"{sound.path} is damaged or breaks off "
        f"({error.error_string.rstrip('.')}); copy or download it again."
    )


def _read_frames(file: _Forward, frames: int, sound: Sound) -> np.ndarray:
    try:
        chunk: np.ndarray = file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _damage(sound, error) from error
    # Some mp3 encoders count the frame of their header as sound.
    slack = MP3_FRAME_SAMPLES if file.format == "MP3" else 0
    if len(chunk) + slack < frames:
        raise AudioError(
            f"{sound.path} breaks off: its header promises {sound.samples} samples, "
            f"{frames - len(chunk)} of them or more are missing; "
            "copy or download it again."
        )
    return chunk


def codec(path: Path) -> str:
    """Return ffmpeg's name of the codec of a file's first audio stream.

    Raises:
        AudioError: It is not audio, or there is no ffmpeg.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.zeros(30), 8000)
    >>> codec(path) if shutil.which("ffprobe") else "pcm_s16le"
    'pcm_s16le'
    """
    _check_file(path)
    return str(_streams(path)[0].get("codec_name", "an unknown codec"))


def _ffprobe(path: Path, stream: int) -> Sound:
    """Probe an audio stream of a file with ffprobe."""
    streams = _streams(path)
    if stream >= len(streams):
        count = f"{len(streams)} audio stream{'s' * (len(streams) > 1)}"
        raise AudioError(
            f"{path} holds {count}, so stream {stream} does not exist; "
            f"expected 0 to {len(streams) - 1}."
        )
    rate = int(streams[stream].get("sample_rate", 0))
    channels = int(streams[stream].get("channels", 0))
    if not (rate and channels):
        raise AudioError(
            f"{path} is not audio that libsndfile or ffmpeg reads (no sample rate); "
            "give a sound file."
        )
    return Sound(path, rate, channels, None, stream, len(streams))


def _streams(path: Path) -> list[dict[str, Any]]:
    """List the audio streams of a file, at least one, with ffprobe."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise AudioError(
            f"{path} needs ffmpeg to be read, and ffmpeg or ffprobe is not on PATH; "
            f"{FFMPEG_CURE}."
        )
    import ffmpeg

    try:
        probed = ffmpeg.probe(ffmpeg_url(path), v="error", select_streams="a")
    except ffmpeg.Error as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["?"]
        reason = lines[-1].removeprefix(f"{ffmpeg_url(path)}: ")
        is_playlist = path.suffix.lower() in PLAYLISTS
        cure = "the sound files that it lists" if is_playlist else "a sound file"
        raise AudioError(
            f"{path} is not audio that libsndfile or ffmpeg reads ({reason}); "
            f"give {cure}."
        ) from error
    streams = list(probed["streams"])
    if not streams:
        raise AudioError(f"{path} holds no sound; give a file with an audio stream.")
    form = probed["format"]["format_name"]
    if streams[0].get("codec_name") == f"pcm_{form}":
        raise AudioError(
            f"{path} holds samples without a header ({form}), so its rate and channels "
            f"are unknown; convert it, such as by ffmpeg -f {form} -ar RATE -ac "
            f"CHANNELS -i {path.name} {path.stem}.wav."
        )
    return streams


def _ffmpeg_chunks(
    sound: Sound, chunk_samples: int, start: int, samples: int | None
) -> Iterator[np.ndarray]:
    """Decode through a pipe; samples before the excerpt are decoded and dropped."""
    words = ["-nostdin", "-i", ffmpeg_url(sound.path), "-map", f"0:a:{sound.stream}"]
    words += ["-c:a", "pcm_f32le", "-f", "f32le", "pipe:"]
    ffmpeg = Ffmpeg(words, stdout=subprocess.PIPE)
    pipe, channels = ffmpeg.process.stdout, sound.channels
    assert pipe is not None
    try:
        before = sum(p.shape[1] for p in _pipe(pipe, channels, chunk_samples, start))
        decoded = 0
        for chunk in _pipe(pipe, channels, chunk_samples, samples):
            decoded += chunk.shape[1]
            yield chunk
        if samples is None or decoded < samples:
            check_ending(sound, *ffmpeg.wait())
        if not decoded:
            _check_start(sound, start, before)
    finally:
        ffmpeg.stop()


def _pipe(
    pipe: IO[bytes], channels: int, chunk_samples: int, samples: int | None
) -> Iterator[np.ndarray]:
    left = samples
    while left is None or left:
        want = chunk_samples if left is None else min(left, chunk_samples)
        data = pipe.read(4 * channels * want)
        count = len(data) // (4 * channels)
        if count:
            frames = np.frombuffer(data, "<f4", count * channels)
            yield np.ascontiguousarray(frames.reshape(count, channels).T)
        if count < want:
            return
        left = None if left is None else left - count


def check_ending(sound: Sound, code: int, log: list[str]) -> None:
    """Raise an error for a failed decoder or a truncated file; log other messages.

    Args:
        sound: The decoded sound.
        code: Exit code of ffmpeg.
        log: Lines of its log.

    Raises:
        AudioError: The sound is damaged or truncated.

    >>> check_ending(Sound(Path("a.m4a"), 8000, 1, None, 0), 0, [])
    """
    last = log[-1] if log else "no reason given"
    if code:
        raise AudioError(
            f"{sound.path} is damaged: ffmpeg stops ({last}); "
            "copy or download it again."
        )
    cut = [line for line in log if any(words in line for words in BROKEN_OFF)]
    if cut:
        raise AudioError(
            f"{sound.path} breaks off (ffmpeg: {cut[-1]}); copy or download it again."
        )
    if log:
        logging.getLogger(__name__).warning("ffmpeg on %s: %s", sound.path, last)
