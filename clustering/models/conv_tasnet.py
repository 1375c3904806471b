"""Conv-TasNet: masks of learned filters from dilated convolutions.

[1] Luo, Mesgarani: Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for
    Speech Separation, IEEE/ACM Transactions on Audio, Speech, and Language Processing,
    2019.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras as keras

from clustering.models.channels import (
    Depthwise,
    Linear,
    Normalisation,
    ParametricRelu,
)
from clustering.models.conv_block import Weights, written_block
from clustering.models.filterbank import Analysis, Synthesis
from clustering.models.masking import masks
from clustering.shapes import ConvTasnet as Config


class ConvTasnet(keras.Model):
    """The network [1].

    Args:
        config: Its shape.
        name: Name of the model.

    Raises:
        ValueError: The shape is that of no network.

    >>> model = ConvTasnet(Config(bottleneck=4, hidden=6, skip=4, blocks=2, repeats=1))
    >>> model(tf.zeros([3, 400])).shape
    TensorShape([3, 2, 400])
    """

    def __init__(self, config: Config, name: str = "conv_tasnet") -> None:
        super().__init__(name=name, dtype="float32")
        _check(config)
        self.config, filters = config, config.filterbank.filters
        self.analysis = Analysis(config.filterbank, name="analysis")
        self.input_norm = Normalisation(config.norm, filters, "input_norm")
        self.bottleneck = Linear(filters, config.bottleneck, name="bottleneck")
        self.blocks = [
            Block(config, 2**block, f"repeat{repeat}/block{block}")
            for repeat in range(config.repeats)
            for block in range(config.blocks)
        ]
        self.activation = ParametricRelu("activation")
        self.mask = Linear(
            config.skip or config.bottleneck, config.sources * filters, name="mask"
        )
        self.synthesis = Synthesis(config.filterbank, name="synthesis")
        self.built = True

    # There is no Python control flow on tensors, and the look for it takes seconds.
    @tf.autograph.experimental.do_not_convert
    def call(self, mixture: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples].
            training: Makes no difference.

        Returns:
            Estimates [batch, sources, samples]. What the last whole frame does not
            reach, less than a stride, is zeros.
        """
        filtered = self.analysis(mixture)
        if self.config.encoder_relu:
            filtered = tf.nn.relu(filtered)
        signal = self.bottleneck(self.input_norm(filtered))
        skips = []
        for block in self.blocks:
            signal, skip = block(signal, training)
            skips.append(skip)
        rows = self.mask(
            self.activation(tf.add_n(skips) if self.config.skip else signal)
        )
        mask = masks(rows, self.config.sources, self.config.mask_activation)
        return self.synthesis(mask * filtered[:, tf.newaxis], tf.shape(mixture)[-1])


class Block(keras.layers.Layer):
    """Wider channels, a dilated convolution of each, and back, beside the input.

    Args:
        config: Shape of the network.
        dilation: Distance of the frames that the convolution sees.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(self, config: Config, dilation: int, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        width, hidden, skip = config.bottleneck, config.hidden, config.skip
        self.widen = Linear(width, hidden, name=f"{name}/widen")
        self.activation1 = ParametricRelu(f"{name}/activation1")
        self.norm1 = Normalisation(config.norm, hidden, f"{name}/norm1")
        self.depthwise = Depthwise(
            hidden, config.kernel, dilation, config.causal, f"{name}/depthwise"
        )
        self.activation2 = ParametricRelu(f"{name}/activation2")
        self.norm2 = Normalisation(config.norm, hidden, f"{name}/norm2")
        self.residual = Linear(hidden, width, name=f"{name}/residual")
        self.skip = Linear(hidden, skip, name=f"{name}/skip") if skip else None
        self.built = True

    def call(
        self, signal: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Run on [batch, frames, bottleneck]; give the next input and the skip path."""
        if self.norm1.kind == "gLN":
            fused = training and None not in signal.shape
            outputs = written_block(
                signal,
                self._weights(),
                self.depthwise.shifts,
                fused,
                self.widen.product_dtype,
            )
            width = signal.shape[-1]
            skip = outputs[..., width:] if self.skip is not None else None
            return signal + outputs[..., :width], skip
        hidden = self.norm1(self.activation1(self.widen(signal)))
        hidden = self.norm2(self.activation2(self.depthwise(hidden)))
        skip = self.skip(hidden) if self.skip is not None else None
        return signal + self.residual(hidden), skip

    def _weights(self) -> Weights:
        """List the weights, the last two matrices as one."""
        last = [self.residual, self.skip] if self.skip is not None else [self.residual]
        weights = (
            *(self.widen.kernel, self.widen.bias),
            *(self.activation1.slope, self.norm1.gamma, self.norm1.beta),
            *(self.depthwise.kernel, self.depthwise.bias),
            *(self.activation2.slope, self.norm2.gamma, self.norm2.beta),
            tf.concat([layer.kernel for layer in last], 1),
            tf.concat([layer.bias for layer in last], 0),
        )
        return Weights(*map(tf.convert_to_tensor, weights))


def _check(config: Config) -> None:
    wrong = {
        f"kernel={config.kernel}: expected an odd number": config.kernel % 2 == 0,
        f"norm={config.norm} of a causal network sees the future: expected cLN or "
        "cgLN": config.causal and config.norm not in ("cLN", "cgLN"),
    }
    for problem, holds in wrong.items():
        if holds:
            raise ValueError(f"model.{problem}")
