"""A block of Conv-TasNet, with a custom gradient for global normalisation.

Besides its input the block keeps two tensors for the gradient, the outputs of the first
product and of the convolution; automatic differentiation keeps a dozen. All others are
fast to recompute from these two. The second normalisation is part of the last
product: a gain for every channel goes into the matrix and one for every item comes out
of it. The sums that the gradients of both normalisations need are those that the
gradients of the last product and of the taps consist of, taken item by item.

The operations between products and sums are one pass over the frames if XLA compiles
them, once for each number of frames. That is faster in training, but not for signals of
many lengths.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras as keras

from clustering.models.layers import (
    EPSILON,
    Depthwise,
    Linear,
    Normalisation,
    ParametricRelu,
    shifted,
)
from clustering.models.shapes import ConvTasnet
from common.layers.precision import matmul
from common.training.schedule import Precision

Tensors = tuple[tf.Tensor, ...]
Function = Callable[..., Any]


class Block(keras.layers.Layer):
    """Residual block: widen channels, convolve each with a dilation, narrow again.

    Args:
        config: Shape of the network.
        dilation: Distance between the frames of the convolution.
        name: Name of the layer, which the names of its weights begin with.
    """

    def __init__(self, config: ConvTasnet, dilation: int, name: str) -> None:
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
        """Turn [batch, frames, bottleneck] into the next input and the skip path."""
        if self.norm1.norm == "gLN":
            compiled = training and None not in signal.shape
            outputs = fused_block(
                signal,
                self._weights(),
                self.depthwise.shifts,
                compiled,
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
        """Return the weights, with the last two matrices as one."""
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


class Weights(NamedTuple):
    """Weights of a block.

    Attributes:
        widen: First matrix [width, hidden].
        bias1: Bias of its product [hidden].
        slope1: Slope of the first activation [].
        gamma1: Gain after it [hidden].
        beta1: Offset after it [hidden].
        taps: Taps of the convolution [size, hidden].
        bias2: Bias of the convolution [hidden].
        slope2: Slope of the second activation [].
        gamma2: Gain after it [hidden].
        beta2: Offset after it [hidden].
        narrow: Matrices of residual and skip path, concatenated [hidden, width + skip].
        bias3: Bias of their product [width + skip].
    """

    widen: tf.Tensor
    bias1: tf.Tensor
    slope1: tf.Tensor
    gamma1: tf.Tensor
    beta1: tf.Tensor
    taps: tf.Tensor
    bias2: tf.Tensor
    slope2: tf.Tensor
    gamma2: tf.Tensor
    beta2: tf.Tensor
    narrow: tf.Tensor
    bias3: tf.Tensor


def fused_block(
    signal: tf.Tensor,
    weights: Weights,
    shifts: tuple[int, ...],
    compiled: bool,
    dtype: Precision = "float32",
) -> tf.Tensor:
    """Run the products, activations, normalisations and the convolution of a block.

    Args:
        signal: Input [batch, frames, width].
        weights: Its weights.
        shifts: Offset of the frame of each tap from the current one.
        compiled: Let XLA compile the operations between products and sums; the number
            of frames must then be static.
        dtype: Type of the factors of the two products and of their gradients.

    Returns:
        Residual and skip path, concatenated [batch, frames, width + skip].
    """
    run: Callable[[Function], Function] = _compiled if compiled else lambda f: f

    @tf.custom_gradient
    def core(
        signal: tf.Tensor, *weights: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], Tensors]]:
        w = Weights(*weights)
        wide = _product(signal, w.widen, dtype, w.bias1)
        mean1, inverse1 = _moments(run(_activate)(wide, w.slope1))
        gain1 = inverse1 * w.gamma1
        offset1 = w.beta1 - mean1 * gain1
        norm = w.slope1, gain1, offset1
        convolved = run(_convolved)(wide, norm, w.taps, w.bias2, shifts)
        active = run(_activate)(convolved, w.slope2)
        mean2, inverse2 = _moments(active)
        matrix = w.gamma2[:, tf.newaxis] * w.narrow
        rest = w.bias3 + tf.linalg.matvec(w.narrow, w.beta2, transpose_a=True)
        rest -= inverse2 * mean2 * tf.reduce_sum(matrix, 0)

        def gradient(upstream: tf.Tensor) -> Tensors:
            last = _Last(upstream, run(_activate)(convolved, w.slope2), mean2, inverse2)
            grads2, *parts = _narrow_gradients(last, w, matrix, dtype)
            before, slope_terms = run(_before_norm)(convolved, w.slope2, *parts)
            slope2 = tf.reduce_sum(slope_terms)
            products = run(_tap_products)(wide, before, w.slope1, shifts)
            first = _First(before, products, mean1, inverse1)
            grads1, factor, constant = _tap_gradients(first, w, shifts)
            norm = w.slope1, gain1, factor, constant
            before, slope_terms = run(_before_convolution)(
                wide, before, norm, w.taps, shifts
            )
            slope1 = tf.reduce_sum(slope_terms)
            rows, inputs = _rows(before), _rows(signal)
            widen = matmul(inputs, rows, dtype, transpose_a=True)
            back = matmul(rows, w.widen, dtype, transpose_b=True)
            bias1 = tf.reduce_sum(_over_frames(before), [0, 1])
            gamma1, beta1, taps, bias2 = grads1
            gamma2, beta2, narrow, bias3 = grads2
            return (
                tf.reshape(back, tf.shape(signal)),
                *(widen, bias1, slope1, gamma1, beta1, taps, bias2),
                *(slope2, gamma2, beta2, narrow, bias3),
            )

        outputs = _product(active, matrix, dtype)
        return run(_scaled)(outputs, inverse2, rest), gradient

    return core(signal, *weights)


class _Last(NamedTuple):
    upstream: tf.Tensor
    active: tf.Tensor
    mean: tf.Tensor
    inverse: tf.Tensor


class _First(NamedTuple):
    before: tf.Tensor
    products: Tensors
    mean: tf.Tensor
    inverse: tf.Tensor


def _narrow_gradients(
    last: _Last, w: Weights, matrix: tf.Tensor, dtype: Precision
) -> tuple[Tensors, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients of the last product and of the normalisation that it contains."""
    sums = _over_frames(last.upstream)
    product = matmul(last.active, last.upstream, dtype, transpose_a=True)
    # Item by item, the sums over frames of the normalised signal times upstream.
    normal = last.inverse * (product - last.mean * sums)
    moved = tf.reduce_sum(normal, 0)
    total = tf.reduce_sum(sums, [0, 1])
    gamma = tf.reduce_sum(w.narrow * moved, 1)
    beta = tf.linalg.matvec(w.narrow, total)
    narrow = w.gamma2[:, tf.newaxis] * moved + w.beta2[:, tf.newaxis] * total
    count = _count(last.active)
    along = tf.reduce_sum(matrix * normal, [1, 2], keepdims=True) / count
    constant = tf.reduce_sum(sums * tf.reduce_sum(matrix, 0), 2, keepdims=True) / count
    factor = last.inverse**2 * along
    share = _product(last.upstream * last.inverse, tf.transpose(matrix), dtype)
    constant = last.inverse * constant - last.mean * factor
    return (gamma, beta, narrow, total), share, factor, constant


def _tap_gradients(
    first: _First, w: Weights, shifts: tuple[int, ...]
) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
    """Gradients of the convolution and of the normalisation before it."""
    whole = _over_frames(first.before)
    sums = tf.stack([whole - _unseen(first.before, s) for s in shifts])
    products = tf.stack([_over_frames(product) for product in first.products])
    normal = first.inverse * (products - first.mean * sums)
    taps = w.taps[:, tf.newaxis, tf.newaxis]
    moved, total = (tf.reduce_sum(taps * part, 0) for part in (normal, sums))
    gamma, beta = (tf.reduce_sum(part, [0, 1]) for part in (moved, total))
    parts = w.gamma1 * normal + w.beta1 * sums
    count = _count(first.before)
    along = tf.reduce_sum(w.gamma1 * moved, 2, keepdims=True) / count
    constant = tf.reduce_sum(w.gamma1 * total, 2, keepdims=True) / count
    factor = first.inverse**2 * along
    constant = first.inverse * constant - first.mean * factor
    bias = tf.reduce_sum(whole, [0, 1])
    return (gamma, beta, tf.reduce_sum(parts, [1, 2]), bias), factor, constant


def _activate(signal: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    return tf.where(signal > 0.0, signal, slope * signal)


def _convolved(
    wide: tf.Tensor,
    norm: Tensors,
    taps: tf.Tensor,
    bias: tf.Tensor,
    shifts: tuple[int, ...],
) -> tf.Tensor:
    """Activate, normalise by a gain and an offset, and convolve."""
    slope, gain, offset = norm
    normal = _activate(wide, slope) * gain + offset
    parts = zip(tf.unstack(taps), shifted(normal, shifts), strict=True)
    return sum((tap * part for tap, part in parts), bias)


def _scaled(outputs: tf.Tensor, gain: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    return outputs * gain + offset


def _before_norm(
    signal: tf.Tensor,
    slope: tf.Tensor,
    share: tf.Tensor,
    factor: tf.Tensor,
    constant: tf.Tensor,
) -> Tensors:
    """Gradient before an activation, and the terms of the gradient of its slope.

    The gradient after the activation is share - factor * a - constant, where the
    activated signal a is the input of the normalisation.
    """
    before = share - _activate(signal, slope) * factor - constant
    slope_terms = tf.minimum(signal, 0.0) * before
    return tf.where(signal > 0.0, before, slope * before), slope_terms


def _before_convolution(
    wide: tf.Tensor,
    upstream: tf.Tensor,
    norm: Tensors,
    taps: tf.Tensor,
    shifts: tuple[int, ...],
) -> Tensors:
    """Gradient before the convolution and the activation and norm in front of it."""
    slope, gain, factor, constant = norm
    mirrored = tuple(-shift for shift in shifts)
    parts = zip(tf.unstack(taps), shifted(upstream, mirrored), strict=True)
    share = tf.add_n([tap * part for tap, part in parts]) * gain
    return _before_norm(wide, slope, share, factor, constant)


def _tap_products(
    wide: tf.Tensor, upstream: tf.Tensor, slope: tf.Tensor, shifts: tuple[int, ...]
) -> Tensors:
    parts = shifted(_activate(wide, slope), shifts)
    return tuple(part * upstream for part in parts)


def _unseen(signal: tf.Tensor, shift: int) -> tf.Tensor:
    """Sum the frames of [batch, frames, channels] that are shifted beyond an end."""
    if not shift:
        return tf.zeros_like(signal[:, :1])
    edge = signal[:, :-shift] if shift < 0 else signal[:, -shift:]
    return tf.reduce_sum(edge, 1, keepdims=True)


def _moments(active: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean of each item, and the inverse of its deviation."""
    mean = tf.reduce_mean(active, [1, 2], keepdims=True)
    norm = tf.math.reduce_euclidean_norm(active, [1, 2], keepdims=True)
    # Rounding can make the difference negative if all values are equal.
    variance = tf.maximum(norm**2 / _count(active) - mean**2, 0.0)
    return mean, tf.math.rsqrt(variance + EPSILON)


def _count(signal: tf.Tensor) -> tf.Tensor:
    """Number of values of an item."""
    return tf.cast(tf.reduce_prod(tf.shape(signal)[1:]), tf.float32)


def _over_frames(signal: tf.Tensor) -> tf.Tensor:
    """Sum over frames, as a product with a row of ones: half the time of a sum."""
    return tf.matmul(tf.ones([1, 1, tf.shape(signal)[1]]), signal)


def _rows(signal: tf.Tensor) -> tf.Tensor:
    return tf.reshape(signal, [-1, signal.shape[-1] or 0])


def _product(
    signal: tf.Tensor,
    matrix: tf.Tensor,
    dtype: Precision,
    bias: tf.Tensor | None = None,
) -> tf.Tensor:
    rows = matmul(_rows(signal), matrix, dtype)
    rows = rows if bias is None else tf.nn.bias_add(rows, bias)
    frames = signal.shape[1] or tf.shape(signal)[1]
    return tf.reshape(rows, [-1, frames, matrix.shape[1] or 0])


@cache
def _compiled(function: Function) -> Function:
    return tf.function(function, jit_compile=True, autograph=False)
