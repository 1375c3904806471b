"""TasNet: masks of learned filters from a recurrent stack.

[1] Luo, Mesgarani: TasNet: time-domain audio separation network for real-time,
    single-channel speech separation, ICASSP 2018.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.models.channels import Linear, Normalisation
from clustering.models.filterbank import Analysis, Synthesis
from clustering.models.masking import masks
from clustering.models.recurrent import recurrent_stack
from clustering.shapes import Tasnet as Config


class Tasnet(keras.Model):
    """The network [1], in the form that asteroid trains.

    With h = relu(A x) sigmoid(G x) of the filters A and G, the estimates are
    S (mask(h) h). Other than in [1], frames may overlap and are not scaled to unit
    norm, and no path leads around the stack's layers.

    Args:
        config: Its shape.
        name: Name of the model.

    >>> from clustering.shapes import Recurrent
    >>> model = Tasnet(Config(recurrent=Recurrent(hidden=4, layers=2)))
    >>> model(tf.zeros([3, 400])).shape
    TensorShape([3, 2, 400])
    """

    def __init__(self, config: Config, name: str = "tasnet") -> None:
        super().__init__(name=name, dtype="float32")
        self.config, filters = config, config.filterbank.filters
        self.analysis = Analysis(config.filterbank, name="analysis")
        self.gate = Analysis(config.filterbank, name="gate")
        self.norm = None
        if config.norm is not None:
            self.norm = Normalisation(config.norm, filters, "norm")
        self.recurrent = recurrent_stack(filters, config.recurrent)
        width = self.recurrent.units * self.recurrent.directions
        self.mask = Linear(width, config.sources * filters, name="mask")
        self.synthesis = Synthesis(config.filterbank, name="synthesis")
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples].
            training: Whether to drop outputs of the recurrent layers.

        Returns:
            Estimates [batch, sources, samples]. What the last whole frame does not
            reach, less than a stride, is zeros.
        """
        filtered = tf.nn.relu(self.analysis(mixture)) * tf.sigmoid(self.gate(mixture))
        rows = filtered if self.norm is None else self.norm(filtered)
        rows = self.mask(self.recurrent(rows, training))
        mask = masks(rows, self.config.sources, self.config.mask_activation)
        return self.synthesis(mask * filtered[:, tf.newaxis], tf.shape(mixture)[-1])
