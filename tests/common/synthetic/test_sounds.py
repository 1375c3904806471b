"""Synthetic sounds: levels, seeds, pitches and formants at any rate and length."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from common.synthetic import sounds, synthesis, voices

EVERY = {**sounds.SUSTAINED, **sounds.EVENTS}


def pitch_of(wave: np.ndarray, sample_rate: int) -> float:
    """Median over loud frames of 50 ms of the shortest good period, 60 to 400 Hz."""
    frame, pitches = sample_rate // 20, []
    first, last = sample_rate // 400, sample_rate // 60
    for start in range(0, len(wave) - 2 * frame, frame):
        part = wave[start : start + 2 * frame]
        if np.std(part) > 0.5 * np.std(wave):
            match = [np.dot(part[:frame], part[k : k + frame]) for k in range(last)]
            good = np.flatnonzero(match[first:] > 0.85 * np.max(match[first:]))
            peak = good[0] + np.argmax(match[first + good[0] :][: first // 2 + 2])
            pitches.append(sample_rate / (first + peak))
    return float(np.median(pitches))


def frame_levels_db(wave: np.ndarray, frame: int) -> np.ndarray:
    frames = wave[: len(wave) // frame * frame].reshape(-1, frame)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100])
@pytest.mark.parametrize("name", EVERY)
def test_sounds_have_a_peak_and_faded_ends(name, sample_rate):
    for seed in range(3):
        wave = EVERY[name](2 * sample_rate, sample_rate, np.random.default_rng(seed))
        assert wave.shape == (2 * sample_rate,)
        assert wave.dtype == np.float32
        assert np.all(np.isfinite(wave))
        assert np.max(np.abs(wave)) == pytest.approx(0.5)
        assert abs(np.mean(wave)) < 2e-3
        # A click at an end would be audible in every mixture.
        assert np.max(np.abs(wave[[0, -1]])) < 1e-6
        assert np.max(np.abs(wave[[1, -2]])) < 0.01


@pytest.mark.parametrize("name", EVERY)
def test_sounds_depend_on_their_seed(name):
    first, again, other = (
        EVERY[name](8000, 8000, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    overlap = np.dot(first, other) / np.linalg.norm(first) / np.linalg.norm(other)
    assert abs(overlap) < 0.7


@pytest.mark.parametrize("samples", [1, 2, 17, 300])
@pytest.mark.parametrize("name", EVERY)
def test_very_short_sounds_are_finite(name, samples):
    wave = EVERY[name](samples, 8000, np.random.default_rng(0))
    assert wave.shape == (samples,)
    assert np.all(np.isfinite(wave))


@pytest.mark.parametrize("name", sounds.SUSTAINED)
def test_sustained_sounds_never_pause(name):
    for seed in range(4):
        wave = sounds.SUSTAINED[name](32000, 8000, np.random.default_rng(seed))
        levels = frame_levels_db(wave[400:-400], 400)
        assert levels.min() > levels.max() - 35


def test_voice_pauses_and_drums_hit():
    speech = voices.voice(32000, 8000, np.random.default_rng(0))
    levels = frame_levels_db(speech, 200)
    assert np.mean(levels < levels.max() - 40) > 0.03
    assert np.mean(levels > levels.max() - 25) > 0.5
    beat = frame_levels_db(sounds.drums(32000, 8000, np.random.default_rng(0)), 200)
    assert np.max(np.diff(beat)) > 12


@pytest.mark.parametrize("play", [sounds.plucked_string, sounds.bowed_string])
@pytest.mark.parametrize("pitch_hz", [110.0, 155.6, 311.1])
def test_strings_are_in_tune(play, pitch_hz):
    wave = play(16000, 8000, np.random.default_rng(3), pitch_hz=(pitch_hz, pitch_hz))
    # Lags are whole samples; their rounding is up to 2 % at 311 Hz.
    assert pitch_of(wave, 8000) == pytest.approx(pitch_hz, rel=0.022)


def test_low_and_high_speakers_differ_in_pitch_and_tract():
    pitches = {"low": [], "high": []}
    scales = {"low": [], "high": []}
    for seed in range(6):
        for register, measured in pitches.items():
            rng = np.random.default_rng(seed)
            speaker = voices.draw_speaker(rng, register)
            speech = voices.voice(16000, 8000, rng, speaker)
            measured.append(pitch_of(speech, 8000))
            scales[register].append(speaker.formant_scale)
            assert measured[-1] == pytest.approx(speaker.pitch_hz, rel=0.2)
    assert max(pitches["low"]) < min(pitches["high"])
    assert max(scales["low"]) < min(scales["high"])


def test_the_tract_moves_the_formants():
    levels = []
    for scale in (0.95, 1.25):
        speaker = voices.Speaker(100.0, scale, 4.0, 0.05)
        speech = voices.voice(64000, 16000, np.random.default_rng(0), speaker)
        frequencies, power = signal.welch(speech, 16000, nperseg=1024)
        band = (frequencies > 1000) & (frequencies < 5000)
        levels.append(np.average(frequencies[band], weights=power[band]))
    assert levels[1] > 1.05 * levels[0]


def test_an_unknown_register_of_a_speaker_raises():
    with pytest.raises(ValueError, match="'low' or 'high', not 'child'"):
        voices.draw_speaker(np.random.default_rng(0), "child")


def test_chirps_stay_below_the_band_edge():
    wave = sounds.chirps(32000, 8000, np.random.default_rng(0))
    frequencies, power = signal.welch(wave, 8000, nperseg=512)
    inside = (frequencies > 1000) & (frequencies < 3700)
    assert power[inside].sum() > 0.98 * power.sum()


def test_the_sawtooth_has_little_aliasing():
    pitch_hz = np.full(8000, 1234.5)
    spectrum = np.abs(
        np.fft.rfft(synthesis.sawtooth(pitch_hz, 8000) * np.hanning(8000))
    )
    frequencies = np.arange(len(spectrum))
    harmonic = np.zeros(len(spectrum), bool)
    for number in (1, 2, 3):
        harmonic |= np.abs(frequencies - number * 1234.5) < 8
    assert spectrum[~harmonic].max() < 0.12 * spectrum.max()
