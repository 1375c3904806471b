"""Parts of videos are what decoding all of the video would give, to the sample."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from common.audio.resample import resample
from mixit.yfcc import video_sound
from mixit.yfcc.video_sound import ClipError

if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
    pytest.skip("videos are made with ffmpeg", allow_module_level=True)

RATE = 16000
SECONDS = 6


def noise(rate, channels=1):
    """Noise below a quarter of the rate, 16 bits, [samples, channels]."""
    wave = np.random.default_rng(rate).standard_normal((SECONDS * rate, channels))
    wave = wave + np.roll(wave, 1, axis=0) + np.roll(wave, 2, axis=0)
    return np.round(3000 * wave).clip(-32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Make a video with a sound; ffmpeg's further words come last."""
    folder = tmp_path_factory.mktemp("films")

    def film(name, wave, rate, *words, late=0.0):
        path = folder / name
        if path.exists():
            return path
        soundfile.write(folder / "sound.wav", wave, rate)
        picture = f"testsrc=size=32x24:rate=5:duration={SECONDS}"
        inputs = ["-f", "lavfi", "-i", picture, "-itsoffset", str(late)]
        command = ["ffmpeg", "-y", "-v", "error", *inputs, "-i", folder / "sound.wav"]
        picture_words = ["-c:v", "mpeg4", "-g", "20", "-map", "0:v", "-map", "1:a"]
        subprocess.run([*command, *picture_words, *words, path], check=True)
        return path

    return film


def lag(part, whole, start):
    """Samples by which a part stands too early in the whole."""
    reach = 1500
    near = whole[start - reach : start + 4000 + reach]
    return int(np.argmax(np.correlate(near, part[:4000].astype(float)))) - reach


def error_db(part, true):
    return 10 * np.log10((np.sum((part - true) ** 2) + 1e-20) / np.sum(true**2))


@pytest.mark.parametrize("start", [0, 1, 50001, 4 * RATE + 7, 5 * RATE - 1])
@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_uncompressed_sound_is_exact(film, name, start):
    wave = noise(RATE)
    path = film(name, wave, RATE, "-c:a", "pcm_s16le")
    part = video_sound.read(path, start, RATE, RATE)
    np.testing.assert_array_equal(32768 * part, wave[start : start + RATE, 0])


def test_sound_without_picture_is_exact(tmp_path):
    wave = noise(RATE)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    part = video_sound.read(tmp_path / "a.wav", 4 * RATE + 7, RATE, RATE)
    np.testing.assert_array_equal(32768 * part, wave[4 * RATE + 7 :][:RATE, 0])


@pytest.mark.parametrize(("name", "rate"), [("b.mov", 44100), ("b.mkv", 22050)])
def test_other_rates_and_channels_are_parts_of_the_whole_converted(film, name, rate):
    wave = noise(rate, 2)
    path = film(name, wave, rate, "-c:a", "pcm_s16le")
    mono = (wave.astype(np.float32) / 32768).mean(axis=1, dtype=np.float32)
    whole = resample(mono[np.newaxis], rate, RATE)[0]
    for start in (0, 33333, 4 * RATE + 11):
        part = video_sound.read(path, start, RATE, RATE)
        np.testing.assert_allclose(part, whole[start : start + RATE], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mp4", "aac"), ("c.webm", "libopus"), ("c.ogg", "libvorbis")]
)
def test_compressed_sound_has_no_lag(film, name, codec):
    wave = noise(RATE)
    picture = {"c.webm": ["-c:v", "libvpx"], "c.ogg": ["-vn"]}.get(name, [])
    path = film(name, wave, RATE, "-c:a", codec, "-b:a", "96k", *picture)
    true = wave[:, 0] / 32768
    whole = video_sound.read(path, 0, (SECONDS - 1) * RATE, RATE)
    assert error_db(whole[:1024], true[:1024]) < -6
    for start in (4001, 4 * RATE - 13):
        part = video_sound.read(path, start, RATE, RATE)
        assert lag(part, true, start) == 0
        assert error_db(part, whole[start : start + RATE]) < -60


def test_late_sound_leaves_silence_before_it(film):
    wave = noise(RATE)
    path = film("late.mov", wave, RATE, "-c:a", "pcm_s16le", late=1.5)
    part = 32768 * video_sound.read(path, RATE, 2 * RATE, RATE)
    np.testing.assert_array_equal(part[: RATE // 2], 0)
    np.testing.assert_array_equal(part[RATE // 2 :], wave[: 3 * RATE // 2, 0])
    part = 32768 * video_sound.read(path, 4 * RATE, RATE, RATE)
    begin = 4 * RATE - 3 * RATE // 2
    np.testing.assert_array_equal(part, wave[begin : begin + RATE, 0])


def test_damaged_packets_leave_silence_and_move_nothing(film):
    wave = noise(RATE)
    path = film("c.mp4", wave, RATE, "-c:a", "aac", "-b:a", "96k")
    shown = "packet=pts_time,size,pos"
    words = ["-v", "error", "-select_streams", "a", "-show_entries", shown]
    command = ["ffprobe", *words, "-of", "csv=p=0", str(path)]
    packets = subprocess.run(command, capture_output=True, text=True, check=True)
    data = bytearray(path.read_bytes())
    for packet in packets.stdout.split():
        time, size, position = packet.split(",")[:3]
        if 4.0 < float(time) < 4.5:
            data[int(position) : int(position) + int(size)] = b"\xff" * int(size)
    path = path.with_name("damaged.mp4")
    path.write_bytes(data)
    part = video_sound.read(path, 3 * RATE, 3 * RATE, RATE)
    true = wave[3 * RATE :, 0] / 32768
    assert error_db(part[: RATE // 2], true[: RATE // 2]) < -6
    assert error_db(part[2 * RATE :], true[2 * RATE :]) < -6
    assert np.mean(part[RATE + 2000 : RATE + 6000] ** 2) < 1e-3 * np.mean(true**2)


def test_a_part_may_lack_a_tenth_of_a_second_at_its_end(film):
    wave = noise(RATE)
    path = film("a.mov", wave, RATE, "-c:a", "pcm_s16le")
    start = len(wave) - RATE
    part = 32768 * video_sound.read(path, start, RATE + 1600, RATE)
    np.testing.assert_array_equal(part[:RATE], wave[start:, 0])
    np.testing.assert_array_equal(part[RATE:], 0)
    for begin, samples in ((start, RATE + 1601), (len(wave), 100), (30 * RATE, 1)):
        with pytest.raises(ClipError, match=r"ends at .* s, the sound at 6\.000"):
            video_sound.read(path, begin, samples, RATE)


def test_reasons(film, tmp_path):
    path = film(
        "f.mov", noise(RATE), RATE, "-c:a", "pcm_s16le", "-movflags", "faststart"
    )
    cut, mute, junk = (tmp_path / name for name in ("cut.mov", "mute.mp4", "junk.mp4"))
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    junk.write_bytes(np.random.default_rng(0).bytes(5000))
    words = ["ffmpeg", "-v", "error", "-i", path, "-an", "-c", "copy", mute]
    subprocess.run(words, check=True)
    np.testing.assert_array_equal(
        video_sound.read(cut, RATE, RATE, RATE),
        video_sound.read(path, RATE, RATE, RATE),
    )
    for broken, reason in ((cut, "broken"), (mute, "without sound"), (junk, "broken")):
        with pytest.raises(ClipError) as error:
            video_sound.read(broken, 4 * RATE, RATE, RATE)
        assert error.value.reason == reason


def test_a_missing_ffmpeg_is_reported_in_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="not on PATH; install it with"):
        video_sound.need_ffmpeg()
