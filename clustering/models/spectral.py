"""What the networks on magnitudes share: features and a recurrent stack."""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.models.features import FeatureStage
from clustering.models.recurrent import recurrent_stack
from clustering.shapes import Features, Recurrent


class SpectralStack(keras.layers.Layer):
    """From magnitudes to a line of numbers a frame.

    Args:
        features: What the stack sees.
        recurrent: Shape of the stack.
        name: Name of the layer.

    >>> stack = SpectralStack(Features(bins=5), Recurrent(hidden=3))
    >>> stack(tf.ones([2, 7, 5])).shape
    TensorShape([2, 7, 6])
    """

    def __init__(
        self, features: Features, recurrent: Recurrent, name: str = "stack"
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.features = FeatureStage(features)
        self.recurrent = recurrent_stack(self.features.width, recurrent)
        self.width = self.recurrent.units * self.recurrent.directions
        self.built = True

    def call(self, magnitude: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Run on [batch, frames, bins]; differentiable."""
        return self.recurrent(self.features(magnitude, training), training)

    def infer(self, magnitude: tf.Tensor) -> tf.Tensor:
        """Do the same in the way that is fastest without a gradient."""
        return self.recurrent.infer(self.features(magnitude))
