"""Mask inference: a mask for every source straight from the network.

[1] Kolbæk, Yu, Tan, Jensen: Multitalker speech separation with utterance-level
    permutation invariant training of deep recurrent neural networks, IEEE/ACM
    Transactions on Audio, Speech, and Language Processing, 2017.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.models.embedding import Embedding, sources_first
from clustering.models.spectral import SpectralStack
from clustering.shapes import MaskInference as Config


class MaskInference(keras.Model):
    """The network [1].

    Args:
        config: Its shape.
        name: Name of the model.

    >>> MaskInference(Config())(tf.ones([1, 3, 257])).shape
    TensorShape([1, 2, 3, 257])
    """

    def __init__(self, config: Config, name: str = "mask_inference") -> None:
        super().__init__(name=name, dtype="float32")
        self.config, bins = config, config.features.bins
        self.stack = SpectralStack(config.features, config.recurrent)
        self.mask = Embedding(
            self.stack.width, bins, config.sources, config.mask_activation, name="mask"
        )
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Estimate masks.

        Args:
            magnitude: Magnitude of the mixture [batch, frames, bins].
            training: Whether to drop outputs between recurrent layers, and to
                normalise by this batch where that is configured.

        Returns:
            Masks [batch, sources, frames, bins].
        """
        return sources_first(self.mask(self.stack(magnitude, training)))

    def infer(self, magnitude: tf.Tensor) -> tf.Tensor:
        """Estimate masks in the way that is fastest without a gradient."""
        return sources_first(self.mask(self.stack.infer(magnitude)))
