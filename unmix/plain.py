"""The network once more, in numpy and float64, from the original's tensors.

Slow and short: what a restored network is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.layers.batch_norm import EPSILON

Tensors = Mapping[str, np.ndarray]


def estimate(tensors: Tensors, magnitude: np.ndarray) -> np.ndarray:
    """Estimate the target's magnitude.

    Args:
        tensors: Weights with the names and shapes of the original.
        magnitude: Magnitude of the mixture [channels, frames, bins].

    Returns:
        Magnitude of the target, of the same shape.
    """
    weights = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    channels, frames, bins = magnitude.shape
    seen = magnitude[..., : len(weights["input_mean"])].astype(np.float64)
    rows = (seen + weights["input_mean"]) * weights["input_scale"]
    rows = rows.transpose(1, 0, 2).reshape(frames, -1)
    first = np.tanh(_normal(weights, "bn1", rows @ weights["fc1.weight"].T))
    rows = np.concatenate([first, _recurrent(weights, first)], axis=1)
    rows = np.maximum(_normal(weights, "bn2", rows @ weights["fc2.weight"].T), 0.0)
    rows = _normal(weights, "bn3", rows @ weights["fc3.weight"].T)
    mask = rows.reshape(frames, channels, bins).transpose(1, 0, 2)
    mask = mask * weights["output_scale"] + weights["output_mean"]
    return np.maximum(mask, 0.0) * magnitude


def _normal(weights: Tensors, name: str, rows: np.ndarray) -> np.ndarray:
    mean, variance, gain, offset = (
        weights[f"{name}.{part}"]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (rows - mean) / np.sqrt(variance + EPSILON) * gain + offset


def _recurrent(weights: Tensors, rows: np.ndarray) -> np.ndarray:
    layer = 0
    while f"lstm.weight_hh_l{layer}" in weights:
        outputs = [_direction(weights, f"_l{layer}", rows)]
        if f"lstm.weight_hh_l{layer}_reverse" in weights:
            back = _direction(weights, f"_l{layer}_reverse", rows[::-1])
            outputs.append(back[::-1])
        rows, layer = np.concatenate(outputs, axis=1), layer + 1
    return rows


def _direction(weights: Tensors, suffix: str, rows: np.ndarray) -> np.ndarray:
    bias = weights[f"lstm.bias_ih{suffix}"] + weights[f"lstm.bias_hh{suffix}"]
    matrix = weights[f"lstm.weight_hh{suffix}"]
    output = cell = np.zeros(matrix.shape[1])
    outputs = np.empty([len(rows), len(cell)])
    for frame, given in enumerate(rows @ weights[f"lstm.weight_ih{suffix}"].T + bias):
        entry, forget, new, out = np.split(given + matrix @ output, 4)
        cell = _sigmoid(forget) * cell + _sigmoid(entry) * np.tanh(new)
        outputs[frame] = output = _sigmoid(out) * np.tanh(cell)
    return outputs


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * value)
