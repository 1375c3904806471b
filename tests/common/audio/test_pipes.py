"""Sound from pipes: the samples of the file, as they arrive, and clear words."""

import contextlib
import io
import os
import shutil
import struct
import subprocess
import threading

import numpy as np
import pytest
import soundfile

from common import audio
from common.audio import AudioError, encoding, pipes
from common.audio.pipes import PipedSound, Raw, parse_raw

RATE = 8000
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg here")


def noise(channels, samples):
    random = np.random.default_rng(0)
    return random.uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)


def joined(sound, **part):
    return np.concatenate(list(sound.blocks(**part)), axis=1)


def wav(path, subtype="PCM_16", channels=2, samples=40_000):
    soundfile.write(path, noise(channels, samples).T, RATE, subtype)
    return path.read_bytes()


@pytest.mark.parametrize("subtype", list(pipes.PLAIN))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_wav_has_the_samples_of_the_file(tmp_path, subtype, channels):
    path = tmp_path / "a.wav"
    data = wav(path, subtype, channels)
    sound = PipedSound(io.BytesIO(data))
    assert (sound.sample_rate, sound.channels) == (RATE, channels)
    np.testing.assert_array_equal(joined(sound), audio.read(path)[0])
    assert sound.facts()["bytes"] == len(data)


def with_length(data, length):
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", length) + data[at + 4 :]


@pytest.mark.parametrize("length", [0, 0x7FFFFF00, 0xFFFFFFFF])
@pytest.mark.parametrize("end", [0, -3])
def test_a_wav_without_its_length_is_read_to_the_end(tmp_path, length, end):
    path = tmp_path / "a.wav"
    data = wav(path)
    streamed = with_length(data, length)[: end or None]
    whole = audio.read(path)[0]
    read = joined(PipedSound(io.BytesIO(streamed)))
    np.testing.assert_array_equal(read, whole[:, : read.shape[1]])
    assert read.shape[1] == whole.shape[1] - bool(end)


def test_a_wav_that_states_its_length_ends_there(tmp_path):
    data = wav(tmp_path / "a.wav", samples=100)
    sound = PipedSound(io.BytesIO(data + b"LIST" + bytes(100)))
    assert joined(sound).shape == (2, 100)
    assert sound.facts()["bytes"] == len(data) + 104
    with pytest.raises(AudioError, match="its header promises 8 bytes more than it"):
        joined(PipedSound(io.BytesIO(data[:-8])))


@needs_ffmpeg
@pytest.mark.parametrize("options", [["-rf64", "always"], []])
def test_a_wav_of_ffmpeg_has_its_samples_and_tags(tmp_path, options):
    wav(tmp_path / "a.wav")
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav"]
    command += ["-metadata", "title=Blue", *options, "-f", "wav", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        sound = PipedSound(process.stdout)
        read = joined(sound)
    np.testing.assert_array_equal(read, audio.read(tmp_path / "a.wav")[0])
    assert sound.tags == {"title": "Blue"}


@needs_ffmpeg
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "ULAW"])
def test_ffmpeg_decodes_the_rest(tmp_path, subtype):
    path = tmp_path / ("a.wav" if subtype == "ULAW" else "a.flac")
    data = wav(path, subtype)
    sound = PipedSound(io.BytesIO(data))
    np.testing.assert_array_equal(joined(sound), audio.read(path)[0])
    assert sound.facts()["bytes"] == len(data)


@pytest.mark.parametrize("sample_type", list(pipes.RAW_TYPES))
def test_raw_samples(tmp_path, sample_type):
    path = tmp_path / "a.wav"
    subtype = encoding.FORMATS[pipes.RAW_TYPES[sample_type]].subtype
    data = wav(path, subtype)
    data = data[-(40_000 * 2 * pipes.PLAIN[subtype]) :]
    layout = parse_raw(f"{sample_type},{RATE},2")
    read = joined(PipedSound(io.BytesIO(data), layout))
    np.testing.assert_array_equal(read, audio.read(path)[0])
    with pytest.raises(AudioError, match="1 bytes after its last sample of 2 channels"):
        joined(PipedSound(io.BytesIO(data + b"x"), layout))


@pytest.mark.parametrize("text", ["s16le", "s8,8000,1", "s16le,8000,0", "f32le,x,1"])
def test_raw_layouts_are_checked(text):
    with pytest.raises(AudioError, match=f"raw is '{text}'; expected type, rate"):
        parse_raw(text)


@pytest.mark.parametrize("name", ["wav", pytest.param("flac", marks=needs_ffmpeg)])
def test_samples_are_read_while_the_pipe_is_open(tmp_path, name):
    path = tmp_path / f"a.{name}"
    soundfile.write(path, noise(2, 20 * RATE).T, RATE, "PCM_16")
    data = path.read_bytes()
    ours, theirs = os.pipe()

    def send():
        with contextlib.suppress(BrokenPipeError):
            os.write(theirs, data[: len(data) // 2])

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(ours, "rb", 0) as reader:
        blocks = PipedSound(reader).blocks()
        samples = 0
        while samples < 2 * RATE:
            samples += next(blocks).shape[1]
        assert os.fstat(theirs)  # it has not ended
        blocks.close()
    sender.join()
    os.close(theirs)


def test_a_part_is_read_and_no_more(tmp_path):
    data = wav(tmp_path / "a.wav")
    whole = audio.read(tmp_path / "a.wav")[0]
    for start, samples in ((0, 1), (20_000, 5), (16_000, 9000), (39_990, 100)):
        sound = PipedSound(io.BytesIO(data))
        part = joined(sound, start=start, samples=samples)
        np.testing.assert_array_equal(part, whole[:, start : start + samples])
        assert bool(sound.facts()) == (start + samples > 40_000)
    with pytest.raises(AudioError, match="holds 40000 samples; expected more than 400"):
        joined(PipedSound(io.BytesIO(data)), start=40_000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "standard input is empty"),
        (b"RIFF\0\0\0\0WAVEfmt ", "is a wav without samples"),
        pytest.param(bytes(9000), "is not audio that can be", marks=needs_ffmpeg),
    ],
)
def test_what_is_no_sound_is_reported_in_one_sentence(data, words):
    with pytest.raises(AudioError, match=words):
        PipedSound(io.BytesIO(data))


def test_no_samples_and_bad_samples(tmp_path):
    with pytest.raises(AudioError, match="holds 0 samples; expected more than 0"):
        joined(PipedSound(io.BytesIO(b""), Raw("s16le", RATE, 1)))
    wave = np.zeros([1, 9000], np.float32)
    wave[0, 4000] = np.nan
    with pytest.raises(AudioError, match=r"nan at sample 3000 \(0.375"):
        joined(PipedSound(io.BytesIO(wave.tobytes()[4000:]), Raw("f32le", RATE, 1)))


def test_other_formats_need_ffmpeg(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AudioError, match="needs ffmpeg, and there is none on PATH"):
        PipedSound(io.BytesIO(b"fLaC" + bytes(90)))
