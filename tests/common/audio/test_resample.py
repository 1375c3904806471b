"""Exact lengths, true sines, and blocks that join to the bits of one shot."""

import math

import numpy as np
import pytest

from common.audio import AudioError
from common.audio.resample import ResampleStream, resample

RATES = [
    (44100, 16000),
    (16000, 44100),
    (48000, 44100),
    (8000, 48000),
    (48000, 8000),
    (44100, 44099),
    (192000, 8000),
    (8000, 192000),
]


def joined(waveform, source, target, sizes):
    stream = ResampleStream(source, target, waveform.shape[0])
    parts, start = [], 0
    for size in sizes:
        parts.append(stream.push(waveform[:, start : start + size]))
        start += size
    parts.append(stream.push(waveform[:, start:], last=True))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 3, 7, 100, 1001, 44100])
def test_the_length_is_the_ceiling(source, target, samples):
    result = resample(np.ones((2, samples), np.float32), source, target)
    assert result.shape == (2, math.ceil(samples * target / source))
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_sine_keeps_its_frequency_level_and_phase(source, target):
    seconds = 0.5
    frequency = 0.2 * min(source, target)
    phase = 2 * np.pi * frequency / source * np.arange(int(seconds * source))
    result = resample(np.sin(phase)[None].astype(np.float32), source, target)
    phase = 2 * np.pi * frequency / target * np.arange(result.shape[1])
    middle = slice(result.shape[1] // 4, 3 * result.shape[1] // 4)
    np.testing.assert_allclose(result[0, middle], np.sin(phase)[middle], atol=2e-6)


def test_frequencies_above_half_the_lower_rate_are_removed():
    phase = 2 * np.pi * 9000 / 44100 * np.arange(44100)
    result = resample(np.sin(phase)[None].astype(np.float32), 44100, 16000)
    assert np.abs(result[0, 2000:-2000]).max() < 1e-6


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize(
    "sizes", [[997] * 5, [1] * 300, [0, 1, 0, 4000, 0], [5000], [0], [6000, 0, 0]]
)
def test_blocks_have_the_bits_of_one_shot(source, target, sizes):
    waveform = np.random.default_rng(0).normal(size=(2, 6000)).astype(np.float32)
    whole = resample(waveform, source, target)
    np.testing.assert_array_equal(joined(waveform, source, target, sizes), whole)


def test_long_blocks_have_the_bits_of_one_shot():
    waveform = np.random.default_rng(0).normal(size=(1, 1_500_000)).astype(np.float32)
    whole = resample(waveform, 44100, 16000)
    parts = joined(waveform, 44100, 16000, [65536] * 20)
    np.testing.assert_array_equal(parts, whole)


def test_channels_do_not_mix():
    waveform = np.random.default_rng(0).normal(size=(6, 3000)).astype(np.float32)
    whole = resample(waveform, 44100, 48000)
    for channel in range(6):
        alone = resample(waveform[channel : channel + 1], 44100, 48000)
        np.testing.assert_array_equal(whole[channel : channel + 1], alone)


def test_equal_rates_change_nothing():
    waveform = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    np.testing.assert_array_equal(resample(waveform, 16000, 16000), waveform)
    np.testing.assert_array_equal(joined(waveform, 8000, 8000, [1, 0, 99]), waveform)


def test_a_stream_holds_little_back():
    stream = ResampleStream(44100, 16000, 1)
    given = sum(stream.push(np.zeros((1, 4410))).shape[1] for _ in range(100))
    assert 160000 - given < 4000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 8000, 1), "source_rate is 0"),
        ((8000, -1, 1), "target_rate is -1"),
        ((44100.5, 8000, 1), r"source_rate is 44100\.5"),
        ((8000, 8000, 0), "channels is 0"),
    ],
)
def test_invalid_rates_and_channels_raise(arguments, words):
    with pytest.raises(AudioError, match=words):
        ResampleStream(*arguments)


def test_blocks_that_do_not_fit():
    stream = ResampleStream(8000, 16000, 2)
    with pytest.raises(AudioError, match=r"channels=2.*not \[1, 10\]"):
        stream.push(np.zeros((1, 10)))
    with pytest.raises(AudioError, match=r"not \[10\]"):
        resample(np.zeros(10), 8000, 16000)
    stream.push(np.zeros((2, 10)), last=True)
    with pytest.raises(AudioError, match="pushed before"):
        stream.push(np.zeros((2, 10)))
