"""Sounds that are channels of files or sums, read and written as records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from common import audio, records
from common.corpora import reading, waveforms
from common.corpora.track import Channel, CorpusError, Sum, Track
from common.records import sound_bank


def noise(*shape: int) -> np.ndarray:
    ints = np.random.default_rng(shape).integers(-9000, 9000, shape)
    return (ints / 32768).astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = 8000) -> Path:
    soundfile.write(path, waveform.T, rate, subtype="PCM_16")
    return path


@pytest.fixture
def stereo(tmp_path):
    return write(tmp_path / "stereo.wav", noise(2, 150_000))


def test_a_channel_is_that_row_of_its_file(stereo):
    waveform, rate = waveforms.read(Channel(stereo, 1), 1)
    np.testing.assert_array_equal(waveform, noise(2, 150_000)[1:])
    assert rate == 8000
    assert waveforms.info(Channel(stereo, 0), 1) == (8000, 1, 150_000)


def test_a_sum_pads_the_short_and_repeats_the_mono(stereo, tmp_path):
    mono = write(tmp_path / "mono.wav", noise(1, 70_000))
    array = noise(1, 160_000)
    total, rate = waveforms.read(Sum((mono, stereo, array)), 8000)
    expected = np.repeat(array, 2, axis=0)
    expected[:, :150_000] += noise(2, 150_000)
    expected[:, :70_000] += noise(1, 70_000)
    np.testing.assert_allclose(total, expected, atol=1e-6)
    assert rate == 8000
    assert waveforms.info(Sum((mono, stereo, array)), 8000) == (8000, 2, 160_000)


def test_records_hold_channels_and_sums(stereo, tmp_path):
    sources = {
        "right": Channel(stereo, 1),
        "both": Sum((Channel(stereo, 0), Channel(stereo, 1))),
    }
    tracks = reading.make_tracks([("a", sources, None)])
    index = records.write(tracks, tmp_path / "r", encoding="float32", piece_samples=999)
    read = records.excerpt(index, 0, 70_000, 500)
    left, right = noise(2, 150_000)[:, 70_000:70_500]
    np.testing.assert_allclose(read["sources"][0, 0], right, atol=1e-7)
    np.testing.assert_allclose(read["sources"][1, 0], left + right, atol=1e-6)


def test_another_channel_makes_other_records(stereo, tmp_path):
    one, other = (
        records.write(
            [Track("a", 8000, 9, {"x": Channel(stereo, channel)})], tmp_path / "r"
        ).digest
        for channel in (0, 1)
    )
    assert one != other


def test_the_sound_bank_reads_channels_and_sums(stereo, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parts = (Channel(stereo, 0), Channel(stereo, 1))
    (track,) = reading.make_tracks([("a", {"x": parts[1], "y": Sum(parts)}, None)])
    named = {name: (sound, track) for name, sound in track.sources.items()}
    bank = sound_bank.open_sounds(named, sample_rate=8000, channels=1)
    read = bank.read(np.array([0, 1]), np.array([10, 10]), 50)
    left, right = noise(2, 150_000)[:, 10:60]
    np.testing.assert_allclose(read[0, 0], right, atol=1e-6)
    np.testing.assert_allclose(read[1, 0], left + right, atol=1e-6)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda at: write(at, noise(1, 9), 16000), "8000 Hz and 16000 Hz"),
        (lambda at: write(at, noise(3, 9)), "they have 2 and 3 channels"),
    ],
)
def test_sounds_that_do_not_fit_together_raise(stereo, tmp_path, other, sentence):
    with pytest.raises(CorpusError, match=rf"stereo.wav \+ .*x.wav cannot.*{sentence}"):
        waveforms.info(Sum((stereo, other(tmp_path / "x.wav"))), 0)


@pytest.mark.parametrize("channels", [(2,), (1, 2)])
def test_a_missing_channel_raises(stereo, channels):
    with pytest.raises(CorpusError, match=r"stereo.wav has 2 channels.*channel 2"):
        next(waveforms.blocks(Channel(stereo, *channels), 10))
    with pytest.raises(audio.AudioError, match=r"none\.wav"):
        waveforms.info(Path("none.wav"), 0)
