"""A published model run as it is shipped: its meta graph with its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from common.weights.tf1 import MetaGraphError, Session, locate
from mixit.checkpoints import metagraph

TOLERANCE = 1e-4


@final
class Shipped:
    """The shipped graph as a network.

    Args:
        path: Prefix or folder of the checkpoint; the meta graph lies beside it.
        input_tensor: Name of the mixture [1, mics, samples].
        output_tensor: Name of the estimates [1, sources, samples].

    Attributes:
        num_mics: Microphones that it takes.
        num_sources: Estimates that it gives.
        hop_samples: Distance between its frames.

    Raises:
        CheckpointError: There is no checkpoint.
        MetaGraphError: There is no meta graph, or it lacks these tensors.
    """

    def __init__(
        self,
        path: str | Path,
        input_tensor: str = metagraph.INPUT,
        output_tensor: str = metagraph.OUTPUT,
    ) -> None:
        prefix = locate(path)
        meta_graph = metagraph.find(prefix)
        if meta_graph is None:
            raise MetaGraphError(
                f"{prefix.parent} holds no meta graph (inference.meta or "
                f"{prefix.name}.meta); copy it there, or do without"
            )
        self._session = Session(meta_graph, prefix, input_tensor, output_tensor)
        fed, computed = self._session.input_shape, self._session.output_shape
        if len(fed) != 3 or len(computed) != 3 or None in (fed[1], computed[1]):
            raise MetaGraphError(
                f"{meta_graph}: {input_tensor} has shape {fed} and {output_tensor} "
                f"{computed}; expected [1, mics, samples] and [1, sources, samples] "
                "with known numbers of both"
            )
        self.num_mics, self.num_sources = int(fed[1] or 0), int(computed[1] or 0)
        self._least, self.hop_samples = metagraph.framing(meta_graph)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        """Separate mixtures one by one.

        Args:
            mixture: Float32 [batch, mics, samples] of at least one sample.

        Returns:
            Float32 [batch, sources, samples] at the first microphone.
        """
        samples = mixture.shape[-1]
        missing = max(0, self._least - samples)
        padded = np.pad(mixture, [(0, 0), (0, 0), (0, missing)])
        estimates = [self._session(each[np.newaxis]) for each in padded]
        return np.concatenate(estimates)[..., :samples]


def largest_difference(network: Any, shipped: Shipped) -> float:
    """Compare the native network with the shipped graph on signals of several lengths.

    Args:
        network: Takes [batch, mics, samples] to [batch, sources, samples], with its
            shape as ``config``.
        shipped: The graph.

    Returns:
        Largest difference of any two samples, full scale 1; infinity if the numbers
        of sources differ or a sample is not finite.
    """
    worst = 0.0
    for mixture in _signals(network.config, shipped.num_mics):
        wanted, got = shipped(mixture), np.asarray(network(mixture))
        if wanted.shape != got.shape:
            return float("inf")
        difference = float(np.abs(wanted - got).max())
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst


def _signals(config: Any, mics: int) -> Iterator[np.ndarray]:
    """Noise, a chord that fades, and hiss [3, mics, samples] of growing lengths."""
    draw, rate = np.random.default_rng(0), config.sample_rate
    window = config.window_samples
    for samples in (window, 2 * window + 1, rate // 4 + 7, rate):
        time = np.arange(samples) / rate
        noise = 0.1 * draw.standard_normal((mics, samples))
        chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 277.2, 1318.5))
        fading = 0.2 * chord * np.exp(-3 * time) + 0.1 * noise
        yield np.stack([noise, fading, noise / 100]).astype(np.float32)
