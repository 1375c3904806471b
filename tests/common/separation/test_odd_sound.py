"""Unusual sounds: stems of their length, rate and channels, or one sentence."""

import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from common.separation.command import command
from common.separation.separator import Separator

RATE = 8000
SAMPLES = 3000
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg here")


def load(model):
    def halves(batch):
        return np.stack([0.75 * batch, 0.25 * batch], 1)

    return Separator(halves, ["vocals", "rest"], RATE, named=True)


@pytest.fixture
def separate(tmp_path, capsys):
    """Separate a file; gives its mixture and rate, or the sentence that refuses it."""

    def separate(path):
        out = tmp_path / "out"
        capsys.readouterr()
        words = [str(path), "--output", str(out)]
        code = command(load, words, "Separate.", model="half")
        errors = capsys.readouterr().err
        if code:
            assert code == 1
            assert not out.exists()
            (sentence,) = errors.splitlines()
            return sentence
        assert not errors
        stems = [soundfile.read(each, always_2d=True) for each in out.rglob("*.wav")]
        assert len(stems) == 2
        return sum(samples for samples, _ in stems).T, stems[0][1]

    return separate


def tone(channels=1, rate=RATE, samples=SAMPLES):
    """A tone in the band of the model, at another level in each channel."""
    time = np.arange(samples) / rate
    levels = np.linspace(0.2, 0.6, channels)
    return levels * np.sin(2 * np.pi * 440 * time)[:, np.newaxis]


RATES = (8000, 11025, 12000, 22050, 32000, 44100, 48000, 96000, 192_000)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 8])
def test_rates_from_8_to_192_khz(tmp_path, separate, rate, channels):
    sound = tone(channels, rate)
    soundfile.write(tmp_path / "a.wav", sound, rate, "FLOAT")
    mixture, found = separate(tmp_path / "a.wav")
    assert found == rate
    np.testing.assert_allclose(mixture, sound.T, atol=1e-5)


@pytest.mark.parametrize("channels", range(2, 8))
def test_channels_from_1_to_8(tmp_path, separate, channels):
    sound = tone(channels)
    soundfile.write(tmp_path / "a.flac", sound, RATE, "PCM_24")
    mixture, _ = separate(tmp_path / "a.flac")
    np.testing.assert_allclose(mixture, sound.T, atol=1e-5)


LOSSLESS = {
    "u8.wav": "pcm_u8", "s24.wav": "pcm_s24le", "s32.wav": "pcm_s32le",
    "f64.wav": "pcm_f64le", "a.w64": "pcm_s16le", "a.aiff": "pcm_s16be",
    "f.aiff": "pcm_f32be", "a.au": "pcm_s16be", "a.caf": "pcm_s16be",
    "alac.caf": "alac", "a.oga": "flac", "a.voc": "pcm_s16le",
    "a.mka": "pcm_s16le", "a.mov": "pcm_s16le",
    "a.wv": "wavpack", "a.tta": "tta", "alac.m4a": "alac",
}  # fmt: skip
LOSSY = {
    "alaw.wav": "pcm_alaw", "adpcm.wav": "adpcm_ima_wav", "a.ogg": "libvorbis",
    "a.opus": "libopus", "a.mp3": "libmp3lame", "a.m4a": "aac", "a.wma": "wmav2",
    "a.webm": "libopus", "a.ac3": "ac3", "a.avi": "libmp3lame", "a.aac": "aac",
}  # fmt: skip
CODEC_RATE = 48000
"""Every codec has it."""


def encode(path, codec, *more):
    """Write a tone by ffmpeg."""
    source = path.with_name("source.wav")
    soundfile.write(source, tone(2, CODEC_RATE, 2 * SAMPLES), CODEC_RATE)
    command = ["ffmpeg", "-v", "error", "-i", source, *more, "-c:a", codec, path]
    subprocess.run(command, check=True)


@needs_ffmpeg
@pytest.mark.parametrize(("name", "codec"), LOSSLESS.items())
def test_lossless_containers(tmp_path, separate, name, codec):
    encode(tmp_path / name, codec)
    mixture, rate = separate(tmp_path / name)
    assert rate == CODEC_RATE
    steps = 2**7 if codec == "pcm_u8" else 2**15
    np.testing.assert_allclose(
        mixture, tone(2, CODEC_RATE, 2 * SAMPLES).T, atol=1.01 / steps
    )


@needs_ffmpeg
@pytest.mark.parametrize(("name", "codec"), LOSSY.items())
def test_lossy_containers(tmp_path, separate, name, codec):
    encode(tmp_path / name, codec)
    mixture, rate = separate(tmp_path / name)
    assert (rate, len(mixture)) == (CODEC_RATE, 2)
    # Codecs of frames may add one at each end; the encoder of wma leaves out the last.
    least = -2048 if codec == "wmav2" else -64
    assert least <= mixture.shape[1] - 2 * SAMPLES <= 2 * 2048
    assert np.abs(mixture).max() > 0.4


@needs_ffmpeg
@pytest.mark.parametrize("picture", ["video.mp4", "cover.mp3", "cover.m4a"])
def test_the_sound_of_videos_and_of_files_with_covers(tmp_path, separate, picture):
    drawn = ["-f", "lavfi", "-i", "testsrc=duration=0.2:size=32x32:rate=10"]
    encoder = ["-c:v", "mpeg4"]
    if picture.startswith("cover"):
        encoder = ["-frames:v", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic"]
    codec = "libmp3lame" if picture.endswith("mp3") else "aac"
    encode(tmp_path / picture, codec, *drawn, "-map", "0:a", "-map", "1:v", *encoder)
    mixture, rate = separate(tmp_path / picture)
    assert (rate, len(mixture)) == (CODEC_RATE, 2)
    assert mixture.shape[1] >= 2 * SAMPLES


@needs_ffmpeg
def test_the_first_of_several_tracks(tmp_path, separate):
    second = ["-f", "lavfi", "-i", "sine=880:sample_rate=44100:duration=0.5"]
    path = tmp_path / "two.mkv"
    encode(path, "pcm_s16le", *second, "-map", "0:a", "-map", "1:a")
    mixture, rate = separate(path)
    assert (rate, mixture.shape) == (CODEC_RATE, (2, 2 * SAMPLES))


@needs_ffmpeg
def test_a_video_without_sound(tmp_path, separate):
    path = tmp_path / "silent.mp4"
    drawn = ["-f", "lavfi", "-i", "testsrc=duration=0.2:size=32x32:rate=10"]
    subprocess.run(["ffmpeg", "-v", "error", *drawn, "-c:v", "mpeg4", path], check=True)
    assert "holds no sound" in separate(path)


CONTENTS = {
    "silence": 0 * tone(),
    "a constant": 0 * tone() + 0.5,
    "a square wave of full scale": np.sign(tone()),
    "far beyond full scale": 1e6 * tone(),
    "almost nothing": 1e-42 * tone(),
    "two samples": tone()[1:3],
    "one sample": tone()[1:2],
}


@pytest.mark.parametrize("content", CONTENTS)
def test_contents(tmp_path, separate, content):
    sound = CONTENTS[content]
    soundfile.write(tmp_path / "a.wav", sound, RATE, "FLOAT")
    mixture, _ = separate(tmp_path / "a.wav")
    np.testing.assert_allclose(mixture, sound.T, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, separate, value):
    sound = tone()
    sound[5] = value
    soundfile.write(tmp_path / "a.wav", sound, RATE, "FLOAT")
    assert f"holds {value} at sample 5" in separate(tmp_path / "a.wav")


def test_no_samples(tmp_path, separate):
    soundfile.write(tmp_path / "a.wav", tone()[:0], RATE)
    assert "holds no samples" in separate(tmp_path / "a.wav")


SIZES = {
    "a.wav": (b"data", "<I"),
    "a.aiff": (b"SSND", ">I"),
    "a.caf": (b"data", ">Q"),
    "a.w64": (b"data", "<12xQ"),
    "a.au": (b".snd", ">4xI"),
}
"""Where a header states the bytes of sound: after these letters, in this form."""

BYTES = 2 * SAMPLES


def lie(path, number):
    """Change the size that the header of a file states."""
    letters, form = SIZES[path.name]
    content = bytearray(path.read_bytes())
    size = struct.calcsize(form)
    at = content.index(letters) + len(letters) + size
    width = 4 if form[-1] == "I" else 8
    content[at - width : at] = struct.pack(form, number)[-width:]
    path.write_bytes(content)


@pytest.mark.parametrize("name", SIZES)
def test_a_header_that_promises_too_much(tmp_path, separate, name):
    soundfile.write(tmp_path / name, tone(), RATE, "PCM_16")
    lie(tmp_path / name, 10 * BYTES)
    assert "breaks off: its header promises" in separate(tmp_path / name)


@pytest.mark.parametrize("name", sorted(set(SIZES) - {"a.w64"}))
def test_samples_beyond_the_stated_length_are_not_read(tmp_path, separate, name):
    soundfile.write(tmp_path / name, tone(), RATE, "PCM_16")
    lie(tmp_path / name, BYTES // 2)
    mixture, _ = separate(tmp_path / name)
    # Some sizes count the header of their chunk.
    assert SAMPLES // 2 - 12 <= mixture.shape[1] <= SAMPLES // 2
    np.testing.assert_allclose(mixture, tone()[: mixture.shape[1]].T, atol=1e-4)


@needs_ffmpeg
def test_chunks_after_the_samples_of_a_w64_are_not_read(tmp_path, separate):
    soundfile.write(tmp_path / "a.w64", tone(), RATE, "PCM_16")
    lie(tmp_path / "a.w64", BYTES // 2)
    assert soundfile.info(tmp_path / "a.w64").frames == SAMPLES
    assert "is not audio" in separate(tmp_path / "a.w64")


@needs_ffmpeg
@pytest.mark.parametrize("name", SIZES)
def test_a_header_without_a_length(tmp_path, separate, name):
    soundfile.write(tmp_path / name, tone(), RATE, "PCM_16")
    lie(tmp_path / name, 2**64 - 1 if name in ("a.caf", "a.w64") else 2**32 - 1)
    mixture, _ = separate(tmp_path / name)
    np.testing.assert_allclose(mixture, tone().T, atol=1e-4)


@needs_ffmpeg
@pytest.mark.parametrize(
    "name",
    ["a.au", "a.caf", "a.w64", "a.flac", "a.ogg", "a.mka", "a.m4a", "a.voc", "a.avi"],
)
def test_files_that_break_off(tmp_path, separate, name):
    codecs = {**LOSSLESS, **LOSSY, "a.flac": "flac", "a.caf": "pcm_s16le"}
    encode(tmp_path / name, codecs[name])
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
    sentence = separate(tmp_path / name)
    assert "breaks off" in sentence or "is not audio" in sentence


@needs_ffmpeg
def test_a_voc_of_several_blocks_is_read_without_their_headers(tmp_path, separate):
    encode(tmp_path / "a.voc", "pcm_s16le")
    assert soundfile.info(tmp_path / "a.voc").frames != 2 * SAMPLES
    assert separate(tmp_path / "a.voc")[0].shape == (2, 2 * SAMPLES)


def test_a_folder_with_the_name_of_a_sound(tmp_path, separate):
    (tmp_path / "a.wav").mkdir()
    assert "holds no sound" in separate(tmp_path / "a.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_waited_for(tmp_path, separate):
    os.mkfifo(tmp_path / "a.wav")
    assert "is a pipe or a device" in separate(tmp_path / "a.wav")
    assert "is a pipe or a device" in separate(os.devnull)
