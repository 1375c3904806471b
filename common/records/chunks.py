"""Read the chunks of a track from its files and serialize them as records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.audio import resample
from common.corpora import waveforms
from common.corpora.track import Sound, Track
from common.records.format import encode, example
from common.records.plan import Plan

BLOCK_SAMPLES = 65536
"""Least number of samples read from a file at a time."""


def records(plan: Plan, position: int) -> Iterator[bytes]:
    """Serialize a track chunk by chunk, in the memory of one chunk.

    Args:
        plan: The plan.
        position: Index of the track in the plan.

    Yields:
        The records of the track, in order.
    """
    track, samples = plan.tracks[position], plan.samples[position]
    step = plan.piece_samples or samples
    chunks = [
        _chunks(sound, rate, plan, samples)
        for sound, rate in zip(track.sounds, plan.rates[position], strict=True)
    ]
    streams = dict(zip(track.sources, chunks, strict=False))
    mixture = None if track.mixture is None else chunks[-1]
    for number, start in enumerate(range(0, samples, step)):
        heading: dict[str, str | int] = {
            "name": track.name,
            "piece": number,
            "start": start,
            "samples": min(step, samples - start),
            "channels": plan.channels,
            "sample_rate": plan.sample_rate,
        }
        blobs = [
            _blob(streams[name], plan, track, name) if name in streams else b""
            for name in plan.sources
        ]
        mixed = None if mixture is None else _blob(mixture, plan, track, "mixture")
        yield example(heading, plan.sources, blobs, mixed)


def _blob(stream: Iterator[np.ndarray], plan: Plan, track: Track, source: str) -> bytes:
    label = f"Track {track.name!r}, {source!r}"
    return encode(next(stream), plan.encoding, plan.sample_rate, label)


def _chunks(sound: Sound, rate: int, plan: Plan, samples: int) -> Iterator[np.ndarray]:
    """Yield the chunks of a sound that is padded or cut to the length of its track."""
    step = plan.piece_samples or samples
    blocks = _blocks(sound, rate, plan, max(step, BLOCK_SAMPLES))
    rest = np.zeros((plan.channels, 0), np.float32)
    for start in range(0, samples, step):
        length = min(step, samples - start)
        parts = [rest]
        while sum(part.shape[1] for part in parts) < length:
            block = next(blocks, None)
            if block is None:
                missing = length - sum(part.shape[1] for part in parts)
                block = np.zeros((plan.channels, missing), np.float32)
            parts.append(block)
        joined = np.concatenate(parts, axis=1) if len(parts) > 1 else rest
        yield joined[:, :length]
        rest = joined[:, length:]


def _blocks(
    sound: Sound, rate: int, plan: Plan, block_samples: int
) -> Iterator[np.ndarray]:
    """Yield the blocks of a sound at the rate and with the channels of the plan."""
    blocks = waveforms.blocks(sound, block_samples)
    fitted = (_fit_channels(block, plan.channels) for block in blocks)
    if rate == plan.sample_rate:
        yield from fitted
        return
    stream = resample.ResampleStream(rate, plan.sample_rate, plan.channels)
    for block in fitted:
        yield stream.push(block)
    yield stream.push(np.zeros((plan.channels, 0), np.float32), last=True)


def _fit_channels(block: np.ndarray, channels: int) -> np.ndarray:
    block = block.astype(np.float32, copy=False)
    if block.shape[0] == channels:
        return block
    if channels == 1:
        mono: np.ndarray = block.mean(axis=0, keepdims=True)
        return mono
    return np.repeat(block, channels, axis=0)
