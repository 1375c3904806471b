"""The networks of the original computed plainly in float64, from tensors by name.

Nothing of our networks is used here, so that they can be compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

Tensors = Mapping[str, np.ndarray]
Layer = tuple[tf.Tensor, tf.Tensor]


def separator(tensors: Tensors, mixture: np.ndarray) -> np.ndarray:
    """Compute the estimates of a separator.

    Args:
        tensors: Tensor by the original's name.
        mixture: ln(1 + magnitude) [batch, bins, frames, 1] with its context.

    Returns:
        Float64 [batch, 2, bins, frames, 1], the accompaniment first.
    """
    convolutions = list(_layers(tensors, "separator/conv2d"))
    upwards = list(_layers(tensors, "separator/conv2d_transpose"))
    depth = len(upwards)
    with tf.device("CPU"):
        image = whole = tf.constant(mixture, tf.float64)
        seen = []
        for level, layer in enumerate(convolutions[: depth + 1]):
            image = tf.nn.max_pool2d(image, 2, 2, "VALID") if level else image
            image = tf.nn.relu(_convolved(image, layer))
            seen.append(image)
        for level, layer in enumerate(convolutions[depth + 1 : 2 * depth + 1]):
            image = tf.nn.relu(_enlarged(image, upwards[level]))
            image = _joined(seen[depth - 1 - level], image)
            image = tf.nn.relu(_convolved(image, layer))
        image = _joined(whole, image)
        heads = [tf.nn.relu(_convolved(image, layer)) for layer in convolutions[-2:]]
    return np.stack([head.numpy() for head in heads], axis=1)


def critic(tensors: Tensors, scope: str, images: np.ndarray) -> np.ndarray:
    """Compute the scores of a critic.

    Args:
        tensors: Tensor by the original's name.
        scope: Scope of the critic.
        images: ln(1 + magnitude) [batch, bins, frames, 1].

    Returns:
        Float64 [batch].
    """
    with tf.device("CPU"):
        image = tf.constant(images, tf.float64)
        for kernel, bias in _layers(tensors, f"{scope}/conv2d"):
            strides = [size // 2 for size in np.shape(kernel)[:2]]
            convolved = tf.nn.conv2d(image, kernel, strides, "SAME") + bias
            image = tf.nn.leaky_relu(convolved, 0.2)
        flat = tf.reshape(image, [len(images), -1])
        kernel, bias = next(_layers(tensors, f"{scope}/dense"))
        hidden = tf.nn.leaky_relu(flat @ kernel + bias, 0.2)
        return (hidden @ _double(tensors[f"{scope}/dense_1/kernel"])).numpy()[:, 0]


def _layers(tensors: Tensors, kind: str) -> Iterator[Layer]:
    """Go through the layers of a kind in the order in which they were made."""
    name, number = kind, 0
    while f"{name}/bias" in tensors:
        yield _double(tensors[f"{name}/kernel"]), _double(tensors[f"{name}/bias"])
        number += 1
        name = f"{kind}_{number}"


def _double(tensor: np.ndarray) -> tf.Tensor:
    return tf.constant(tensor, tf.float64)


def _convolved(image: tf.Tensor, layer: Layer) -> tf.Tensor:
    return tf.nn.conv2d(image, layer[0], 1, "VALID") + layer[1]


def _enlarged(image: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Put what each place gives into a square of its own, twice as large."""
    batch, bins, frames, _ = np.shape(image)
    squares = tf.einsum("bhwi,yxoi->bhywxo", image, layer[0])
    return tf.reshape(squares, [batch, 2 * bins, 2 * frames, -1]) + layer[1]


def _joined(before: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Put the centre of an earlier image before a smaller one."""
    had, have = np.shape(before), np.shape(image)
    low, left = ((had[axis] - have[axis]) // 2 for axis in (1, 2))
    centre = before[:, low : low + have[1], left : left + have[2]]
    return tf.concat([centre, image], -1)
