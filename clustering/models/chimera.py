"""Chimera: deep clustering and mask inference on one stack.

[1] Luo, Chen, Hershey, Le Roux, Mesgarani: Deep clustering and conventional networks
    for music separation: stronger together, ICASSP 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tf_keras as keras

from clustering.models.embedding import Embedding, points, sources_first
from clustering.models.spectral import SpectralStack
from clustering.shapes import Chimera as Config


class Heads(NamedTuple):
    """Embedding [batch, points, dim], and masks [batch, sources, frames, bins]."""

    embedding: tf.Tensor
    mask: tf.Tensor


class Chimera(keras.Model):
    """The network [1].

    Args:
        config: Its shape.
        name: Name of the model.

    >>> heads = Chimera(Config())(tf.ones([1, 3, 257]))
    >>> heads.embedding.shape, heads.mask.shape
    (TensorShape([1, 771, 20]), TensorShape([1, 2, 3, 257]))
    """

    def __init__(self, config: Config, name: str = "chimera") -> None:
        super().__init__(name=name, dtype="float32")
        self.config, bins = config, config.features.bins
        self.stack = SpectralStack(config.features, config.recurrent)
        width, activation = self.stack.width, config.embedding_activation
        self.embedding = Embedding(
            width, bins, config.embedding, activation, name="embedding"
        )
        self.mask = Embedding(
            width, bins, config.sources, config.mask_activation, name="mask"
        )
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, magnitude: tf.Tensor, training: bool = False) -> Heads:
        """Embed every bin and estimate masks.

        Args:
            magnitude: Magnitude of the mixture [batch, frames, bins].
            training: Whether to drop outputs between recurrent layers, and to
                normalise by this batch where that is configured.

        Returns:
            Embedding and masks.
        """
        return self._heads(self.stack(magnitude, training))

    def infer(self, magnitude: tf.Tensor) -> Heads:
        """Do the same in the way that is fastest without a gradient."""
        return self._heads(self.stack.infer(magnitude))

    def _heads(self, rows: tf.Tensor) -> Heads:
        return Heads(points(self.embedding(rows)), sources_first(self.mask(rows)))
