"""Every format in, clear words for what is broken, nothing half written."""

import contextlib
import errno
import os
import resource
import shutil
import struct
import subprocess
import tracemalloc
import wave

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from common import audio, files
from common.audio import AudioError, encoding
from common.audio import headers as containers
from common.audio.tags import read_tags

needs_ffmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="no ffmpeg here"
)
LOSSLESS = [
    *("wav", "wav16", "wav24", "flac", "flac16", "aiff", "aiff16", "aiff32"),
]


def music(channels=2, samples=20000, rate=44100):
    """Chords of a different pitch in every channel, peak 0.6, and a little noise."""
    seconds = np.arange(samples) / rate
    noise = np.random.default_rng(1).normal(size=(channels, samples))
    tones = [
        sum(np.sin(2 * np.pi * 220 * (1 + c) * k * seconds) / k for k in (1, 2, 3))
        for c in range(channels)
    ]
    return (0.3 * np.array(tones) + 0.003 * noise).astype(np.float32)


def ffmpeg(*words):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True, timeout=60)


def cut(source, target, share=0.6):
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def best_error(estimate, reference, shifts=range(-2, 3)):
    """Signal to error ratio in dB, over a few samples of codec delay."""
    length = min(estimate.shape[1], reference.shape[1]) - 10
    r = reference[:, 5:length]
    errors = [np.sum((estimate[:, 5 + s : length + s] - r) ** 2) for s in shifts]
    return 10 * np.log10(np.sum(r**2) / max(min(errors), 1e-20))


# Round trips ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("samples", [1, 777])
def test_lossless_formats_keep_every_bit(tmp_path, name, channels, samples):
    kind = audio.FORMATS[name]
    bits = kind.bits or 24
    full = 2 ** (bits - 1)
    values = np.random.default_rng(0).integers(-full, full, (channels, samples))
    waveform = (values / full).astype(np.float32)
    path = tmp_path / f"x{kind.suffix}"
    audio.write(path, waveform, 22050, name)
    back, rate = audio.read(path)
    assert rate == 22050
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, waveform)
    assert audio.probe(path) == (22050, channels, samples)
    assert soundfile.info(path).subtype == kind.subtype


@pytest.mark.parametrize(("name", "floor"), [("ogg", 18), ("mp3", 18)])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_formats_keep_the_sound(tmp_path, name, floor, channels):
    waveform = music(channels, 44100)
    path = tmp_path / f"x.{name}"
    audio.write(path, waveform, 44100, name)
    back, rate = audio.read(path)
    assert (back.shape, rate) == (waveform.shape, 44100)
    assert best_error(back, waveform) > floor


@needs_ffmpeg
@pytest.mark.parametrize(
    ("channels", "layout"),
    [(3, "3.0"), (4, "quad"), (5, "5.0"), (6, "5.1"), (7, "6.1"), (8, "7.1")],
)
def test_an_ogg_keeps_every_channel_at_its_loudspeaker(tmp_path, channels, layout):
    # Low tones, because the encoder keeps no others of the low frequencies.
    pitches = 40 + 10 * np.arange(channels)[:, np.newaxis]
    waveform = 0.3 * np.sin(2 * np.pi * pitches * np.arange(44100) / 44100)
    audio.write(tmp_path / "ours.ogg", waveform, 44100, "ogg")
    audio.write(tmp_path / "x.wav", waveform, 44100, "wav")
    said = ["-channel_layout", layout]
    ffmpeg(*said, "-i", tmp_path / "x.wav", "-c:a", "libvorbis", tmp_path / "ff.ogg")
    ffmpeg("-i", tmp_path / "ours.ogg", "-c:a", "pcm_f32le", tmp_path / "back.wav")
    for name in ("ours.ogg", "ff.ogg", "back.wav"):
        back = audio.read(tmp_path / name)[0]
        for channel in range(channels):
            found = best_error(back[[channel]], waveform[[channel]])
            assert found > 10, (name, channel)


@needs_ffmpeg
@pytest.mark.parametrize("family", ["1", "255"])
def test_an_opus_of_six_channels_keeps_their_order(tmp_path, family):
    pitches = 40 + 10 * np.arange(6)[:, np.newaxis]
    waveform = 0.3 * np.sin(2 * np.pi * pitches * np.arange(48000) / 48000)
    audio.write(tmp_path / "x.wav", waveform, 48000, "wav")
    words = ["-channel_layout", "5.1", "-i", tmp_path / "x.wav", "-c:a", "libopus"]
    ffmpeg(*words, "-mapping_family", family, tmp_path / "x.opus")
    back = audio.read(tmp_path / "x.opus")[0]
    for channel in range(6):
        assert best_error(back[[channel]], waveform[[channel]]) > 10


@needs_ffmpeg
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_formats_of_ffmpeg_keep_the_sound(tmp_path, channels, rate):
    waveform = music(channels, 44100, rate)
    audio.write(tmp_path / "x.m4a", waveform, rate, "m4a")
    back, m4a_rate = audio.read(tmp_path / "x.m4a")
    assert m4a_rate == rate
    assert 44100 <= back.shape[1] < 44100 + 1024
    assert best_error(back[:, :44100], waveform) > 15
    audio.write(tmp_path / "x.opus", waveform, rate, "opus")
    back, opus_rate = audio.read(tmp_path / "x.opus")
    assert opus_rate == {8000: 8000, 44100: 48000}[rate]
    assert abs(back.shape[1] - 44100 * opus_rate / rate) <= 2
    levels = [np.sqrt(np.square(each).mean()) for each in (back, waveform)]
    assert levels[0] == pytest.approx(levels[1], rel=0.05)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["m4a", "opus"])
def test_sounds_that_an_encoder_loses_are_refused(tmp_path, name):
    with pytest.raises(AudioError, match=r"1 samples, which its encoder loses"):
        audio.write(tmp_path / f"x.{name}", np.zeros((1, 1), np.float32), 44100, name)
    assert not os.listdir(tmp_path)  # noqa: PTH208


def test_formats_of_ffmpeg_name_their_cure_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"need ffmpeg to be written.*apt install"):
        audio.write(tmp_path / "x.m4a", music(1, 9000), 44100, "m4a")


def test_an_aiff_is_not_longer_than_it_can_state(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "AIFF_BYTES", 1000)
    with pytest.raises(AudioError, match="4 GiB that aiff holds; write wav"):
        audio.write(tmp_path / "x.aiff", music(1, 600), 44100, "aiff16")
    audio.write(tmp_path / "x.aiff", music(1, 500), 44100, "aiff16")


TAGS = {
    "title": "Straße",
    "artist": "歌手",
    "album": "Blue",
    "date": "1999",
    "genre": "Jazz",
    "tracknumber": "7",
    "comment": "live",
    "copyright": "none",
}
LOST = {"aiff": {"album", "date", "genre", "tracknumber"}, "mp3": {"copyright"}}


@pytest.mark.parametrize("name", list(audio.FORMATS))
def test_tags_are_written_and_read(tmp_path, name):
    kind = audio.FORMATS[name]
    path = tmp_path / f"x{kind.suffix}"
    waveform = music(1, 4001, 48000)
    with audio.Writer(path, 48000, 1, name, TAGS) as writer:
        writer.write(waveform)
    lost = LOST.get(name[:4], set())
    assert read_tags(path) == {key: TAGS[key] for key in TAGS if key not in lost}
    assert 4001 <= audio.probe(path).samples < 4001 + 1024
    if name in LOSSLESS:
        assert best_error(audio.read(path)[0], waveform) > 80


def test_a_file_without_tags_has_none(tmp_path):
    audio.write(tmp_path / "x.wav", music(1, 100), 8000)
    assert read_tags(tmp_path / "x.wav") == {}
    (tmp_path / "x.txt").write_text("no sound")
    assert read_tags(tmp_path / "x.txt") == {}


@pytest.mark.parametrize("name", list(audio.FORMATS))
def test_the_format_of_a_file_is_that_of_its_writer(tmp_path, name):
    path = tmp_path / f"x{audio.FORMATS[name].suffix}"
    audio.write(path, music(1, 9000, 48000), 48000, name)
    assert audio.format_of(path) == name


@pytest.mark.parametrize(
    ("suffix", "container", "subtype", "name"),
    [
        ("wav", "WAV", "PCM_U8", "wav16"),
        ("wav", "WAV", "DOUBLE", "wav"),
        ("wav", "WAVEX", "PCM_24", "wav24"),
        ("wav", "RF64", "PCM_16", "wav16"),
        ("aif", "AIFF", "PCM_32", "aiff32"),
        ("flac", "FLAC", "PCM_S8", "flac16"),
        ("opus", "OGG", "OPUS", "opus"),
    ],
)
def test_formats_without_a_writer_become_the_next_deeper(
    tmp_path, suffix, container, subtype, name
):
    path = tmp_path / f"x.{suffix}"
    sound = music(1, 9000, 48000)[0]
    soundfile.write(path, sound, 48000, subtype, format=container)
    assert audio.format_of(path) == name


def test_a_format_that_is_not_written_is_named(tmp_path):
    soundfile.write(tmp_path / "x.au", music(1, 900)[0], 48000, "PCM_16")
    with pytest.raises(AudioError, match="is AU, which is not written"):
        audio.format_of(tmp_path / "x.au")
    if shutil.which("ffmpeg"):
        ffmpeg("-i", tmp_path / "x.au", tmp_path / "x.wma")
        with pytest.raises(AudioError, match="holds wmav2, which is not written"):
            audio.format_of(tmp_path / "x.wma")


def test_the_loudest_excerpt_is_found(tmp_path):
    sound = np.full((2, 80000), 0.1, np.float32)
    sound[:, 44000:52000] = 0.5
    audio.write(tmp_path / "a.wav", sound, 8000)
    assert audio.loudest(tmp_path / "a.wav", 1) == 44000
    assert audio.loudest(tmp_path / "a.wav", 20) == 0
    sound[:, -3000:] = 0.9
    audio.write(tmp_path / "a.wav", sound, 8000)
    assert audio.loudest(tmp_path / "a.wav", 3) == 56000
    # A little shorter than the excerpt, and longer than its steps.
    audio.write(tmp_path / "short.wav", np.full((1, 220_490), 0.5, np.float32), 11025)
    assert audio.loudest(tmp_path / "short.wav", 20) == 0


def test_a_long_ogg_does_not_overflow_the_encoder(tmp_path):
    path = tmp_path / "long.ogg"
    audio.write(path, np.zeros((1, 8_000_000), np.float32), 8000, "ogg")
    assert audio.probe(path).samples == 8_000_000


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_32", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_foreign_wav_encodings(tmp_path, subtype):
    soundfile.write(tmp_path / "x.wav", music(2, 4096).T, 11025, subtype)
    back, rate = audio.read(tmp_path / "x.wav")
    assert rate == 11025
    assert back.shape[0] == 2
    assert best_error(back, music(2, 4096)) > 15


@pytest.mark.parametrize(
    ("suffix", "container", "subtype"),
    [
        (".opus", "OGG", "OPUS"),
        (".aiff", "AIFF", "PCM_16"),
        (".w64", "W64", "PCM_24"),
        (".rf64", "RF64", "FLOAT"),
        (".au", "AU", "PCM_16"),
    ],
)
def test_further_containers(tmp_path, suffix, container, subtype):
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, music(2, 48000, 48000).T, 48000, subtype, format=container)
    back, rate = audio.read(path)
    assert (back.shape, rate) == ((2, 48000), 48000)
    assert best_error(back, music(2, 48000, 48000)) > 15


def test_silence_is_sound(tmp_path):
    for name, kind in audio.FORMATS.items():
        path = tmp_path / f"{name}{kind.suffix}"
        audio.write(path, np.zeros((1, 3000), np.float32), 8000, name)
        assert np.abs(audio.read(path)[0]).max() < 1e-4


@pytest.mark.parametrize(
    "name", ["-i.wav", "-", "a b.wav", "grün 音楽.flac", "x:y.wav"]
)
def test_unusual_file_names_are_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    suffix = os.path.splitext(name)[1]  # noqa: PTH122
    audio.write("plain" + (suffix or ".wav"), music(1, 50), 8000, suffix[1:] or "wav")
    os.replace("plain" + (suffix or ".wav"), name)  # noqa: PTH105
    assert audio.probe(name) == (8000, 1, 50)
    np.testing.assert_array_equal(audio.read(name)[0].shape, (1, 50))


def test_a_name_that_is_not_unicode(tmp_path):
    path = tmp_path / os.fsdecode(b"gr\xfcn.wav")
    audio.write(path, music(1, 50), 8000)
    assert audio.probe(path).samples == 50


# Excerpts and blocks ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav", "wav16", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("block", [1 << 15, 4096, 997])
def test_blocks_are_the_whole_file(tmp_path, name, block):
    path = tmp_path / f"x{audio.FORMATS[name].suffix}"
    audio.write(path, music(2, 30000), 44100, name)
    whole, _ = audio.read(path)
    parts = list(audio.blocks(path, block))
    assert {part.shape[1] for part in parts[:-1]} <= {block}
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("name", ["wav24", "flac", "ogg", "mp3"])
def test_excerpts_are_parts_of_the_whole(tmp_path, name):
    path = tmp_path / f"x{audio.FORMATS[name].suffix}"
    audio.write(path, music(1, 30000), 44100, name)
    whole, _ = audio.read(path)
    np.testing.assert_array_equal(
        audio.read(path, 12345, 678)[0], whole[:, 12345:13023]
    )
    np.testing.assert_array_equal(audio.read(path, 29990, 678)[0], whole[:, 29990:])
    parts = list(audio.blocks(path, 100, 12345, 250))
    assert [part.shape[1] for part in parts] == [100, 100, 50]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[:, 12345:12595])


def test_mp3_blocks_where_seeking_is_inexact(tmp_path):
    path = tmp_path / "tone.mp3"
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(441000) / 44100)
    with soundfile.SoundFile(
        path, "w", 44100, 2, "MPEG_LAYER_III", bitrate_mode="VARIABLE",
        compression_level=0.4,
    ) as file:  # fmt: skip
        file.write(np.stack([tone, tone], 1))
    whole, _ = audio.read(path)
    parts = np.concatenate(list(audio.blocks(path, 4096)), axis=1)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(
        audio.read(path, 323457, 50)[0], whole[:, 323457:][:, :50]
    )


def test_blocks_hold_flat_memory(tmp_path):
    path = tmp_path / "long.wav"
    with audio.Writer(path, 8000, 2, "wav16") as writer:
        for _ in range(100):
            writer.write(np.zeros((2, 30000), np.float32))
    tracemalloc.start()
    total = sum(block.shape[1] for block in audio.blocks(path, 8192))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 3_000_000  # 24 MB as float
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, None), "start=-1"),
        ((0, 0), "samples=0"),
        ((100, None), "cannot start at 100"),
        ((101, 5), "holds 100 samples"),
    ],
)
def test_excerpts_outside_the_file(tmp_path, arguments, words):
    audio.write(tmp_path / "x.wav", music(1, 100), 8000)
    with pytest.raises(AudioError, match=words):
        audio.read(tmp_path / "x.wav", *arguments)
    with pytest.raises(AudioError, match=words):
        list(audio.blocks(tmp_path / "x.wav", 10, *arguments))


def test_block_samples_must_be_positive(tmp_path):
    audio.write(tmp_path / "x.wav", music(1, 100), 8000)
    with pytest.raises(AudioError, match="block_samples is 0"):
        list(audio.blocks(tmp_path / "x.wav", 0))


# Through ffmpeg ---------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "channels", "codec"),
    [
        ("-y ü %03d.m4a", 2, "aac"),
        pytest.param("six.m4a", 6, "aac", marks=pytest.mark.slow),
        pytest.param("x.mkv", 3, "flac", marks=pytest.mark.slow),
        pytest.param("x.wma", 2, "wmav2", marks=pytest.mark.slow),
    ],
)
def test_ffmpeg_reads_the_rest(tmp_path, monkeypatch, name, channels, codec):
    monkeypatch.chdir(tmp_path)
    waveform = music(channels, 48000)
    audio.write("x.wav", waveform, 44100)
    words = ["-c:a", codec, "-b:a", "400k", f"file:{tmp_path / 'out'}.{name[-3:]}"]
    ffmpeg("-i", "x.wav", *words)
    os.replace(f"out.{name[-3:]}", name)  # noqa: PTH105
    whole, rate = audio.read(name)
    assert rate == 44100
    assert whole.shape[0] == channels
    assert abs(whole.shape[1] - 48000) < 2048
    assert audio.probe(name) == (44100, channels, whole.shape[1])
    for channel in range(channels):
        if channel != 3 and codec != "wmav2":  # the fourth of six is for low effects
            one = slice(channel, channel + 1)
            assert best_error(whole[one], waveform[one]) > 25
    parts = list(audio.blocks(name, 5000))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(audio.read(name, 1234, 567)[0], whole[:, 1234:1801])
    with pytest.raises(AudioError, match=f"holds {whole.shape[1]} samples"):
        audio.read(name, 10**6)


@needs_ffmpeg
def test_a_playlist_is_refused_with_the_cure(tmp_path):
    (tmp_path / "songs.m3u").write_text("#EXTM3U\na.wav\n")
    with pytest.raises(AudioError, match="give the sound files that it lists"):
        audio.probe(tmp_path / "songs.m3u")


@needs_ffmpeg
def test_streams_of_a_container(tmp_path):
    for index, level in enumerate([0.1, 0.5]):
        audio.write(tmp_path / f"{index}.wav", np.full((1, 9000), level), 44100)
    files = ["-i", tmp_path / "0.wav", "-i", tmp_path / "1.wav"]
    ffmpeg(*files, "-map", "0:a", "-map", "1:a", "-c:a", "alac", tmp_path / "x.mp4")
    for index, level in enumerate([0.1, 0.5]):
        waveform, _ = audio.read(tmp_path / "x.mp4", stream=index)
        assert waveform.shape == (1, 9000)
        np.testing.assert_allclose(waveform, level, atol=1e-4)
    with pytest.raises(AudioError, match="holds 2 audio streams"):
        audio.read(tmp_path / "x.mp4", stream=2)
    assert audio.probe(tmp_path / "0.wav", stream=0).samples == 9000
    with pytest.raises(AudioError, match="holds 1 audio stream, so stream"):
        audio.probe(tmp_path / "0.wav", stream=1)


@needs_ffmpeg
def test_stopping_early_ends_ffmpeg(tmp_path):
    audio.write(tmp_path / "x.wav", np.zeros((2, 2_000_000), np.float32), 44100)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", "alac", tmp_path / "x.m4a")
    reader = audio.blocks(tmp_path / "x.m4a", 100)
    assert next(reader).shape == (2, 100)
    reader.close()
    children = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    if os.path.exists(children):  # noqa: PTH110
        with open(children) as file:  # noqa: PTH123
            assert not file.read().split()


@needs_ffmpeg
def test_mp3_without_its_length_is_read_to_the_end(tmp_path):
    waveform = np.concatenate([np.zeros((1, 200000)), music(1, 200000)], axis=1)
    audio.write(tmp_path / "x.wav", waveform, 44100)
    for name, words in {
        "vbr": ["-q:a", "4", "-write_xing", "0"],
        "cbr": ["-b:a", "128k", "-write_xing", "0"],
    }.items():
        ffmpeg("-i", tmp_path / "x.wav", *words, tmp_path / f"{name}.mp3")
        length = audio.read(tmp_path / f"{name}.mp3")[0].shape[1]
        assert 400000 <= length < 405000
    audio.write(tmp_path / "a.mp3", music(1, 50000), 44100, "mp3")
    twice = (tmp_path / "a.mp3").read_bytes() * 2
    (tmp_path / "twice.mp3").write_bytes(twice)
    assert audio.read(tmp_path / "twice.mp3")[0].shape[1] > 99000


@needs_ffmpeg
def test_an_ogg_of_two_songs_is_read_to_the_end(tmp_path):
    for seed in (1, 2):
        audio.write(tmp_path / f"{seed}.ogg", music(1, 40000 * seed), 44100, "ogg")
    songs = [(tmp_path / f"{seed}.ogg").read_bytes() for seed in (1, 2)]
    (tmp_path / "both.ogg").write_bytes(songs[0] + songs[1])
    assert abs(audio.probe(tmp_path / "both.ogg").samples - 120000) < 3000


@needs_ffmpeg
def test_mp3_inside_wav(tmp_path):
    audio.write(tmp_path / "x.wav", music(2, 50000), 44100)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", "libmp3lame", tmp_path / "y.wav")
    waveform, _ = audio.read(tmp_path / "y.wav")
    assert 50000 <= waveform.shape[1] < 55000


def test_no_ffmpeg(tmp_path, monkeypatch):
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x1cftypM4A ")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"needs ffmpeg .*'apt install ffmpeg'"):
        audio.read(tmp_path / "x.m4a")
    audio.write(tmp_path / "x.flac", music(1, 10), 8000, "flac")
    assert audio.probe(tmp_path / "x.flac").samples == 10


# Bad input --------------------------------------------------------------------------


def test_missing_folder_and_empty(tmp_path):
    (tmp_path / "empty.wav").touch()
    for name, words in {
        "none.wav": "does not exist",
        "": "is a folder",
        "empty.wav": r"is empty \(0 bytes\)",
    }.items():
        for action in (
            audio.probe,
            audio.read,
            lambda path: next(audio.blocks(path, 9)),
        ):
            with pytest.raises(AudioError, match=words) as caught:
                action(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".txt", ".mp3", ".wav", ".raw", ".m4a", ".json"])
def test_not_audio(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_text("These are words, not sound. " * 400)
    with pytest.raises(AudioError, match=r"is not audio|holds no sound"):
        audio.read(path)
    path.write_bytes(np.random.default_rng(3).bytes(5000))
    with pytest.raises(AudioError, match=r"is not audio|holds no sound"):
        audio.probe(path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".ogg"])
def test_zero_samples(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, np.zeros((0, 2)), 8000)
    for action in (audio.probe, audio.read, lambda path: next(audio.blocks(path, 9))):
        with pytest.raises(AudioError, match=r"holds no samples|is empty"):
            action(path)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        (".wav", "PCM_16"),
        (".wav", "FLOAT"),
        (".rf64", "PCM_24"),
        (".aiff", "PCM_16"),
        (".flac", "PCM_16"),
        (".mp3", "MPEG_LAYER_III"),
        (".ogg", "VORBIS"),
        (".opus", "OPUS"),
    ],
)
def test_truncated(tmp_path, suffix, subtype):
    kind = {".opus": "OGG", ".rf64": "RF64"}.get(suffix, suffix[1:].upper())
    whole = tmp_path / f"whole{suffix}"
    soundfile.write(whole, music(2, 96000, 48000).T, 48000, subtype, format=kind)
    assert audio.read(whole)[0].shape == (2, 96000)
    path = cut(whole, tmp_path / f"cut{suffix}")
    with pytest.raises(AudioError, match="breaks off"):
        audio.read(path)
    with pytest.raises(AudioError, match="breaks off"):
        list(audio.blocks(path, 1000))


def test_one_missing_byte_is_noticed(tmp_path):
    audio.write(tmp_path / "x.wav", music(1, 100), 8000, "wav16")
    path = cut(tmp_path / "x.wav", tmp_path / "y.wav", 279 / 280)
    with pytest.raises(AudioError, match=r"promises 200 bytes of sound, 199 are there"):
        audio.probe(path)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["x.m4a", "x.mkv"])
def test_truncated_behind_ffmpeg(tmp_path, name):
    audio.write(tmp_path / "x.wav", music(2, 200000), 44100)
    words = ["-c:a", "aac", "-movflags", "+faststart"]
    ffmpeg("-i", tmp_path / "x.wav", *words, tmp_path / name)
    path = cut(tmp_path / name, tmp_path / f"cut{name}")
    with pytest.raises(AudioError, match="breaks off"):
        audio.read(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, pytest.param(0, marks=needs_ffmpeg)])
def test_a_streamed_wav_is_not_truncated(tmp_path, size):
    waveform = music(2, 500)
    path = tmp_path / "x.wav"
    audio.write(path, waveform, 8000, "wav")
    data = path.read_bytes()
    head = data[:4] + struct.pack("<I", size) + data[8:88] + struct.pack("<I", size)
    path.write_bytes(head + data[92:])
    np.testing.assert_array_equal(audio.read(path)[0], waveform)


@needs_ffmpeg
def test_a_wav_from_a_pipe(tmp_path):
    audio.write(tmp_path / "x.wav", music(2, 5000), 8000)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", "-f", "wav", "-"]
    (tmp_path / "pipe.wav").write_bytes(subprocess.check_output(command))
    assert audio.read(tmp_path / "pipe.wav")[0].shape == (2, 5000)


@needs_ffmpeg
@pytest.mark.parametrize("stated", [0, 1, 29_999])
@pytest.mark.parametrize("name", ["flac", "flac16"])
def test_a_flac_is_read_beyond_the_length_that_it_states(tmp_path, name, stated):
    path = tmp_path / "x.flac"
    audio.write(path, music(samples=30_000), 44100, name)
    whole = audio.read(path)[0]
    assert containers.is_whole(path, "FLAC")
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", stated)
    path.write_bytes(data)
    assert audio.probe(path).samples == 30_000
    np.testing.assert_array_equal(audio.read(path)[0], whole)
    path.write_bytes(b"ID3\4\0\0\0\0\0\5extra" + data)
    assert not containers.is_whole(path, "FLAC")


@needs_ffmpeg
@pytest.mark.parametrize(
    "options",
    [[], ["-compression_level", 0], ["-frame_size", 1001], ["-frame_size", 192]],
)
@pytest.mark.parametrize("samples", [1, 4608, 600_000])
@pytest.mark.parametrize("rate", [44_100, 7000])
def test_the_end_of_a_flac_is_found(tmp_path, options, samples, rate):
    audio.write(tmp_path / "x.wav", music(1, samples, rate), rate)
    path = tmp_path / "x.flac"
    ffmpeg("-i", tmp_path / "x.wav", *options, path)
    assert containers.is_whole(path, "FLAC")
    data = bytearray(path.read_bytes())
    data[22:26] = struct.pack(">I", samples - 1)
    path.write_bytes(data)
    assert not containers.is_whole(path, "FLAC")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(tmp_path, value):
    waveform = music(2, 5000)
    waveform[1, 4000] = value
    waveform[0, 4500] = np.nan
    soundfile.write(tmp_path / "x.wav", waveform.T, 8000, "FLOAT")
    message = rf"holds {value} at sample 4000 \(0.500000 s\)"
    with pytest.raises(AudioError, match=message):
        audio.read(tmp_path / "x.wav")
    with pytest.raises(AudioError, match=message):
        list(audio.blocks(tmp_path / "x.wav", 300, 700))
    with pytest.raises(AudioError, match=message):
        audio.write(tmp_path / "y.wav", waveform, 8000)
    assert os.listdir(tmp_path) == ["x.wav"]  # noqa: PTH208


# Writing ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav16", "wav24", "flac"])
def test_integers_clip_and_never_wrap(tmp_path, name):
    kind = audio.FORMATS[name]
    waveform = np.array([[1.5, -1.5, 1.0, -1.0, 0.25], [0, 9e9, -3, 0.5, -0.5]])
    path = tmp_path / f"x{kind.suffix}"
    with audio.Writer(path, 8000, 2, name) as writer:
        writer.write(waveform[:, :2])
        writer.write(waveform[:, 2:])
    assert (writer.samples, writer.clipped) == (5, 4)
    step = 2.0 ** (1 - kind.bits)
    expected = np.clip(waveform, -1, 1 - step)
    np.testing.assert_array_equal(audio.read(path)[0], expected.astype(np.float32))


def test_floats_beyond_full_scale_stay(tmp_path):
    with audio.Writer(tmp_path / "x.wav", 8000, 1) as writer:
        writer.write(np.array([[3.0, -7.5]]))
    assert writer.clipped == 0
    np.testing.assert_array_equal(audio.read(tmp_path / "x.wav")[0], [[3.0, -7.5]])


@pytest.mark.parametrize("name", list(audio.FORMATS))
def test_blockwise_writing_is_one_file(tmp_path, name):
    kind = audio.FORMATS[name]
    waveform = music(2, 3000)
    audio.write(tmp_path / f"a{kind.suffix}", waveform, 44100, name)
    with audio.Writer(tmp_path / f"b{kind.suffix}", 44100, 2, name) as writer:
        for first in range(0, 3000, 700):
            writer.write(waveform[:, first : first + 700])
            writer.write(np.zeros((2, 0), np.float32))
    whole, parts = (audio.read(tmp_path / f"{n}{kind.suffix}")[0] for n in "ab")
    tolerance = {"ogg": 0.05}.get(name, 0)  # vorbis fades in by what it has been given
    np.testing.assert_allclose(whole, parts, rtol=0, atol=tolerance)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["sw", "al"])
def test_samples_without_a_header_are_refused(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(AudioError, match=r"without a header \(.*unknown; convert it"):
        audio.probe(path)


@pytest.mark.parametrize("name", audio.GROWING)
def test_a_growing_file_is_read_while_it_is_written(tmp_path, name):
    kind = audio.FORMATS[name]
    waveform, rate = music(samples=4 * 48000, rate=48000), 48000
    path = tmp_path / f"x{kind.suffix}"
    read = []
    tags = {"title": "Blue"}
    with audio.Writer(path, rate, 2, name, tags, growing=True) as writer:
        for start in range(0, 4 * rate, rate):
            writer.write(waveform[:, start : start + rate])
            decoded = tmp_path / "now.wav"
            ffmpeg("-i", path, "-c:a", "pcm_f32le", decoded)
            read.append(audio.probe(decoded).samples)
    assert read == sorted(read)
    assert min(np.diff(read, prepend=0)) > 0
    assert read[-1] > 2 * rate
    with audio.Writer(tmp_path / f"y{kind.suffix}", rate, 2, name, tags) as writer:
        for start in range(0, 4 * rate, rate):
            writer.write(waveform[:, start : start + rate])
    if name == "ogg":  # has a random serial number
        np.testing.assert_array_equal(audio.read(path)[0], audio.read(writer.path)[0])
    else:
        assert path.read_bytes() == writer.path.read_bytes()


def test_a_growing_wav_is_valid_after_each_chunk(tmp_path):
    with audio.Writer(tmp_path / "x.wav", 8000, 1, "wav24", growing=True) as writer:
        for samples in (1, 3, 8, 8001):
            writer.write(music(1, samples, 8000))
            assert audio.probe(writer.path) == (8000, 1, writer.samples)
    with pytest.raises(KeyError), audio.Writer(writer.path, 8000, 1, growing=True):
        raise KeyError
    assert writer.path.exists()


@pytest.mark.parametrize("name", sorted({*audio.FORMATS} - {*audio.GROWING}))
def test_other_formats_do_not_grow(tmp_path, name):
    path = tmp_path / f"x{audio.FORMATS[name].suffix}"
    with pytest.raises(AudioError, match=f"{name} cannot be read while it is written"):
        audio.Writer(path, 8000, 1, name, growing=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_wav_headers_are_read_by_others(tmp_path, channels):
    waveform = music(channels, 801)
    audio.write(tmp_path / "x.wav", waveform, 44100, "wav16")
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getparams()[:4] == (channels, 2, 44100, 801)
        values = np.frombuffer(file.readframes(801), "<i2")
    np.testing.assert_array_equal(
        values.reshape(-1, channels).T, np.rint(waveform * 32768)
    )
    decoded, rate = tf.audio.decode_wav((tmp_path / "x.wav").read_bytes())
    np.testing.assert_allclose(decoded.numpy().T, waveform, atol=1 / 65536)
    assert rate.numpy() == 44100
    audio.write(tmp_path / "odd.wav", waveform[:, :801], 44100, "wav24")
    assert (tmp_path / "odd.wav").stat().st_size % 2 == 0


@pytest.mark.parametrize("name", ["wav", "wav16", "wav24"])
def test_a_long_wav_becomes_rf64(tmp_path, monkeypatch, name):
    waveform = np.clip(music(1, 1001), -0.99, 0.99)
    path = tmp_path / "x.wav"
    monkeypatch.setattr(containers, "RIFF_BYTES", 1500)
    audio.write(path, waveform, 8000, name)
    monkeypatch.undo()
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).format == "RF64"
    back, _ = audio.read(path)
    np.testing.assert_allclose(back, waveform, atol=2**-16)
    assert back.shape == (1, 1001)
    if shutil.which("ffmpeg"):
        ffmpeg("-i", path, tmp_path / "y.wav")
        assert audio.probe(tmp_path / "y.wav").samples == 1001
    with pytest.raises(AudioError, match="breaks off"):
        audio.probe(cut(path, tmp_path / "cut.wav"))


def test_sizes_of_a_header_beyond_four_gib():
    header = containers.wav_header(48000, 2, 4, 2**31)
    assert len(header) == len(containers.wav_header(48000, 2, 4, 0)) == 92
    assert header[:20] == b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0"
    riff, data, samples = struct.unpack("<3Q", header[20:44])
    assert (riff, data, samples) == (2**34 + 84, 2**34, 2**31)
    assert header[-8:] == b"data\xff\xff\xff\xff"


def interrupted(path, name):
    with audio.Writer(path, 8000, 1, name) as writer:
        writer.write(np.zeros((1, 100000)))
        raise KeyboardInterrupt


def test_an_exception_leaves_nothing_and_keeps_the_old(tmp_path):
    path = tmp_path / "x.wav"
    audio.write(path, np.full((1, 10), 0.5), 8000)
    for name, file in {"wav": path, "flac": tmp_path / "y.flac"}.items():
        with pytest.raises(KeyboardInterrupt):
            interrupted(file, name)
    assert os.listdir(tmp_path) == ["x.wav"]  # noqa: PTH208
    np.testing.assert_array_equal(audio.read(path)[0], np.full((1, 10), 0.5))


def test_nothing_appears_before_the_end(tmp_path):
    with audio.Writer(tmp_path / "x.wav", 8000, 1) as writer:
        writer.write(np.zeros((1, 10)))
        assert not (tmp_path / "x.wav").exists()
        (name,) = os.listdir(tmp_path)  # noqa: PTH208
        assert name.endswith(".wav")
    assert os.listdir(tmp_path) == ["x.wav"]  # noqa: PTH208
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "x.wav").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    "name", ["wav16", "flac16", pytest.param("m4a", marks=needs_ffmpeg)]
)
def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch, name):
    path, synced = tmp_path / f"x{audio.FORMATS[name].suffix}", []

    def sync(written):
        synced.append((written, path.exists(), written.stat().st_size))

    monkeypatch.setattr(files, "sync", sync)
    audio.write(path, np.zeros((1, 1000)), 8000, name)
    (draft, existed, size), (folder, *_) = synced
    assert draft.name.startswith(files.PREFIX)
    assert (existed, size, folder) == (False, path.stat().st_size, tmp_path)


def test_an_error_of_the_caller_gets_no_name(tmp_path):
    with (
        pytest.raises(OSError, match=r"^\[Errno 5\] of the input$") as caught,
        audio.Writer(tmp_path / "x.wav", 8000, 1),
    ):
        raise OSError(errno.EIO, "of the input")
    assert caught.value.filename is None
    assert not os.listdir(tmp_path)  # noqa: PTH208


@contextlib.contextmanager
def disk_of(size):
    """Let no file grow beyond a size in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", list(audio.FORMATS))
@pytest.mark.parametrize("size", [20_000, 0])
def test_a_full_disk(tmp_path, name, size):
    path = tmp_path / f"x{audio.FORMATS[name].suffix}"
    noise = 0.5 * np.random.default_rng(0).uniform(-1, 1, (1, 200_000))
    message = "could not be written: File too large"
    with disk_of(size), pytest.raises(AudioError, match=message):
        audio.write(path, noise, 44100, name)
    assert not os.listdir(tmp_path)  # noqa: PTH208


@pytest.mark.parametrize("name", list(audio.FORMATS))
def test_a_disk_that_fills_at_the_last_moment(tmp_path, name):
    path = tmp_path / f"x{audio.FORMATS[name].suffix}"
    noise = 0.5 * np.random.default_rng(0).uniform(-1, 1, (1, 50_000))
    audio.write(path, noise, 44100, name)
    size = path.stat().st_size
    path.unlink()
    with disk_of(size - 1), pytest.raises(AudioError, match="could not be written"):
        audio.write(path, noise, 44100, name)
    assert not os.listdir(tmp_path)  # noqa: PTH208


def test_folders_that_cannot_take_a_file(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "x.wav").mkdir()
    for path, words in {
        tmp_path / "none" / "x.wav": "No such file or directory",
        tmp_path / "file" / "x.wav": "Not a directory",
        tmp_path / "x.wav": "is a folder",
    }.items():
        with pytest.raises(AudioError, match=words):
            audio.write(path, music(1, 10), 8000)


def test_a_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        with pytest.raises(AudioError, match="Permission denied; choose a folder"):
            audio.write(tmp_path / "locked" / "x.wav", music(1, 10), 8000)
        if not user:
            with pytest.raises(AudioError, match="cannot be opened: Permission denied"):
                audio.read(tmp_path / "locked" / "x.wav")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("name", "rate", "channels", "words"),
    [
        ("mp3", 44100, 3, "takes 1 to 2 channels, not 3; write wav instead"),
        ("mp3", 96000, 2, r"takes 8000, .*48000 Hz, not 96000 Hz; resample"),
        ("ogg", 384000, 1, "takes 1 to 200000 Hz, whole numbers, not 384000 Hz"),
        ("ogg", 44100, 256, "takes 1 to 255 channels"),
        ("flac", 44100, 9, "takes 1 to 8 channels"),
        ("flac", 65536, 1, "not 65536 Hz"),
        ("wav", 0, 1, "not 0 Hz"),
        ("wav", 44100.5, 1, r"not 44100\.5 Hz"),
        ("wav", 44100, 0, "not 0;"),
        ("opus", 48000, 3, "format 'opus' takes 1 to 2 channels"),
        ("m4a", 11000, 1, r"takes 7350, .*96000 Hz, not 11000 Hz"),
        ("wma", 48000, 1, "format 'wma' is not one of wav, wav16"),
    ],
)
def test_rates_and_channels_that_a_format_lacks_raise(
    tmp_path, name, rate, channels, words
):
    with pytest.raises(AudioError, match=words):
        audio.Writer(tmp_path / f"x.{name}", rate, channels, name)


def test_a_suffix_that_does_not_fit(tmp_path):
    with pytest.raises(AudioError, match=r"does not end in \.wav"):
        audio.write(tmp_path / "x.flac", music(1, 10), 8000)


def test_arrays_that_do_not_fit(tmp_path):
    for waveform, words in {
        "two": (np.zeros((2, 10)), r"takes arrays \[channels=1, samples\]"),
        "flat": (np.zeros(10), r"not one of shape \[10\]"),
        "whole": (np.zeros((1, 10), np.int16), "not int16"),
    }.values():
        with (
            pytest.raises(AudioError, match=words),
            audio.Writer(tmp_path / "x.wav", 8000, 1) as writer,
        ):
            writer.write(waveform)
    with pytest.raises(AudioError, match="would hold no samples"):
        audio.write(tmp_path / "x.wav", np.zeros((1, 0)), 8000)
    assert not os.listdir(tmp_path)  # noqa: PTH208


def test_an_empty_wav_with_a_text_behind(tmp_path):
    audio.write(tmp_path / "x.wav", music(1, 2), 8000, "wav16")
    head = tmp_path.joinpath("x.wav").read_bytes()[:-12]
    data = head + b"data\0\0\0\0" + b"LIST\x04\0\0\0INFO"
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    (tmp_path / "y.wav").write_bytes(data)
    with pytest.raises(AudioError, match="holds no samples"):
        audio.probe(tmp_path / "y.wav")
