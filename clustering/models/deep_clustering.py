"""Deep clustering: an embedding of every bin, near those of the same source.

[1] Hershey, Chen, Le Roux, Watanabe: Deep clustering: discriminative embeddings for
    segmentation and separation, ICASSP 2016.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.models.embedding import Embedding, points
from clustering.models.spectral import SpectralStack
from clustering.shapes import DeepClustering as Config


class DeepClustering(keras.Model):
    """The network [1].

    Args:
        config: Its shape.
        name: Name of the model.

    >>> DeepClustering(Config())(tf.ones([1, 3, 257])).shape
    TensorShape([1, 771, 20])
    """

    def __init__(self, config: Config, name: str = "deep_clustering") -> None:
        super().__init__(name=name, dtype="float32")
        self.config, bins = config, config.features.bins
        self.stack = SpectralStack(config.features, config.recurrent)
        self.embedding = Embedding(
            self.stack.width,
            bins,
            config.embedding,
            config.embedding_activation,
            name="embedding",
        )
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embed every bin.

        Args:
            magnitude: Magnitude of the mixture [batch, frames, bins].
            training: Whether to drop outputs between recurrent layers, and to
                normalise by this batch where that is configured.

        Returns:
            Embedding [batch, frames * bins, dim].
        """
        return points(self.embedding(self.stack(magnitude, training)))

    def infer(self, magnitude: tf.Tensor) -> tf.Tensor:
        """Embed every bin in the way that is fastest without a gradient."""
        return points(self.embedding(self.stack.infer(magnitude)))
