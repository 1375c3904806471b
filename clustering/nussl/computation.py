"""Models of nussl computed plainly in float64, to compare networks with.

Every module is computed for itself by what nussl's of that class does, in the order of
the connections: neither shapes nor layers of ours take part. Axes are those of nussl:
[batch, frames, bins, 1], sources or dimensions of an embedding behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clustering.nussl import graphs

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Module:
    """One module: arguments, weights by the names within it, direction and length."""

    args: Mapping[str, Any]
    weights: Weights
    direction: str
    samples: int


def outputs(
    config: Any, tensors: Mapping[str, Any], mixture: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute every module of a graph that :func:`graphs.translate` knows.

    Args:
        config: Configuration of the model.
        tensors: Its tensors by nussl's names.
        mixture: Magnitudes [batch, frames, bins, 1], or waveforms [batch, 1, samples].

    Returns:
        What came out of each module last.
    """
    modules, connections = graphs.parts(config)
    values = {graphs.INPUT: np.asarray(mixture, np.float64)}
    for name, sources in connections:
        operands = [values[each] for each in sources if isinstance(each, str)]
        options = {
            k: v for each in sources if isinstance(each, dict) for k, v in each.items()
        }
        prefix = f"layers.{name}."
        weights = _below(prefix, tensors)
        module = Module(
            modules[name]["args"],
            weights,
            options.get("direction", "transform"),
            mixture.shape[-1],
        )
        result = CLASSES[modules[name]["class"]](module, *operands)
        if isinstance(result, tuple):
            values |= {f"{name}:{i}": each for i, each in enumerate(result)}
        else:
            values[name] = result
    return values


def _below(prefix: str, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): np.asarray(tensor, np.float64)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _decibels(_: Module, data: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(data**2, 1e-8))


def _batch_norm(module: Module, data: np.ndarray) -> np.ndarray:
    mean, variance, gain, offset = (
        module.weights[f"batch_norm.{name}"]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (data - mean) / np.sqrt(variance + 1e-5) * gain + offset


def _instance_norm(_: Module, data: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, data.ndim))
    mean, variance = (f(data, axes, keepdims=True) for f in (np.mean, np.var))
    return (data - mean) / np.sqrt(variance + 1e-5)


def _recurrent(module: Module, data: np.ndarray) -> np.ndarray:
    rows = data.reshape(*data.shape[:2], -1)
    for layer in range(module.args["num_layers"]):
        parts = [_direction(module.weights, f"_l{layer}", rows)]
        if module.args["bidirectional"]:
            back = _direction(module.weights, f"_l{layer}_reverse", rows[:, ::-1])
            parts.append(back[:, ::-1])
        rows = np.concatenate(parts, axis=-1)
    return rows


def _direction(weights: Weights, suffix: str, rows: np.ndarray) -> np.ndarray:
    """Run an LSTM: gates in, forget, cell, out; c = f c + i g, h = o tanh(c)."""
    into, back, bias1, bias2 = (
        weights[f"rnn.{name}{suffix}"]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = rows @ into.T + bias1 + bias2
    hidden = cell = np.zeros([len(rows), back.shape[1]])
    found = []
    for frame in range(rows.shape[1]):
        gates = np.split(inputs[:, frame] + hidden @ back.T, 4, axis=-1)
        enter, forget, leave = (_sigmoid(gates[number]) for number in (0, 1, 3))
        cell = forget * cell + enter * np.tanh(gates[2])
        hidden = leave * np.tanh(cell)
        found.append(hidden)
    return np.stack(found, axis=1)


def _sigmoid(data: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(data / 2.0))


def _softmax(data: np.ndarray) -> np.ndarray:
    raised = np.exp(data - data.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _rectified(data: np.ndarray) -> np.ndarray:
    return np.maximum(data, 0.0)


def _linear(weights: Weights, name: str, rows: np.ndarray) -> np.ndarray:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _embedding(module: Module, data: np.ndarray) -> np.ndarray:
    args, weights = module.args, module.weights
    rows = data.reshape(*data.shape[:2], -1)
    activation = args["activation"]
    if "gated_tanh" in activation:
        value = np.tanh(_linear(weights, "embed_linear.0", rows))
        rows = value * _sigmoid(_linear(weights, "embed_gate.0", rows))
    rows = _linear(weights, "linear", rows)
    numbers = rows.reshape(*rows.shape[:2], -1, 1, args["embedding_size"])
    for name, function in ACTIVATIONS.items():
        if name in activation:
            numbers = function(numbers)
            break
    for name, order in (("unit_norm", 2), ("l1_norm", 1)):
        if name in activation:
            norm = np.linalg.norm(numbers, order, axis=-1, keepdims=True)
            return numbers / np.maximum(norm, 1e-12)
    return numbers


def _mask(_: Module, mask: np.ndarray, data: np.ndarray) -> np.ndarray:
    return mask * data[..., np.newaxis]


def _split(module: Module, data: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.split(data, [module.args["split_sizes"][0]], axis=2))


def _expand(_: Module, wide: np.ndarray, data: np.ndarray) -> np.ndarray:
    return np.broadcast_to(data[..., np.newaxis], wide.shape)


def _concatenate(_: Module, *data: np.ndarray) -> np.ndarray:
    return np.concatenate(data, axis=2)


def _bank(module: Module, data: np.ndarray) -> np.ndarray:
    """Windowed frames times the filters, or back; one channel."""
    size, hop = module.args["filter_length"], module.args["hop_length"]
    window = _window(module)
    if module.direction == "inverse":
        filters = module.weights["inverse_filters"]
        frames = np.moveaxis(data[:, :, :, 0], 2, 3) @ filters * window.sum() * window
        total = _overlapped(frames, hop)
        norm = _overlapped(np.broadcast_to(window**2, frames.shape), hop)
        waveform = total / np.where(norm < 1e-10, 1.0, norm)
        waveform = waveform[:, size // 2 :][:, : module.samples]
        return waveform[:, np.newaxis]
    waveform = data[:, 0]
    rest = (size - waveform.shape[-1]) % hop
    padded = np.pad(waveform, [[0, 0], [size // 2, size // 2 + rest]])
    starts = range(0, padded.shape[-1] - size + 1, hop)
    frames = np.stack([padded[:, i : i + size] * window for i in starts], axis=1)
    return (frames @ module.weights["transform_filters"])[..., np.newaxis]


def _window(module: Module) -> np.ndarray:
    size = module.args["filter_length"]
    if module.args.get("window_type", "sqrt_hann") == "rectangular":
        return np.ones(size)
    return np.sin(np.pi * np.arange(size) / size)


def _overlapped(frames: np.ndarray, hop: int) -> np.ndarray:
    """Add [batch, frames, sources, size] up to [batch, samples, sources]."""
    batch, count, sources, size = frames.shape
    total = np.zeros([batch, (count - 1) * hop + size, sources])
    for number in range(count):
        part = frames[:, number].transpose(0, 2, 1)
        total[:, number * hop : number * hop + size] += part
    return total


def _stft(module: Module, data: np.ndarray) -> np.ndarray:
    """Magnitudes before phases, in both directions."""
    if module.direction == "inverse":
        magnitude, phase = np.split(data, 2, axis=2)
        parts = magnitude * np.cos(phase), magnitude * np.sin(phase)
        return _bank(module, np.concatenate(parts, axis=2))
    spectra = _bank(module, data) / _window(module).sum()
    real, imaginary = np.split(np.where(np.abs(spectra) <= 1e-8, 1e-8, spectra), 2, 2)
    parts = np.hypot(real, imaginary), np.arctan2(imaginary, real)
    return np.concatenate(parts, axis=2)


def _group_norm(
    weights: Weights, name: str, data: np.ndarray, epsilon: float
) -> np.ndarray:
    """Normalise over all but the batch; the last axis has gains and offsets."""
    axes = tuple(range(1, data.ndim))
    mean, variance = (f(data, axes, keepdims=True) for f in (np.mean, np.var))
    gain, offset = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return (data - mean) / np.sqrt(variance + epsilon) * gain + offset


def _dual_path(module: Module, data: np.ndarray) -> np.ndarray:
    args, weights = module.args, module.weights
    size, hop = args["chunk_size"], args["hop_size"]
    rows = _group_norm(weights, "bottleneck_norm", data[..., 0], 1e-5)
    rows = _linear(weights, "bottleneck", rows)
    starts = range(0, rows.shape[1] - size + 1, hop)
    grid = np.stack([rows[:, i : i + size] for i in starts], axis=1)
    for layer in range(args["num_layers"]):
        for side in ("intra", "inter"):
            inner = _below(f"layers.{layer}.{side}_", weights)
            grid = _side(inner, args[f"{side}_processor"]["args"], grid)
            grid = grid.swapaxes(1, 2)
    grid = np.where(grid > 0, grid, weights["prelu.weight"] * grid)
    chunks = _linear(weights, "inv_bottleneck", grid)
    total = np.zeros(data.shape[:3])
    for number, start in enumerate(starts):
        total[:, start : start + size] += chunks[:, number]
    return total[..., np.newaxis]


def _side(weights: Weights, args: Mapping[str, Any], grid: np.ndarray) -> np.ndarray:
    """A stack along the third axis, beside its input."""
    lines = grid.reshape(-1, *grid.shape[2:])
    stack = Module(args, _below("processor.", weights), "transform", 0)
    lines = _linear(weights, "fc", _recurrent(stack, lines))
    return grid + _group_norm(weights, "norm", lines.reshape(grid.shape), 1e-8)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": _rectified,
    "softmax": _softmax,
}
"""Of these the first that a head names, in this order."""

CLASSES: dict[str, Callable[..., Any]] = {
    "AmplitudeToDB": _decibels,
    "BatchNorm": _batch_norm,
    "InstanceNorm": _instance_norm,
    "RecurrentStack": _recurrent,
    "Embedding": _embedding,
    "Mask": _mask,
    "Split": _split,
    "Expand": _expand,
    "Concatenate": _concatenate,
    "STFT": _stft,
    "LearnedFilterBank": _bank,
    "ReLU": lambda _, data: _rectified(data),
    "DualPath": _dual_path,
}
"""Function of every class."""
