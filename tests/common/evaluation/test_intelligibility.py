"""Intelligibility of speech, where pystoi is installed, and a sentence where not."""

import sys
import types

import numpy as np
import pytest

from common.evaluation.intelligibility import IntelligibilityError, stoi


@pytest.fixture(scope="module")
def speech():
    """Two seconds of noise bands that sound and pause like syllables, at 8 kHz."""
    noise = np.random.default_rng(0).standard_normal([2, 16000])
    syllables = np.sin(2 * np.pi * 3.0 * np.arange(16000) / 8000) ** 2
    return (0.1 * noise * syllables).astype(np.float32)


def test_clean_speech_is_intelligible_and_noise_lowers_it(speech):
    pytest.importorskip("pystoi")
    noise = 0.1 * np.random.default_rng(1).standard_normal(speech.shape)
    levels = [stoi(speech, speech + gain * noise, 8000) for gain in (0.0, 0.3, 3.0)]
    np.testing.assert_allclose(levels[0], 1.0, atol=1e-6)
    assert (levels[1] < levels[0]).all()
    assert (levels[2] < levels[1]).all()
    twice = stoi(speech.repeat(2, axis=1), speech.repeat(2, axis=1), 16000)
    np.testing.assert_allclose(twice, 1.0, atol=1e-6)


def test_silence_and_sounds_that_are_too_short_have_none(speech):
    pytest.importorskip("pystoi")
    references = np.stack([speech[0], 0 * speech[0]])
    actual = stoi(references, speech, 8000)
    assert np.isnan(actual).tolist() == [False, True]
    assert np.isnan(stoi(speech[:, :1000], speech[:, :1000], 8000)).all()


def test_a_sound_of_less_than_a_frame_of_pystoi_has_none(speech, monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", types.ModuleType("pystoi"))
    assert np.isnan(stoi(speech[:, :200], speech[:, :200], 8000)).all()


def test_a_missing_pystoi_is_reported_with_the_command_that_installs_it(
    speech, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(IntelligibilityError, match=r"pip install pystoi, or leave out"):
        stoi(speech, speech, 8000)


def test_rates_without_the_bands_of_the_measure_raise(speech):
    with pytest.raises(IntelligibilityError, match=r"of 4000 Hz: expected at least"):
        stoi(speech, speech, 4000)
