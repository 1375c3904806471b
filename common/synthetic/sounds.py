"""Physically motivated sounds, synthesised from a seeded generator.

Each function takes ``(samples, sample_rate, rng)``: the length, at least 1, the rate in
Hz, and a seeded generator, of which equal ones give equal sounds. It returns float32
[samples] with a peak of 0.5, no offset and faded ends. Pitches, tempi and timbres are
drawn from ranges, so that a network must generalise from some seeds to others. The
sounds start at once, and those of :data:`SUSTAINED` have no pauses; scenes add silence
before an event.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import signal

from common.synthetic import synthesis
from common.synthetic.voices import voice

Synthesis = Callable[[int, int, np.random.Generator], np.ndarray]

BAR_MODES = (
    (1.0, 2.756, 5.404, 8.933),
    (1.0, 4.0, 9.2, 16.0),
    (1.0, 3.0, 6.1, 10.3),
)
"""Partials of a free bar (Euler-Bernoulli), a marimba bar and a xylophone bar."""


def plucked_string(
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    pitch_hz: tuple[float, float] = (98.0, 440.0),
) -> np.ndarray:
    """Return a melody on plucked strings (Karplus and Strong 1983, tuned loop).

    ``pitch_hz`` is the lowest and the highest pitch of the melody.

    >>> plucked_string(8000, 8000, np.random.default_rng(0)).shape
    (8000,)
    """
    pick, softness = rng.uniform(0.08, 0.4), rng.uniform(0.03, 0.2)
    pole = np.exp(-2 * np.pi * rng.uniform(500.0, 1500.0) / sample_rate)
    decay_seconds = rng.uniform(1.5, 4.0)
    wave = np.zeros(samples)
    for note in synthesis.melody(samples, sample_rate, rng, pitch_hz, beat=(0.12, 0.4)):
        ringing = min(samples - note.start, note.samples + sample_rate // 10)
        period = sample_rate / note.pitch_hz
        burst = _pluck(rng.uniform(-1, 1, int(period) + 3), pick, pole)
        loss = 10 ** (-3 * period / (decay_seconds * sample_rate))
        tone = synthesis.string_loop(
            burst, ringing, period, loss * _damping(softness, sample_rate)
        )
        tone *= synthesis.ramps(ringing, 1, sample_rate // 12)
        wave[note.start : note.start + ringing] += note.loudness * tone
    return synthesis.finish(wave, sample_rate)


def bowed_string(
    samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    pitch_hz: tuple[float, float] = (130.0, 620.0),
) -> np.ndarray:
    """Return a legato melody on a bowed string: sawtooth, vibrato, resonant body.

    ``pitch_hz`` is the lowest and the highest pitch of the melody.

    >>> bowed_string(8000, 8000, np.random.default_rng(0)).dtype
    dtype('float32')
    """
    pitch, bow = np.full(samples, pitch_hz[0]), np.ones(samples)
    for note in synthesis.melody(
        samples, sample_rate, rng, pitch_hz, beat=(0.4, 1.1), rests=0
    ):
        stop = note.start + note.samples
        pitch[note.start :] = note.pitch_hz
        swell = synthesis.ramps(note.samples, sample_rate // 12, sample_rate // 16)
        bow[note.start : stop] = note.loudness * (0.25 + 0.75 * swell)
    glide = np.exp(-1 / (0.02 * sample_rate))
    start = np.log(pitch[:1]) * glide
    pitch = np.exp(signal.lfilter([1 - glide], [1, -glide], np.log(pitch), zi=start)[0])
    seconds = np.arange(samples) / sample_rate
    depth, rate = rng.uniform(0.003, 0.012), rng.uniform(4.8, 6.6)
    pitch *= 1 + depth * np.sin(2 * np.pi * (rate * seconds + rng.random()))
    saw = synthesis.sawtooth(pitch, sample_rate) + 0.06 * rng.normal(size=samples)
    centres = np.array([280.0, 460.0, 720.0, 1300.0, 2600.0])
    centres *= rng.uniform(0.85, 1.2, 5)
    gains = rng.uniform(0.4, 1.0, 5)
    body = synthesis.resonate(bow * saw, centres, centres / 6, gains, sample_rate)
    return synthesis.finish(body + 0.15 * bow * saw, sample_rate)


def struck_bar(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return tuned bars struck by a mallet: decaying modes at inharmonic ratios.

    >>> float(abs(struck_bar(8000, 8000, np.random.default_rng(0))).max())
    0.5
    """
    ratios = np.array(BAR_MODES[rng.integers(len(BAR_MODES))])
    ratios[1:] *= rng.uniform(0.98, 1.02, len(ratios) - 1)
    levels = rng.uniform(0.25, 0.7) ** np.arange(len(ratios))
    decay_seconds = rng.uniform(0.15, 0.6)
    wave = np.zeros(samples)
    for note in synthesis.melody(
        samples, sample_rate, rng, (330.0, 1200.0), beat=(0.14, 0.45)
    ):
        ringing = min(samples - note.start, round(6 * decay_seconds * sample_rate))
        seconds = np.arange(ringing) / sample_rate
        for ratio, level in zip(ratios, levels, strict=True):
            hertz = ratio * note.pitch_hz
            if hertz < 0.45 * sample_rate:
                # Air and friction damp the high modes more.
                ring = np.exp(-seconds * np.sqrt(ratio) / decay_seconds)
                tone = ring * np.sin(2 * np.pi * hertz * seconds)
                synthesis.add(wave, note.start, note.loudness * level * tone)
    return synthesis.finish(wave, sample_rate)


def chirps(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return birdsong: motifs of swept whistles, each repeated a few times.

    The whistles stay below 7 kHz and 0.43 of the sample rate.

    >>> chirps(8000, 8000, np.random.default_rng(0)).shape
    (8000,)
    """
    wave = np.zeros(samples)
    high = min(7000.0, 0.43 * sample_rate)
    low = min(1300.0, 0.4 * high)
    start = 0
    while start < samples:
        motif = [
            (*rng.uniform((0.04, 0.01), (0.16, 0.07)), rng.uniform(low, high, 3))
            for _ in range(rng.integers(1, 5))
        ]
        for _ in range(rng.integers(2, 6)):
            for seconds, gap_seconds, hertz in motif:
                whistle = _whistle(round(seconds * sample_rate), hertz, sample_rate)
                synthesis.add(wave, start, rng.uniform(0.6, 1.0) * whistle)
                start += len(whistle) + round(gap_seconds * sample_rate)
        start += round(rng.uniform(0.15, 0.5) * sample_rate)
    return synthesis.finish(wave, sample_rate)


def rain(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return rain: a broad hiss of distant drops and the ringing of near ones.

    >>> rain(8000, 8000, np.random.default_rng(0)).shape
    (8000,)
    """
    centre, width = rng.uniform(900.0, 2600.0), rng.uniform(0.9, 1.6)
    hiss = synthesis.coloured_noise(samples, sample_rate, rng, centre, width)
    hiss *= 10 ** (synthesis.drift(samples, sample_rate, rng) * 2.0 / 20)
    near = np.zeros(samples)
    surfaces = rng.uniform(0.08, 0.4, 4) * sample_rate
    for hertz in surfaces:
        count = rng.poisson(rng.uniform(4.0, 25.0) * samples / sample_rate)
        falls = np.zeros(samples)
        falls[rng.integers(samples, size=count)] = rng.exponential(1.0, count)
        near += synthesis.resonate(
            falls, [hertz], [rng.uniform(150, 700)], [1.0], sample_rate
        )
    near *= rng.uniform(0.4, 1.2) * np.std(hiss) / (np.std(near) + 1e-9)
    # A drop on the microphone must not lower the level of the rest.
    return synthesis.finish(np.tanh((hiss + near) / 4), sample_rate)


def engine(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return a combustion engine: uneven firings at a drifting rate in an exhaust.

    >>> engine(8000, 8000, np.random.default_rng(0)).shape
    (8000,)
    """
    firings = rng.uniform(22.0, 75.0) * 2 ** (
        0.25 * synthesis.drift(samples, sample_rate, rng)
    )
    count = np.floor(np.cumsum(firings) / sample_rate).astype(int)
    fires = np.diff(count, prepend=-1) > 0
    cylinders = rng.uniform(0.55, 1.0, rng.integers(2, 7))
    strength = cylinders[count % len(cylinders)] * rng.uniform(0.85, 1.15, samples)
    pulses = fires * strength
    smooth = np.exp(-1 / (rng.uniform(0.0015, 0.004) * sample_rate))
    gas = signal.lfilter([1.0], [1, -smooth], pulses)
    turbulent = gas * rng.normal(size=samples)
    centres = np.array([90.0, 210.0, 480.0, 1000.0, 1900.0]) * rng.uniform(0.75, 1.3, 5)
    gains = np.array([1.0, 0.8, 0.5, 0.35, 0.2]) * rng.uniform(0.5, 1.0, 5)
    blow = gas + rng.uniform(0.2, 0.5) * turbulent
    return synthesis.finish(
        synthesis.resonate(blow, centres, centres / 3, gains, sample_rate), sample_rate
    )


def drums(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return a drum pattern of sixteen steps: kick, snare and hat.

    >>> drums(8000, 8000, np.random.default_rng(0)).shape
    (8000,)
    """
    kit = [
        (_kick(sample_rate, rng), 1.0, 0.2 + 0.7 * (np.arange(16) % 8 == 0)),
        (_snare(sample_rate, rng), 0.7, 0.06 + 0.9 * (np.arange(16) % 8 == 4)),
        (_hat(sample_rate, rng), 0.35, 0.35 + 0.6 * (np.arange(16) % 2 == 0)),
    ]
    pattern = [rng.random(16) < chances for _, _, chances in kit]
    pattern[0][0] = True
    step_seconds = 60 / rng.uniform(80, 150) / 4
    wave = np.zeros(samples)
    for step in range(int(samples / sample_rate / step_seconds) + 1):
        start = round(step * step_seconds * sample_rate)
        for (sound, level, _), hits in zip(kit, pattern, strict=True):
            if hits[step % 16]:
                synthesis.add(wave, start, level * rng.uniform(0.7, 1.0) * sound)
    return synthesis.finish(wave, sample_rate)


def _damping(softness: float, sample_rate: int) -> np.ndarray:
    """Return a smoother with the same high-frequency loss at every sample rate."""
    spread = max(1, round(sample_rate / 8000))
    average = np.zeros(2 * spread + 1)
    average[[0, spread, -1]] = softness / 2, 1 - softness, softness / 2
    return np.convolve(average, np.full(spread, 1 / spread))


def _pluck(noise: np.ndarray, pick: float, pole: float) -> np.ndarray:
    """Low-pass noise twice and notch it by the position of the pick, 0 to 1."""
    soft = signal.lfilter([(1 - pole) ** 2], np.poly([pole, pole]), noise)
    plucked: np.ndarray = soft - np.roll(soft, max(1, round(pick * len(noise))))
    return plucked


def _whistle(samples: int, knots_hz: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a tone whose pitch glides through three frequencies."""
    position = np.linspace(0, 1, samples)
    first, middle, last = knots_hz
    bend = (middle - first) * np.sin(np.pi * position) / 2
    pitch = first + (last - first) * position + bend
    pitch = np.clip(pitch, 200.0, 0.45 * sample_rate)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    return np.sin(phase) * np.sin(np.pi * position) ** 0.7


def _kick(sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return a membrane whose pitch falls while it decays."""
    seconds = np.arange(round(0.35 * sample_rate)) / sample_rate
    pitch = rng.uniform(45, 65) * (1 + rng.uniform(2, 4) * np.exp(-seconds / 0.025))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    return np.sin(phase) * np.exp(-seconds / rng.uniform(0.06, 0.14))


def _snare(sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return two modes of the head with the noise of the wires."""
    seconds = np.arange(round(0.25 * sample_rate)) / sample_rate
    modes_hz = rng.uniform((160, 280), (220, 360))[:, np.newaxis]
    head = np.sin(2 * np.pi * modes_hz * seconds).sum(axis=0) * np.exp(-seconds / 0.05)
    wires = synthesis.coloured_noise(
        len(seconds), sample_rate, rng, rng.uniform(1500, 2600), 0.9
    )
    decay = np.exp(-seconds / rng.uniform(0.04, 0.09))
    hit: np.ndarray = 0.35 * head + 0.3 * wires * decay
    return hit


def _hat(sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Return short metallic noise at the top of the band."""
    seconds = np.arange(round(0.12 * sample_rate)) / sample_rate
    centre = min(9000.0, 0.42 * sample_rate)
    noise = synthesis.coloured_noise(len(seconds), sample_rate, rng, centre, 0.35)
    return 0.4 * noise * np.exp(-seconds / rng.uniform(0.012, 0.04))


SUSTAINED: dict[str, Synthesis] = {
    "rain": rain,
    "engine": engine,
    "bowed_string": bowed_string,
}
"""Sounds without pauses, for backgrounds."""
EVENTS: dict[str, Synthesis] = {
    "voice": voice,
    "plucked_string": plucked_string,
    "struck_bar": struck_bar,
    "chirps": chirps,
    "drums": drums,
}
"""Sounds of single events, for foregrounds."""
