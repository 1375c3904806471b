"""Synthetic speakers: glottal pulses filtered by the formants of varying vowels.

A speaker has a pitch, a vocal tract length, a speed and a breathiness, drawn from the
ranges of the register ``low`` or ``high``, which do not overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import signal

from common.synthetic import synthesis

VOWELS_HZ = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ],
    dtype=np.float64,
)
"""First three formants of ten vowels of adult males (Peterson and Barney 1952)."""
UPPER_FORMANTS_HZ = (3400.0, 4300.0)
WIDTHS_HZ = np.array([70.0, 90.0, 130.0, 200.0, 280.0])
FRAMES_PER_SECOND = 100
PITCHES_HZ = {"low": (85.0, 135.0), "high": (185.0, 290.0)}
FORMANT_SCALES = {"low": (0.92, 1.02), "high": (1.14, 1.28)}


class Speaker(NamedTuple):
    """Constant properties of the speech of one speaker.

    Attributes:
        pitch_hz: Middle of the pitch range.
        formant_scale: Formants relative to those of an adult male, 0.9 to 1.3.
        syllables_per_second: Speed of speaking.
        breath: Level of the noise in voiced sounds relative to the pulses.
    """

    pitch_hz: float
    formant_scale: float
    syllables_per_second: float
    breath: float


class _Speech(NamedTuple):
    """Controls at FRAMES_PER_SECOND, each [frames] (formants: [frames, 5])."""

    pitch_hz: np.ndarray
    voiced: np.ndarray
    noise: np.ndarray
    formants_hz: np.ndarray


def draw_speaker(rng: np.random.Generator, register: str | None = None) -> Speaker:
    """Return a random speaker.

    Args:
        rng: Seeded generator.
        register: ``"low"`` (deep voice, long tract), ``"high"``, or None for either.

    Returns:
        The speaker.

    Raises:
        ValueError: The register is neither low nor high.

    >>> 85 <= draw_speaker(np.random.default_rng(0), "low").pitch_hz <= 135
    True
    """
    if register is None:
        register = ("low", "high")[rng.integers(2)]
    if register not in PITCHES_HZ:
        raise ValueError(
            f"The register of a speaker is 'low' or 'high', not {register!r}."
        )
    return Speaker(
        rng.uniform(*PITCHES_HZ[register]),
        rng.uniform(*FORMANT_SCALES[register]),
        rng.uniform(3.2, 5.5),
        rng.uniform(0.02, 0.12),
    )


def voice(
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    speaker: Speaker | None = None,
) -> np.ndarray:
    """Return nonsense speech: gliding vowels, consonant noises and pauses.

    Args:
        samples: Length, at least 1.
        sample_rate: In Hz.
        rng: Seeded generator; equal generators give equal sounds.
        speaker: The speaker, or None for a random one.

    Returns:
        float32 [samples], peak 0.5.

    >>> voice(8000, 8000, np.random.default_rng(0)).shape
    (8000,)
    """
    speaker = speaker or draw_speaker(rng)
    frame = max(1, sample_rate // FRAMES_PER_SECOND)
    speech = _speech(-(-samples // frame), speaker, rng)
    positions = np.arange(samples) / frame
    frames = np.arange(len(speech.voiced))
    pitch = np.interp(positions, frames, speech.pitch_hz)
    voiced = np.interp(positions, frames, speech.voiced)
    pulses = synthesis.sawtooth(pitch, sample_rate)
    pulses = voiced * (pulses + speaker.breath * rng.normal(size=samples))
    vowels = _through_formants(pulses, speech.formants_hz, frame, sample_rate)
    hertz = min(rng.uniform(3200.0, 5200.0) * speaker.formant_scale, 0.4 * sample_rate)
    hiss = synthesis.coloured_noise(samples, sample_rate, rng, hertz, 0.4)
    hiss *= 0.5 * np.std(vowels) * np.interp(positions, frames, speech.noise)
    return synthesis.finish(vowels + hiss, sample_rate)


def _speech(frames: int, speaker: Speaker, rng: np.random.Generator) -> _Speech:
    """Return random syllables that fill the frames."""
    voiced, noise = np.zeros(frames), np.zeros(frames)
    accent = np.zeros(frames)
    knots, targets = [0.0], [_vowel(rng, speaker)]
    start = 0
    in_phrase = int(rng.integers(4, 10))
    while start < frames:
        start = _consonant(noise, start, rng)
        length = round(
            FRAMES_PER_SECOND / speaker.syllables_per_second * rng.uniform(0.6, 1.3)
        )
        bell = np.sin(np.pi * (np.arange(length) + 0.5) / length)
        synthesis.add(voiced, start, rng.uniform(0.55, 1.0) * bell**0.5)
        synthesis.add(accent, start, rng.normal(1.0, 1.5) * bell)
        for fraction in (0.3, 0.75):
            knots.append(start + fraction * length)
            targets.append(_vowel(rng, speaker) if rng.random() < 0.6 else targets[-1])
        start += length
        in_phrase -= 1
        if in_phrase == 0:
            start += round(rng.uniform(0.12, 0.4) * FRAMES_PER_SECOND)
            in_phrase = int(rng.integers(4, 10))
    positions = np.arange(frames)
    tracks = [np.interp(positions, knots, formant) for formant in np.transpose(targets)]
    fall = 1.5 - 3 * (positions % (2 * FRAMES_PER_SECOND)) / (2 * FRAMES_PER_SECOND)
    semitones = fall + accent + rng.normal(0, 0.3, frames)
    pitch = speaker.pitch_hz * 2 ** (semitones / 12)
    return _Speech(pitch, voiced, noise, np.stack(tracks, axis=-1))


def _vowel(rng: np.random.Generator, speaker: Speaker) -> np.ndarray:
    """Return the formants of a random vowel of a speaker, [5] in Hz."""
    vowel = VOWELS_HZ[rng.integers(len(VOWELS_HZ))] * rng.uniform(0.95, 1.05, 3)
    return np.append(vowel, UPPER_FORMANTS_HZ) * speaker.formant_scale


def _consonant(noise: np.ndarray, start: int, rng: np.random.Generator) -> int:
    """Write a hiss, a burst or nothing; return where the vowel starts, in frames."""
    draw = rng.random()
    if draw < 0.3:
        length = int(rng.integers(6, 13))
        shape = np.sin(np.pi * (np.arange(length) + 0.5) / length)
        synthesis.add(noise, start, rng.uniform(0.4, 1.0) * shape)
        return start + round(0.85 * length)
    if draw < 0.65:
        closure = int(rng.integers(3, 7)) if start else 0
        synthesis.add(noise, start + closure, np.array([1.2, 0.5]))
        return start + closure + 2
    return start


def _through_formants(
    wave: np.ndarray, formants_hz: np.ndarray, frame: int, sample_rate: int
) -> np.ndarray:
    """Filter frame by frame by resonators in series, whose state carries over."""
    below = formants_hz.max(axis=0) < 0.47 * sample_rate
    formants, widths = formants_hz[:, below], WIDTHS_HZ[below]
    radius = np.exp(-np.pi * widths / sample_rate)
    middle = -2 * radius * np.cos(2 * np.pi * formants / sample_rate)
    denominators = np.ones((len(formants), 1))
    for resonator in range(formants.shape[1]):
        first, second = middle[:, resonator, np.newaxis], radius[resonator] ** 2
        product = np.pad(denominators, ((0, 0), (0, 2)))
        product[:, 1:-1] += first * denominators
        product[:, 2:] += second * denominators
        denominators = product
    gains = denominators.sum(axis=-1)
    state = np.zeros(denominators.shape[1] - 1)
    output = np.empty_like(wave)
    for index, (gain, taps) in enumerate(zip(gains, denominators, strict=True)):
        part = slice(index * frame, (index + 1) * frame)
        output[part], state = signal.lfilter([gain], taps, wave[part], zi=state)
    return output
