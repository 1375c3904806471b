"""The statistics of the input are those that the original takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora import musdb
from unmix import data, statistics
from unmix.config import Network, UnmixConfig

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "unmix" / "statistics.npz"


def test_moments_are_those_of_the_original():
    golden = np.load(GOLDEN)
    rows = golden["magnitudes"].mean(axis=1).transpose(0, 2, 1)  # item, frame, bin
    moments = statistics.Moments(rows.shape[-1])
    for item in rows:
        moments.add(item)
    np.testing.assert_allclose(moments.mean, golden["mean"], atol=1e-7)
    deviation = np.sqrt(moments.variance)
    np.testing.assert_allclose(deviation, golden["deviation"], atol=1e-7)


@pytest.mark.parametrize("block_frames", [3, 1024])
def test_all_frames_of_all_mixtures_count(tmp_path, monkeypatch, block_frames):
    monkeypatch.setattr(statistics, "BLOCK_FRAMES", block_frames)
    rng = np.random.default_rng(0)
    frames = []
    for track, samples in enumerate((300, 217)):
        folder = tmp_path / "train" / f"T{track}"
        folder.mkdir(parents=True)
        soundfile.write(tmp_path / "x.wav", rng.uniform(-0.5, 0.5, (samples, 2)), 800)
        wave, _ = soundfile.read(tmp_path / "x.wav")
        wave[:, 1] *= 0.5
        for name in ("mixture", *musdb.SOURCES):
            level = wave if name == "mixture" else 0 * wave
            soundfile.write(folder / f"{name}.wav", level, 800, subtype="FLOAT")
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
        for start in range(0, samples - 63, 16):
            cut = wave[start : start + 64] * window[:, None]
            frames.append(np.abs(np.fft.rfft(cut, axis=0)).mean(axis=1))
    valid = tmp_path / "train" / musdb.VALIDATION[0]
    valid.symlink_to(tmp_path / "train" / "T0", target_is_directory=True)
    network = Network(sample_rate=800, window_samples=64, hop_samples=16)
    config = UnmixConfig(model=network, data_root=str(tmp_path), segment_seconds=0.1)
    mean, deviation = statistics.statistics(config, data.load(config).train)
    np.testing.assert_allclose(mean, np.mean(frames, axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, np.std(frames, axis=0), rtol=1e-4)


def test_silent_bins_get_a_small_deviation(tmp_path):
    for name in ("A", musdb.VALIDATION[0]):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        time = np.arange(4000) / 800
        wave = np.sin(2 * np.pi * 100 * time) * np.minimum(time, 1)
        for each in ("mixture", *musdb.SOURCES):
            soundfile.write(folder / f"{each}.wav", wave, 800, subtype="FLOAT")
    network = Network(sample_rate=800, window_samples=64, hop_samples=16, channels=1)
    config = UnmixConfig(model=network, data_root=str(tmp_path), segment_seconds=0.1)
    split = data.load(config).train
    _, deviation = statistics.statistics(replace(config), split)
    assert deviation.argmax() == 8
    np.testing.assert_allclose(deviation.min(), 1e-4 * deviation.max())
