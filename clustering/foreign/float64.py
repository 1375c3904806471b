"""What the network of a file computes, in float64 with numpy.

The functions follow the modules of nussl, asteroid and torchaudio by the tensors of the
file, independently of our layers. :mod:`clustering.convert` compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from clustering.foreign import lstm_tasnet_file, nussl_file
from clustering.foreign.conv_tasnet_file import ConvTasnetFile
from clustering.foreign.lstm_tasnet_file import LstmTasnetFile
from clustering.foreign.nussl_file import NusslModel
from clustering.models import shapes
from clustering.models.layers import EPSILON, NORM_AXES
from clustering.models.shapes import ChannelNorm, Filterbank

Weights = Mapping[str, np.ndarray]


def magnitude_reference(
    model: NusslModel, magnitude: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the graph of a file in float64, module by module as nussl does.

    Args:
        model: The restored model; only graph and tensors are used.
        magnitude: Magnitudes [batch, frames, bins].

    Returns:
        ``embedding`` [batch, points, dim] and ``mask`` [batch, sources, frames, bins],
        if the graph has them.
    """
    modules, connections = nussl_file.parts(model.graph)
    # Axes are those of nussl: [batch, frames, bins, channels], sources or dimensions
    # last.
    channels = model.network.config.features.channels
    parts = magnitude.reshape(*magnitude.shape[:2], -1, channels)
    values = {nussl_file.INPUT: parts.astype(np.float64)}
    for name, inputs in connections:
        prefix = f"layers.{name}."
        weights = {
            key.removeprefix(prefix): np.asarray(tensor, np.float64)
            for key, tensor in model.tensors.items()
            if key.startswith(prefix)
        }
        module = Module(modules[name]["args"], weights)
        function = FUNCTIONS[modules[name]["class"]]
        values[name] = function(module, *(values[node] for node in inputs))
    outputs = {}
    if "embedding" in values:
        numbers = values["embedding"]
        outputs["embedding"] = numbers.reshape(len(numbers), -1, numbers.shape[-1])
    if "mask" in values:
        mask = values["mask"].reshape(*magnitude.shape, -1)
        outputs["mask"] = mask.transpose(0, 3, 1, 2)
    return outputs


def waveform_reference(
    model: ConvTasnetFile | LstmTasnetFile, waveform: np.ndarray
) -> np.ndarray:
    """Compute a network on waveforms in float64 from the tensors of its file.

    Args:
        model: The restored model, of which shape and tensors are read.
        waveform: Mixture [batch, samples].

    Returns:
        Estimates [batch, sources, samples].
    """
    double = {
        name: np.asarray(tensor, np.float64) for name, tensor in model.tensors.items()
    }
    if isinstance(model, LstmTasnetFile):
        return _lstm_tasnet(model, double, waveform)
    return _conv_tasnet(model, double, waveform)


def _conv_tasnet(
    model: ConvTasnetFile, double: Weights, waveform: np.ndarray
) -> np.ndarray:
    shape, names = model.network.config, model.names
    padding, samples = shape.padding, waveform.shape[-1]
    padded = np.pad(waveform.astype(np.float64), [(0, 0), (padding, padding)])
    encoded = _encoded(padded, double[names.encoder], shape.filterbank)
    encoded = np.maximum(encoded, 0.0) if shape.encoder_relu else encoded
    net = _ConvTasnet(model, double)
    rows = net.product(names.bottleneck, net.normalise(names.norm, encoded))
    total = np.zeros([])
    for number in range(shape.blocks * shape.repeats):
        hidden = net.block(number, rows)
        if shape.skip:
            total = total + net.product(names.skip.format(number), hidden)
        residual = names.residual.format(number)
        if f"{residual}.weight" in double:
            rows = rows + net.product(residual, hidden)
    rows = net.rectify(f"{names.activation}.weight", total if shape.skip else rows)
    rows = net.product(names.mask, rows)
    sound = _decoded(rows, encoded, double[names.decoder], shape, padded.shape[-1])
    return sound[..., padding : padding + samples]


def _lstm_tasnet(
    model: LstmTasnetFile, double: Weights, waveform: np.ndarray
) -> np.ndarray:
    file, shape = lstm_tasnet_file, model.network.config
    bank, stack = shape.filterbank, shape.recurrent
    gate = _sigmoid(_encoded(waveform, double[file.GATE], bank))
    encoded = gate * np.maximum(_encoded(waveform, double[file.ENCODER], bank), 0.0)
    gain, offset = (double[f"{file.NORM}.{name}"] for name in ("gamma", "beta"))
    rows = _normalised(encoded, shape.norm or "gLN") * gain + offset
    prefix = f"{file.STACK}."
    weights = {name.removeprefix(prefix): tensor for name, tensor in double.items()}
    args = {"num_layers": stack.layers, "bidirectional": stack.bidirectional}
    rows = _linear(double, file.MASK, _recurrent(Module(args, weights), rows))
    return _decoded(rows, encoded, double[file.DECODER], shape, waveform.shape[-1])


def _encoded(waveform: np.ndarray, filters: np.ndarray, bank: Filterbank) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(waveform, bank.size, -1)
    return windows[:, :: bank.stride].astype(np.float64) @ filters[:, 0].T


def _decoded(
    rows: np.ndarray,
    encoded: np.ndarray,
    filters: np.ndarray,
    shape: shapes.Tasnet | shapes.ConvTasnet,
    samples: int,
) -> np.ndarray:
    """Turn the output of a network into waveforms, by its masks of the mixture."""
    mask = rows.reshape(*rows.shape[:2], shape.sources, -1)
    mask = MASKS[shape.mask_activation](mask)
    frames = (mask * encoded[:, :, np.newaxis]) @ filters[:, 0]
    bank, sound = shape.filterbank, np.zeros([len(rows), shape.sources, samples])
    for number in range(frames.shape[1]):
        start = number * bank.stride
        sound[..., start : start + bank.size] += frames[:, number]
    return sound


class Module(NamedTuple):
    """Arguments of a module of nussl, and its weights by the names within it."""

    args: Mapping[str, Any]
    weights: Weights


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
    run = _gru if module.args.get("rnn_type") == "gru" else _lstm
    for layer in range(module.args["num_layers"]):
        parts = [run(module.weights, f"_l{layer}", rows)]
        if module.args["bidirectional"]:
            back = run(module.weights, f"_l{layer}_reverse", rows[:, ::-1])
            parts.append(back[:, ::-1])
        rows = np.concatenate(parts, axis=-1)
    return rows


def _lstm(weights: Weights, suffix: str, rows: np.ndarray) -> np.ndarray:
    """Run an LSTM: gates in, forget, cell, out; c = f c + i g, h = o tanh(c)."""
    into, back, bias1, bias2 = (
        weights[f"rnn.{name}{suffix}"]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = rows @ into.T + bias1 + bias2
    hidden = cell = np.zeros([len(rows), back.shape[1]])
    outputs = []
    for frame in range(rows.shape[1]):
        gates = np.split(inputs[:, frame] + hidden @ back.T, 4, axis=-1)
        enter, forget, leave = (_sigmoid(gates[number]) for number in (0, 1, 3))
        cell = forget * cell + enter * np.tanh(gates[2])
        hidden = leave * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs, axis=1)


def _gru(weights: Weights, suffix: str, rows: np.ndarray) -> np.ndarray:
    """Run a GRU: gates reset, update, new; h = (1 - z) n + z h."""
    into, back, bias1, bias2 = (
        weights[f"rnn.{name}{suffix}"]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    inputs = np.split(rows @ into.T + bias1, 3, axis=-1)
    hidden = np.zeros([len(rows), back.shape[1]])
    outputs = []
    for frame in range(rows.shape[1]):
        recurrent = np.split(hidden @ back.T + bias2, 3, axis=-1)
        reset, update = (_sigmoid(inputs[k][:, frame] + recurrent[k]) for k in (0, 1))
        new = np.tanh(inputs[2][:, frame] + reset * recurrent[2])
        hidden = (1.0 - update) * new + update * hidden
        outputs.append(hidden)
    return np.stack(outputs, axis=1)


def _embedding(module: Module, data: np.ndarray) -> np.ndarray:
    weights, activation = module.weights, module.args["activation"]
    rows = data.reshape(*data.shape[:2], -1)
    if "gated_tanh" in activation:
        value = np.tanh(_linear(weights, "embed_linear.0", rows))
        rows = value * _sigmoid(_linear(weights, "embed_gate.0", rows))
    rows = _linear(weights, "linear", rows)
    channels, size = module.args.get("num_audio_channels", 1), "embedding_size"
    numbers = rows.reshape(*rows.shape[:2], -1, channels, module.args[size])
    for name, function in ACTIVATIONS.items():
        if name in activation:
            numbers = function(numbers)
            break
    for name, order in (("unit_norm", 2), ("l1_norm", 1)):
        if name in activation:
            norm = np.linalg.norm(numbers, order, axis=-1, keepdims=True)
            return numbers / np.maximum(norm, 1e-12)
    return numbers


def _linear(weights: Weights, name: str, rows: np.ndarray) -> np.ndarray:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


class _ConvTasnet(NamedTuple):
    """The layers of a Conv-TasNet on [batch, frames, channels], in float64."""

    model: ConvTasnetFile
    tensors: Weights

    def product(self, name: str, rows: np.ndarray) -> np.ndarray:
        matrix = self.tensors[f"{name}.weight"][..., 0]
        return rows @ matrix.T + self.tensors[f"{name}.bias"]

    def rectify(self, name: str, rows: np.ndarray) -> np.ndarray:
        return np.where(rows > 0.0, rows, self.tensors[name] * rows)

    def normalise(self, name: str, rows: np.ndarray) -> np.ndarray:
        gain, offset = (self.tensors[f"{name}.{s}"] for s in self.model.names.scale)
        return _normalised(rows, self.model.network.config.norm) * gain + offset

    def block(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Run a block up to its last normalisation."""
        inner, shape = self.model.names.block.format(number), self.model.network.config
        hidden = self.rectify(f"{inner}.1.weight", self.product(f"{inner}.0", rows))
        hidden = self.normalise(f"{inner}.2", hidden)
        name = f"{inner}.3.0" if shape.causal else f"{inner}.3"
        dilation = 2 ** (number % shape.blocks)
        reach = (shape.kernel - 1) * dilation
        front = reach if shape.causal else reach // 2
        padded = np.pad(hidden, [(0, 0), (front, reach - front), (0, 0)])
        taps = self.tensors[f"{name}.weight"][:, 0].T
        hidden = self.tensors[f"{name}.bias"] + sum(
            tap * padded[:, index * dilation : index * dilation + hidden.shape[1]]
            for index, tap in enumerate(taps)
        )
        return self.normalise(f"{inner}.5", self.rectify(f"{inner}.4.weight", hidden))


def _normalised(rows: np.ndarray, norm: ChannelNorm) -> np.ndarray:
    if norm == "cgLN":
        count = rows.shape[2] * np.arange(1.0, rows.shape[1] + 1)[:, np.newaxis]
        mean = np.cumsum(rows.sum(2, keepdims=True), 1) / count
        squares = np.cumsum((rows**2).sum(2, keepdims=True), 1) / count
        variance = squares - mean**2
    else:
        axes = tuple(NORM_AXES[norm])
        mean, variance = (f(rows, axes, keepdims=True) for f in (np.mean, np.var))
    return (rows - mean) / np.sqrt(variance + EPSILON)


def _mask(_: Module, mask: np.ndarray, data: np.ndarray) -> np.ndarray:
    return mask * data[..., np.newaxis]


def _sigmoid(data: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(data / 2.0))


def _softmax(data: np.ndarray) -> np.ndarray:
    powers = np.exp(data - data.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda data: np.maximum(data, 0.0),
    "softmax": _softmax,
}
"""nussl applies the first of these that a head names, in this order."""

MASKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda mask: mask,
    "relu": ACTIVATIONS["relu"],
    "sigmoid": _sigmoid,
    "softmax": lambda mask: np.moveaxis(_softmax(np.moveaxis(mask, 2, -1)), -1, 2),
}
"""Activations of masks [batch, frames, sources, filters]; softmax is over sources."""

FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "AmplitudeToDB": _decibels,
    "BatchNorm": _batch_norm,
    "InstanceNorm": _instance_norm,
    "RecurrentStack": _recurrent,
    "Embedding": _embedding,
    "Mask": _mask,
}
"""Function of each class of modules."""
