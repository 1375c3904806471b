"""TDCN++: masks over a learned basis or the STFT from dilated convolutions.

[1] Wisdom et al., Unsupervised Sound Separation Using Mixture Invariant Training, 2020.
[2] Kavalerov et al., Universal Sound Separation, WASPAA 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from common.layers.precision import set_precision
from common.signal.masking import mixture_consistency
from common.training.schedule import Precision
from mixit.basis import LearnedBasis, StftBasis
from mixit.config import Network
from mixit.layers import Depthwise, PreluNorm, Projection, fused_layers

MASKS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "sigmoid": tf.sigmoid,
    "relu": tf.nn.relu,
}
# Keeps the weights of silent estimates defined, as in Google's program.
POWER_FLOOR = 1e-8


class Tdcn(keras.Model):
    """The separation network of [1].

    Args:
        config: Its shape.
        gradient_checkpointing: Recompute each block for the gradient instead of keeping
            its activations.
        precision: Precision of the products between analysis and synthesis.
    """

    def __init__(
        self,
        config: Network,
        gradient_checkpointing: bool = False,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(name="tdcn", dtype="float32")
        self.config = config
        self.gradient_checkpointing = gradient_checkpointing
        width, sources = config.bottleneck, config.num_sources
        self.basis = (LearnedBasis if config.basis == "learned" else StftBasis)(config)
        inputs = config.num_mics * self.basis.coefficients
        self.initial = Projection(inputs, width, bias=True, scale=1.0, name="initial")
        self.blocks = [
            Block(config, index, name=f"block_{index}")
            for index in range(config.num_repeats * config.num_dilations)
        ]
        self.skips = {
            f"{start}_to_{end}": Projection(
                width, width, bias=True, scale=1.0, name=f"skip_{start}_to_{end}"
            )
            for start, end in skip_edges(config)
        }
        self.mask = Projection(width, inputs * sources, name="mask")
        self.weighting = (
            Projection(width, sources, name="weighting")
            if config.mixture_consistency == "pred_source"
            else None
        )
        set_precision(self, precision)
        self.built = True

    def call(self, mixture: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Separate mixtures.

        Args:
            mixture: Waveforms [batch, samples] or [batch, mics, samples], full scale
                +-1.
            training: Unused; the network behaves the same.

        Returns:
            Sources [batch, sources, samples] at the first microphone; their sum is
            the mixture, unless mixture consistency is ``none``.
        """
        if mixture.shape.rank == 2:
            mixture = mixture[:, tf.newaxis]
        return self.images(mixture)[:, :, 0]

    def images(self, mixture: tf.Tensor, fused: bool = False) -> tf.Tensor:
        """Separate at every microphone.

        Args:
            mixture: Waveforms [batch, mics, samples], full scale +-1.
            fused: Let XLA compile the blocks, see :func:`mixit.layers.fused_layers`.

        Returns:
            Sources [batch, sources, mics, samples].
        """
        coefficients = self.basis.analyse(mixture)
        core = self._core(self.basis.features(coefficients), fused)
        masked = self.basis.masked(self._masks(core), coefficients)
        estimates = self.basis.synthesise(masked, tf.shape(mixture)[-1])
        consistent = self._consistent(mixture, estimates, core)
        return tf.transpose(consistent, [0, 2, 1, 3])

    def _core(self, features: tf.Tensor, fused: bool) -> tf.Tensor:
        """Run the blocks; [batch, frames, bottleneck]."""
        core = self.initial(features)
        inputs: list[tf.Tensor] = []
        for index, block in enumerate(self.blocks):
            for start in range(index):
                if f"{start}_to_{index}" in self.skips:
                    core += self.skips[f"{start}_to_{index}"](inputs[start])
            inputs.append(core)
            run = tf.recompute_grad(block) if self.gradient_checkpointing else block
            core = block(core, fused=True) if fused else run(core)
        return core

    def _masks(self, core: tf.Tensor) -> tf.Tensor:
        """Masks [batch, frames, mics, sources, coefficients]."""
        config = self.config
        sizes = [config.num_mics, config.num_sources, self.basis.coefficients]
        shape = tf.concat([tf.shape(core)[:2], sizes], axis=0)
        return tf.reshape(MASKS[config.mask](self.mask(core)), shape)

    def _consistent(
        self, mixture: tf.Tensor, estimates: tf.Tensor, core: tf.Tensor
    ) -> tf.Tensor:
        """Add the missing part of the mixture to [batch, mics, sources, samples]."""
        consistency = self.config.mixture_consistency
        if consistency == "none":
            return estimates
        if consistency == "uniform":
            return mixture_consistency(mixture, estimates)
        if self.weighting is not None:
            shares = tf.nn.softmax(self.weighting(tf.reduce_mean(core, axis=1)))
        else:
            shares = POWER_FLOOR + tf.reduce_mean(tf.square(estimates), axis=[1, 3])
            shares /= tf.reduce_sum(shares, axis=-1, keepdims=True)
        return mixture_consistency(mixture, estimates, shares[:, tf.newaxis])


class Block(keras.layers.Layer):
    """One residual block: widen, normalise, convolve along time, normalise, narrow.

    Args:
        config: Shape of the network.
        index: Number of the block, which gives its dilation and its first scale.
    """

    def __init__(self, config: Network, index: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        width, channels = config.bottleneck, config.conv_channels
        dilation = 2 ** (index % config.num_dilations)
        self.widen = Projection(width, channels, scale=1.0, name=f"{self.name}/widen")
        self.norm1 = PreluNorm(config.norm, name=f"{self.name}/norm1")
        self.convolve = Depthwise(
            channels, config.kernel_size, dilation, name=f"{self.name}/conv"
        )
        self.norm2 = PreluNorm(config.norm, name=f"{self.name}/norm2")
        # The residual path weighs more the later the block, as in Google's program.
        scale = 0.9**index if config.block_scale == "exponential" else None
        self.narrow = Projection(
            channels, width, scale=scale, name=f"{self.name}/narrow"
        )
        self.built = True

    def call(self, inputs: tf.Tensor, fused: bool = False) -> tf.Tensor:
        """Add the block's output to its input [batch, frames, bottleneck]."""
        wide = self.widen(inputs)
        if fused:
            normal = fused_layers(wide, self.norm1, self.convolve, self.norm2)
        else:
            normal = self.norm2(self.convolve(self.norm1(wide)))
        return inputs + self.narrow(normal)


def skip_edges(config: Network) -> list[tuple[int, int]]:
    """List the blocks that skip connections lead from and to.

    >>> skip_edges(Network(skip_connections=True, num_repeats=3))
    [(0, 8), (0, 16), (8, 16)]
    """
    if not config.skip_connections:
        return []
    starts = [repeat * config.num_dilations for repeat in range(config.num_repeats)]
    return sorted(itertools.combinations(starts, 2), key=lambda edge: edge[::-1])
