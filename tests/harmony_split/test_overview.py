"""Waveform, spectrogram and the loudest part, against plain calculations."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from common import audio
from harmony_split import overview as module
from harmony_split.overview import BANDS, COLUMNS, overview


@pytest.mark.parametrize("samples", [1, 7, 1199, 1201, 30011])
def test_peaks_are_the_largest_of_each_column(tmp_path, monkeypatch, samples):
    sound = np.random.default_rng(0).uniform(-1, 1, [2, samples]).astype(np.float32)
    audio.write(tmp_path / "a.wav", sound, 8000)
    at_once = overview(tmp_path / "a.wav")
    monkeypatch.setattr(module, "BLOCK_SAMPLES", 4999)
    assert overview(tmp_path / "a.wav") == at_once
    peaks = at_once["peaks"]
    assert len(peaks) == min(COLUMNS, samples)
    column = np.arange(samples) * len(peaks) // samples
    expected = [np.abs(sound[:, column == i]).max() for i in range(len(peaks))]
    np.testing.assert_allclose(peaks, expected, atol=1e-4)


def test_spectrogram_shows_a_tone_at_its_band(tmp_path):
    rate = 8000
    time = np.arange(3 * rate) / rate
    sound = np.where(time < 1.5, 0, np.sin(2 * np.pi * 1000 * time))[np.newaxis]
    audio.write(tmp_path / "a.wav", sound, rate)
    view = overview(tmp_path / "a.wav")
    shades = np.frombuffer(base64.b64decode(view["spectrogram"]), np.uint8)
    shades = shades.reshape(view["frames"], view["bands"])
    assert not shades[: view["frames"] // 4].any()
    hertz = np.geomspace(module.LOWEST_HERTZ, rate / 2, BANDS + 1)
    band = int(np.searchsorted(hertz, 1000)) - 1
    assert int(shades[-1].argmax()) == band
    assert shades[-1].max() >= 253
