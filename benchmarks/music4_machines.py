"""Synthesisers and drum machines for the corpus of the bundled model ``music4``.

Basses of the sound font have little energy below 60 Hz; those of electronic music, like
its kick drums, have about half of theirs there. A model that was not trained on them
confuses the two. ``piece(seed, seconds, rate)`` generates a random loop of four bars.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

STEPS, BARS = 16, 4
"""Steps of a bar, and bars of a loop."""
SCALES = (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 5, 7, 9, 11)
HARMONICS, HIGHEST_HZ = 32, 12e3
"""A tone has at most as many harmonics, none of them higher."""
NODES_HZ = (30.0, 60.0, 120.0, 250.0, 500.0, 1500.0, 6000.0)
"""Frequencies at which an equaliser is drawn."""
LEVELS_DB = {"drums": (-28.0, -17.0), "bass": (-29.0, -18.0), "other": (-29.0, -18.0)}
ROOMS = {"drums": 0.2, "bass": 0.05, "other": 0.5}
"""Highest level of the reverberation."""

Wave = np.ndarray
"""One channel [samples] or two [2, samples]."""


@dataclass(frozen=True)
class Groove:
    """What the machines of a piece have in common.

    Attributes:
        rate: Samples a second.
        step: Samples of a sixteenth.
        root: MIDI note of the tonic.
        scale: Semitones of the degrees of the scale.
        degrees: Degree on which each bar stands.
    """

    rate: int
    step: int
    root: int
    scale: Sequence[int]
    degrees: Sequence[int]

    def note(self, degree: int) -> int:
        """Return the MIDI note of a degree, which may exceed an octave."""
        octave, index = divmod(degree, len(self.scale))
        return self.root + 12 * octave + self.scale[index]


@dataclass(frozen=True)
class Voice:
    """A sound of a synthesiser.

    Attributes:
        spectrum: Amplitudes of the harmonics [harmonics].
        detune: Ratio of the frequencies of two oscillators.
        sub: Amplitude of a sine one octave lower.
        edges: Cutoff of the low-pass filter when closed and when open, in Hz.
        closing: Decay time of the filter envelope, in seconds to 1/e.
        order: Order of the filter.
        attack: Attack time of a note, in seconds.
        decay: Decay time of a note, in seconds to 1/e.
        index: Index of the phase modulation.
        ratio: Ratio of its frequency to that of the note.
        drive: Gain before the distortion; at most 0.1 leaves the sound as it is.
    """

    spectrum: np.ndarray
    detune: float
    sub: float
    edges: tuple[float, float]
    closing: float
    order: float
    attack: float
    decay: float
    index: float
    ratio: float
    drive: float


def piece(seed: int, seconds: float, rate: int) -> Mapping[str, Wave]:
    """Draw drums, bass and other of a piece.

    Args:
        seed: What is drawn depends on it alone.
        seconds: Length of the piece.
        rate: Samples a second.

    Returns:
        Waveform [2, samples] by source.

    >>> {name: wave.shape for name, wave in piece(0, 0.5, 8000).items()}
    {'drums': (2, 4000), 'bass': (2, 4000), 'other': (2, 4000)}
    """
    dice = random.Random(seed)
    degrees = [dice.choice((0, 0, 2, 3, 4, 5)) for _ in range(BARS)]
    step = round(rate * 15 / dice.uniform(75, 150))
    groove = Groove(rate, step, dice.randint(28, 40), dice.choice(SCALES), degrees)
    samples, waves = round(seconds * rate), {}
    for name, play in (("drums", drums), ("bass", bass), ("other", other)):
        loop = play(dice, groove)
        repeats = -(-samples // loop.shape[1])
        wave = np.tile(loop, (1, repeats))[:, :samples]
        wave = coloured(wave, dice, rate, dice.random() * ROOMS[name])
        waves[name] = at_level(wave, dice.uniform(*LEVELS_DB[name]))
    return waves


def drums(dice: random.Random, groove: Groove) -> Wave:
    """Play a kick, a snare, hats and some toms."""
    loop = np.zeros([2, BARS * STEPS * groove.step])
    beats = [step for step in range(STEPS) if step % 4 == 0]
    syncopated = [step for step in range(STEPS) if step == 0 or dice.random() < 0.25]
    kick = drop(dice, groove.rate, (33, 70), (0.05, 0.5))
    strike(loop, groove, kick, dice.choice((beats, syncopated)), 1.0)
    stroke, gain = snare(dice, groove.rate), dice.uniform(0.1, 0.8)
    strike(loop, groove, stroke, (4, 12), gain, dice.uniform(-0.2, 0.2))
    for _ in range(dice.randint(1, 3)):
        steps = range(dice.choice((0, 2)), STEPS, dice.choice((1, 2, 4)))
        strike(
            loop,
            groove,
            hat(dice, groove.rate),
            steps,
            dice.uniform(0.03, 0.4),
            dice.uniform(-0.6, 0.6),
        )
    if dice.random() < 0.3:
        tom = drop(dice, groove.rate, (70, 180), (0.05, 0.2))
        steps = [step for step in range(STEPS) if dice.random() < 0.2]
        strike(
            loop, groove, tom, steps, dice.uniform(0.2, 0.7), dice.uniform(-0.5, 0.5)
        )
    return loop


def drop(
    dice: random.Random,
    rate: int,
    pitch: tuple[float, float],
    ring: tuple[float, float],
) -> Wave:
    """Make the stroke of a kick or tom, a sine that falls to its pitch."""
    decay = dice.uniform(*ring)
    seconds = np.arange(round(min(4 * decay + 0.05, 1.2) * rate)) / rate
    height, fall = dice.uniform(0.5, 8.0), dice.uniform(0.005, 0.06)
    hertz = dice.uniform(*pitch) * (1 + height * np.exp(-seconds / fall))
    wave = np.sin(2 * np.pi * np.cumsum(hertz) / rate) * np.exp(-seconds / decay)
    click = hiss(dice, len(wave)) * np.exp(-seconds / dice.uniform(0.001, 0.01))
    wave = driven(wave + dice.uniform(0, 0.3) * click, dice.uniform(-2, 3))
    return wave * np.minimum(1, (seconds[-1] - seconds) / 0.03)


def snare(dice: random.Random, rate: int) -> Wave:
    """Make the stroke of a snare drum or a clap."""
    decay = dice.uniform(0.03, 0.2)
    seconds = np.arange(round(5 * decay * rate)) / rate
    rattle = filtered(hiss(dice, len(seconds)), rate, dice.uniform(300, 2500), 1e5)
    body = np.sin(2 * np.pi * dice.uniform(140, 260) * seconds)
    body *= dice.uniform(0, 1) * np.exp(-seconds / dice.uniform(0.02, 0.1))
    return body + rattle * np.exp(-seconds / decay)


def hat(dice: random.Random, rate: int) -> Wave:
    """Make the stroke of a hi-hat, a shaker or a cymbal."""
    decay = dice.choice((dice.uniform(0.01, 0.06), dice.uniform(0.06, 0.4)))
    seconds = np.arange(round(5 * decay * rate)) / rate
    edges = dice.uniform(2000, 8000), dice.uniform(9000, 20000)
    return filtered(hiss(dice, len(seconds)), rate, *edges) * np.exp(-seconds / decay)


def bass(dice: random.Random, groove: Groove) -> Wave:
    """Play one line of single notes, from B0 (31 Hz) on."""
    groove = replace(groove, root=groove.root - 5)
    voice = draw_voice(dice, (60, 1200), is_bass=True)
    length = dice.choice((1, 2, 2, 4, 8, 16))
    density, jump = dice.uniform(0.4, 1.0), dice.choice((0.0, 0.3))
    offset, held = dice.choice((0, 0, 2)) % length, dice.uniform(0.4, 1.0)
    starts = [k for k in range(offset, STEPS, length) if dice.random() < density]
    steps = {
        k: dice.choice((0, 0, 0, 2, 4, 7 if dice.random() < jump else 0))
        for k in starts or [offset]
    }
    line = [
        (bar * STEPS + step, groove.note(degree + up))
        for bar, degree in enumerate(groove.degrees)
        for step, up in steps.items()
    ]
    loop = sequenced(line, length * held, voice, groove)
    return np.stack([loop, loop])


def other(dice: random.Random, groove: Groove) -> Wave:
    """Play one to three layers: chords, arpeggios or a melody."""
    loop = np.zeros([2, BARS * STEPS * groove.step])
    for _ in range(dice.randint(1, 3)):
        voice = draw_voice(dice, (300, 6000), is_bass=False)
        length = dice.choice((1, 2, 2, 4, 8, 16))
        octave, size = dice.choice((7, 14, 14, 21)), dice.choice((1, 1, 3))
        density = dice.uniform(0.3, 1.0)
        line = []
        for start in range(0, BARS * STEPS, length):
            if dice.random() < density:
                degree = groove.degrees[start // STEPS] + octave
                first = degree + dice.choice((0, 2, 4)) * (size == 1)
                line += [(start, groove.note(first + 2 * k)) for k in range(size)]
        layer = sequenced(line, length * dice.uniform(0.4, 1.2), voice, groove)
        loop += panned(layer, dice.uniform(-0.7, 0.7)) * dice.uniform(0.3, 1.0)
    return loop


def draw_voice(dice: random.Random, edges: tuple[float, float], is_bass: bool) -> Voice:
    """Draw a sound, the edges of whose filter lie in a range in Hz."""
    order = np.arange(1, HARMONICS + 1)
    saw, sine = 1 / order, 1.0 * (order == 1)
    square = np.where(order % 2, 1 / order, 0)
    pulse = np.abs(np.sin(np.pi * order * dice.uniform(0.1, 0.5))) / order
    drawn = np.array([dice.uniform(0, 1) / k**0.7 for k in order])
    closed = edges[0] * (edges[1] / edges[0]) ** dice.random()
    slow = not is_bass and dice.random() < 0.4
    return Voice(
        spectrum=dice.choice((saw, saw, sine, square, square**1.5, pulse, drawn)),
        detune=2 ** (dice.choice((0, 0, dice.uniform(3, 15))) / 1200),
        sub=dice.uniform(0, 1) * is_bass * (dice.random() < 0.4),
        edges=(closed, closed * dice.uniform(1, 16)),
        closing=dice.uniform(0.02, 0.5),
        order=dice.uniform(1, 4),
        attack=dice.uniform(0.1, 0.6) if slow else dice.uniform(0.002, 0.03),
        decay=dice.choice((dice.uniform(0.08, 0.4), dice.uniform(0.4, 5.0))),
        index=dice.choice((0, 0, dice.uniform(0.3, 3))),
        ratio=dice.choice((1, 2, 3, 0.5)),
        drive=dice.choice((0, 0, dice.uniform(0.5, 6))),
    )


def sequenced(
    line: Sequence[tuple[int, int]], length: float, voice: Voice, groove: Groove
) -> Wave:
    """Play notes, each a step and a MIDI note, of a length in steps; the end wraps."""
    loop = np.zeros(BARS * STEPS * groove.step)
    seconds = length * groove.step / groove.rate
    tones = {n: tone(n, seconds, voice, groove.rate) for n in {n for _, n in line}}
    for step, note in line:
        add(loop, tones[note], step * groove.step)
    return loop


def tone(note: int, seconds: float, voice: Voice, rate: int) -> Wave:
    """Synthesise a note by its harmonics.

    >>> wave = tone(69, 0.5, draw_voice(random.Random(0), (300, 6000), False), 8000)
    >>> wave.ndim, bool(np.abs(wave).max() > 0.1)
    (1, True)
    """
    release = 0.02 + voice.attack / 4
    time = np.arange(round((seconds + release) * rate), dtype=np.float32) / rate
    hertz = 440 * 2 ** ((note - 69) / 12)
    order = np.arange(1, max(2, min(HARMONICS, min(HIGHEST_HZ, rate / 2) / hertz)))
    low, high = voice.edges
    edge = low + (high - low) * np.exp(-time / voice.closing)
    wave = np.zeros_like(time)
    for ratio in {1.0, voice.detune}:
        cycles = 2 * np.pi * hertz * ratio * time
        phase = cycles + voice.index * np.sin(voice.ratio * cycles) * edge / high
        for k in order.astype(np.float32):
            weight = voice.spectrum[int(k) - 1]
            if weight > 1e-3:
                gain = weight / (1 + (k * hertz / edge) ** (2 * voice.order))
                wave += (gain * np.sin(k * phase)).astype(np.float32)
    wave += voice.sub * np.sin(np.pi * hertz * time)
    attack = np.minimum(1, time / voice.attack)
    end = np.clip((seconds + release - time) / release, 0, 1)
    return driven(wave * attack * end * np.exp(-time / voice.decay), voice.drive)


def driven(wave: Wave, drive: float) -> Wave:
    """Distort a sound, if the drive is more than 0.1."""
    return np.tanh(drive * wave) / np.tanh(drive) if drive > 0.1 else wave


def strike(
    loop: Wave,
    groove: Groove,
    stroke: Wave,
    steps: Sequence[int],
    gain: float,
    pan: float = 0.0,
) -> None:
    """Put a stroke at steps of each bar of a loop [2, samples]."""
    stroke = panned(gain * stroke, pan)
    for bar in range(BARS):
        for step in steps:
            add(loop, stroke, (bar * STEPS + step) * groove.step)


def add(loop: Wave, wave: Wave, start: int) -> None:
    """Add a sound to a loop; what exceeds its end comes at its start."""
    samples = loop.shape[-1]
    for begin in range(0, wave.shape[-1], samples):
        part = wave[..., begin : begin + samples]
        head = min(part.shape[-1], samples - start)
        loop[..., start : start + head] += part[..., :head]
        loop[..., : part.shape[-1] - head] += part[..., head:]


def panned(wave: Wave, pan: float) -> Wave:
    """Place a sound between left, -1, and right, 1."""
    return np.stack([wave * min(1, 1 - pan), wave * min(1, 1 + pan)])


def hiss(dice: random.Random, samples: int) -> Wave:
    """Draw white noise."""
    return np.random.default_rng(dice.getrandbits(32)).normal(size=samples)


def filtered(wave: Wave, rate: int, low: float, high: float) -> Wave:
    """Keep what lies between two frequencies in Hz."""
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    gain = 1 / (1 + (low / np.maximum(hertz, 1)) ** 4) / (1 + (hertz / high) ** 4)
    return np.fft.irfft(spectrum * gain, len(wave))


def coloured(wave: Wave, dice: random.Random, rate: int, room: float) -> Wave:
    """Apply a random equaliser and reverberation to a sound [2, samples]."""
    size = 2 ** int(np.ceil(np.log2(wave.shape[1] + rate)))
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / rate), 1)
    nodes = [dice.uniform(-6, 6) for _ in NODES_HZ]
    gain = 10 ** (np.interp(np.log(hertz), np.log(NODES_HZ), nodes) / 20)
    decay = dice.uniform(0.05, 0.3)
    time = np.arange(rate) / rate
    echoes = np.stack([hiss(dice, rate), hiss(dice, rate)]) * np.exp(-time / decay)
    echoes *= room / np.sqrt(np.square(echoes).sum(axis=1, keepdims=True))
    echoes[:, 0] += 1
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(echoes, size) * gain
    return np.fft.irfft(spectrum, size)[:, : wave.shape[1]]


def at_level(wave: Wave, level_db: float) -> Wave:
    """Set the root mean square, lower if the peak would exceed full scale."""
    gain = 10 ** (level_db / 20) / max(float(np.sqrt(np.mean(wave**2))), 1e-9)
    return wave * min(gain, 0.99 / max(float(np.abs(wave).max()), 1e-9))
