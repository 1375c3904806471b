"""Building blocks of the synthetic sounds: melodies, pulses, noises, filters, fades."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import signal

PEAK = 0.5
SCALES = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
"""Semitones of the major and of the minor pentatonic scale."""


class Note(NamedTuple):
    """One event of a melody: start and length in samples, pitch in Hz, loudness."""

    start: int
    samples: int
    pitch_hz: float
    loudness: float


def melody(
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    pitch_hz: tuple[float, float],
    *,
    beat: tuple[float, float],
    rests: float = 0.1,
) -> Iterator[Note]:
    """Yield the notes of a random melody on a pentatonic scale.

    Args:
        samples: Length to fill.
        sample_rate: In Hz.
        rng: Seeded generator.
        pitch_hz: Lowest and highest pitch, in Hz.
        beat: Shortest and longest beat to draw from, in seconds.
        rests: Share of notes left out, except the first.

    Yields:
        Notes that end within ``samples``.
    """
    low, high = pitch_hz
    scale = SCALES[rng.integers(len(SCALES))]
    steps = np.arange(int(12 * np.log2(high / low)) + 1)
    root = rng.integers(min(12, len(steps)))
    steps = steps[np.isin((steps - root) % 12, scale)]
    step = int(rng.integers(len(steps)))
    beat_samples = rng.uniform(*beat) * sample_rate
    start = 0
    while start < samples:
        length = min(
            samples - start, int(beat_samples * rng.choice([1, 1, 1, 2, 3])) + 1
        )
        if start == 0 or rng.random() >= rests:
            hertz = low * 2 ** (steps[step] / 12)
            yield Note(start, length, hertz, rng.uniform(0.6, 1.0))
        step = int(np.clip(step + rng.integers(-3, 4), 0, len(steps) - 1))
        start += length


def sawtooth(pitch_hz: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a sawtooth of varying pitch with smoothed steps, to reduce aliasing.

    Args:
        pitch_hz: Pitch at every sample, [samples], in Hz.
        sample_rate: In Hz.

    Returns:
        Wave from -1 to 1, [samples].

    >>> sawtooth(np.full(4, 1.0), 4).round(2).tolist()
    [-0.5, 0.0, 0.5, 0.0]
    """
    advance = pitch_hz / sample_rate
    phase = np.cumsum(advance) % 1
    after, before = phase / advance, (phase - 1) / advance
    step = np.where(after < 1, 2 * after - after**2 - 1, 0.0)
    step += np.where(before > -1, 2 * before + before**2 + 1, 0.0)
    return 2 * phase - 1 - step


def coloured_noise(
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    centre_hz: float,
    octaves: float,
) -> np.ndarray:
    """Return Gaussian noise with a bell-shaped spectrum over log frequency.

    Args:
        samples: Length.
        sample_rate: In Hz.
        rng: Seeded generator.
        centre_hz: Frequency of the maximum.
        octaves: Standard deviation of the bell, in octaves.

    Returns:
        Noise of unit power, [samples].
    """
    spectrum = np.fft.rfft(rng.normal(size=samples))
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate), 1.0)
    spectrum *= np.exp(-0.5 * (np.log2(hertz / centre_hz) / octaves) ** 2)
    noise = np.fft.irfft(spectrum, samples)
    return noise / (np.std(noise) + 1e-9)


def resonate(
    wave: np.ndarray,
    centres_hz: np.ndarray | list[float],
    widths_hz: np.ndarray | list[float],
    gains: np.ndarray | list[float],
    sample_rate: int,
) -> np.ndarray:
    """Return the sum of parallel resonators applied to a wave.

    Args:
        wave: Input, [samples].
        centres_hz: Frequency of each resonator; those above 0.45 of the rate are left
            out.
        widths_hz: Bandwidth of each.
        gains: Gain of each at its resonance.
        sample_rate: In Hz.

    Returns:
        Sum of the resonators' outputs, [samples].
    """
    total = np.zeros(len(wave))
    for centre, width, gain in zip(centres_hz, widths_hz, gains, strict=True):
        if centre < 0.45 * sample_rate:
            numerator, denominator = signal.iirpeak(centre, centre / width, sample_rate)
            total += gain * signal.lfilter(numerator, denominator, wave)
    return total


def string_loop(
    burst: np.ndarray, samples: int, period: float, damping: np.ndarray
) -> np.ndarray:
    """Return a burst in a delay loop (Karplus and Strong 1983) of any period.

    Args:
        burst: Excitation of the string, [about one period].
        samples: Length of the result.
        period: Length of the loop in samples, the damping's delay included.
        damping: Symmetric smoother in the loop, [taps] of gain below 1.

    Returns:
        [samples].

    >>> string_loop(np.ones(1), 9, 4.0, np.array([0.5])).round(2).tolist()
    [1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.25]
    """
    delay = int(period - (len(damping) - 1) / 2) - 1
    shift = period - (len(damping) - 1) / 2 - delay
    # Cubic interpolation, because a linear one would damp high notes.
    cubic = [
        np.prod([(shift - m) / (k - m) for m in range(4) if m != k]) for k in range(4)
    ]
    taps = np.convolve(damping, cubic)
    lead = delay + len(taps)
    wave = np.zeros(lead + samples)
    wave[lead : lead + len(burst)] = burst[:samples]
    # One period at a time, within which no sample depends on another.
    for start in range(lead, lead + samples, delay):
        stop = min(start + delay, lead + samples)
        period_ago = wave[start - delay - len(taps) + 1 : stop - delay]
        wave[start:stop] += np.convolve(period_ago, taps, "valid")
    return wave[lead:]


def finish(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Remove the offset, fade both ends over 8 ms and set the peak to 0.5.

    Args:
        wave: [samples].
        sample_rate: In Hz.

    Returns:
        float32 [samples].

    >>> finish(np.ones(3), 8000).tolist()
    [0.0, 0.0, 0.0]
    """
    fade = round(0.008 * sample_rate)
    wave = (wave - np.mean(wave)) * ramps(len(wave), fade, fade)
    peak = np.max(np.abs(wave))
    return (wave * (PEAK / peak if peak > 1e-12 else 0.0)).astype(np.float32)


def ramps(samples: int, rise: int, fall: int) -> np.ndarray:
    """Return an envelope of ones with raised-cosine rise and fall.

    Args:
        samples: Length.
        rise: Samples of the rise.
        fall: Samples of the fall.

    Returns:
        [samples], from 0 to 1.

    >>> ramps(6, 2, 2).round(2).tolist()
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    envelope = np.ones(samples)
    start = min(rise, samples)
    envelope[:start] = 0.5 - 0.5 * np.cos(np.pi * np.arange(start) / max(rise, 1))
    stop = min(fall, samples)
    down = 0.5 - 0.5 * np.cos(np.pi * np.arange(stop) / max(fall, 1))
    envelope[samples - stop :] *= down[::-1]
    return envelope


def drift(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return a slow random curve within about +-1, with two knots per second."""
    knots = rng.normal(0, 0.5, max(4, 2 * samples // sample_rate + 4))
    positions = np.linspace(0, len(knots) - 1, samples)
    return np.interp(positions, np.arange(len(knots)), knots)


def add(wave: np.ndarray, start: int, sound: np.ndarray) -> None:
    """Add a sound to a wave in place, cut at the end of the wave."""
    stop = min(len(wave), start + len(sound))
    if stop > start:
        wave[start:stop] += sound[: stop - start]
