"""Intelligibility of speech, where pystoi is installed, and a sentence where not."""

import sys
import types
import warnings

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


@pytest.fixture
def calls(monkeypatch):
    """Calls of a stand-in for pystoi, which finds too few frames in half a second."""
    calls = []

    def measured(*call):
        calls.append(call)
        if len(call[0]) < 4000:
            warnings.warn("Not enough STFT frames", RuntimeWarning, stacklevel=1)
        return 0.5

    pystoi = types.SimpleNamespace(stoi=measured)
    monkeypatch.setitem(sys.modules, "pystoi", pystoi)
    return calls


def test_each_source_is_measured_against_its_reference(speech, calls):
    references = np.stack([speech[0], 0 * speech[0]])
    actual = stoi(references, 2 * speech, 8000)
    np.testing.assert_array_equal(actual, [0.5, np.nan])
    ((reference, estimate, rate),) = calls
    np.testing.assert_array_equal([reference, estimate], [speech[0], 2 * speech[0]])
    assert rate == 8000


@pytest.mark.parametrize(("samples", "measured"), [(200, 0), (3000, 2)])
def test_sounds_of_too_few_frames_have_none(speech, calls, samples, measured):
    assert np.isnan(stoi(speech[:, :samples], speech[:, :samples], 8000)).all()
    assert len(calls) == measured  # pystoi itself fails on the shorter one


def test_a_missing_pystoi_is_reported_with_the_command_that_installs_it(
    speech, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(IntelligibilityError, match=r"pip install pystoi, or leave out"):
        stoi(speech, speech, 8000)


def test_rates_without_the_bands_of_the_measure_raise(speech):
    with pytest.raises(IntelligibilityError, match=r"of 4000 Hz: expected at least"):
        stoi(speech, speech, 4000)
