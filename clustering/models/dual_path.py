"""Dual-path TasNet: recurrent stacks within chunks and across them.

[1] Luo, Chen, Yoshioka: Dual-path RNN: efficient long sequence modeling for time-domain
    single-channel speech separation, ICASSP 2020.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras as keras

from clustering.models.channels import Linear, Normalisation, ParametricRelu
from clustering.models.embedding import FUNCTIONS, sources_first
from clustering.models.recurrent import recurrent_stack
from clustering.models.windowed_filterbank import analyse, synthesise
from clustering.shapes import DualPath as Config
from clustering.shapes import Recurrent

INPUT_EPSILON = 1e-5
"""Of the first normalisation alone: those of the blocks have 1e-8 in nussl 1.1.9."""


class DualPath(keras.Model):
    """The network [1] as nussl builds it.

    Other than in [1], chunks overlap by any part, and frames behind the last whole
    chunk are not seen: their masks are that of no signal.

    Args:
        config: Its shape.
        name: Name of the model.

    >>> config = Config(bottleneck=4, hidden=3, layers=1, chunk=10, chunk_hop=5)
    >>> DualPath(config)(tf.zeros([2, 800])).shape
    TensorShape([2, 2, 800])
    """

    def __init__(self, config: Config, name: str = "dual_path") -> None:
        super().__init__(name=name, dtype="float32")
        self.config, width = config, config.bottleneck
        filters, size = config.filterbank.filters, config.filterbank.size
        self.window = np.ones(size)
        normal = (2.0 / (size + filters)) ** 0.5
        self.analysis_filters = self._filters("analysis_filters", size, filters, normal)
        self.synthesis_filters = self._filters(
            "synthesis_filters", filters, size, normal
        )
        self.input_norm = Normalisation("gLN", filters, "input_norm", INPUT_EPSILON)
        self.bottleneck = Linear(filters, width, name="bottleneck")
        self.blocks = [Block(config, f"block{n}") for n in range(config.layers)]
        self.activation = ParametricRelu("activation")
        self.widen = Linear(width, filters, name="widen")
        self.mask = Linear(filters, filters * config.sources, xavier=True, name="mask")
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples].
            training: Makes no difference.

        Returns:
            Estimates [batch, sources, samples].
        """
        stride = self.config.filterbank.stride
        filtered = tf.nn.relu(
            analyse(mixture, self.analysis_filters, self.window, stride)
        )
        mask = self._masks(filtered)
        # As in nussl, only masks train the filters of the analysis.
        estimates = mask * tf.stop_gradient(filtered)[:, tf.newaxis]
        return synthesise(
            estimates,
            self.synthesis_filters,
            self.window,
            stride,
            tf.shape(mixture)[-1],
        )

    def _masks(self, filtered: tf.Tensor) -> tf.Tensor:
        rows = self.bottleneck(self.input_norm(filtered))
        chunks = tf.signal.frame(rows, self.config.chunk, self.config.chunk_hop, axis=1)
        for block in self.blocks:
            chunks = block(chunks)
        rows = _overlap_and_add(
            self.widen(self.activation(chunks)),
            self.config.chunk_hop,
            tf.shape(filtered)[1],
        )
        batch, frames, filters = tf.unstack(tf.shape(rows))
        numbers = self.mask(rows)
        numbers = tf.reshape(numbers, [batch, frames, filters, self.config.sources])
        if self.config.mask_activation != "none":
            numbers = FUNCTIONS[self.config.mask_activation](numbers)
        return sources_first(numbers)

    def _filters(self, name: str, rows: int, columns: int, std: float) -> tf.Variable:
        normal = keras.initializers.RandomNormal(stddev=std)
        return self.add_weight(name, (rows, columns), initializer=normal)


class Block(keras.layers.Layer):
    """A stack within chunks, then one across them, each beside its input.

    Args:
        config: Shape of the network.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(self, config: Config, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.intra = Side(config, f"{name}/intra")
        self.inter = Side(config, f"{name}/inter")
        self.built = True

    def call(self, chunks: tf.Tensor) -> tf.Tensor:
        """Run on [batch, chunks, frames of a chunk, bottleneck]."""
        across = tf.transpose(self.intra(chunks), [0, 2, 1, 3])
        return tf.transpose(self.inter(across), [0, 2, 1, 3])


class Side(keras.layers.Layer):
    """A recurrent stack along the third of four axes, beside its input.

    Args:
        config: Shape of the network.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(self, config: Config, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        width = config.bottleneck
        shape = Recurrent(config.hidden, layers=1, initial="uniform", forget_bias=None)
        self.recurrent = recurrent_stack(width, shape, f"{name}/recurrent")
        self.linear = Linear(2 * config.hidden, width, name=f"{name}/linear")
        self.norm = Normalisation("gLN", width, f"{name}/norm")
        self.built = True

    def call(self, grid: tf.Tensor) -> tf.Tensor:
        """Run on [batch, rows, columns, bottleneck], along the columns."""
        batch, rows, columns, _ = tf.unstack(tf.shape(grid))
        lines = tf.reshape(grid, [batch * rows, columns, grid.shape[-1]])
        lines = self.linear(self.recurrent(lines))
        lines = tf.reshape(lines, [batch, rows * columns, grid.shape[-1]])
        return grid + tf.reshape(self.norm(lines), tf.shape(grid))


def _overlap_and_add(chunks: tf.Tensor, hop: int, frames: tf.Tensor) -> tf.Tensor:
    """Add chunks [batch, chunks, frames, width] up to [batch, frames, width]."""
    lines = tf.signal.overlap_and_add(tf.transpose(chunks, [0, 3, 1, 2]), hop)
    missing = frames - tf.shape(lines)[-1]
    lines = tf.pad(lines, [[0, 0], [0, 0], [0, missing]])
    return tf.ensure_shape(
        tf.transpose(lines, [0, 2, 1]), [None, None, chunks.shape[-1]]
    )
