"""Convert models of others: ``python -m clustering.convert SOURCE DEST``.

The command restores a file of nussl's ``SeparationModel.save``, or a Conv-TasNet of
asteroid or torchaudio, and compares our network with that of the file, computed module
by module in float64 with numpy. Then it writes the run folder DEST, which
:mod:`clustering.separate` loads. ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from clustering import conv_tasnet_file, load, published, weights
from clustering.config import ClusteringConfig
from clustering.conv_tasnet_file import ConvTasnetFile
from clustering.models.layers import EPSILON, NORM_AXES
from clustering.models.network import network
from clustering.nussl import model_file
from clustering.nussl.model_file import NusslModel
from common.config import load as load_config
from common.config import save
from common.files import replacing_folder
from common.training.checkpoint import (
    CONFIG,
    CheckpointError,
    restore_network,
    save_network,
)
from common.weights import bundled, convert_command
from common.weights.bundled import BUNDLED, Form
from common.weights.card import Card, Score
from common.weights.locate import locate_model

TOLERANCE = 1e-4
"""Largest accepted difference, relative to the largest number."""

Weights = Mapping[str, np.ndarray]
Model = NusslModel | ConvTasnetFile


def check(model: Model, frames: int = 40) -> float:
    """Compare a network with that of its file, computed in float64.

    Args:
        model: The restored model.
        frames: Length of the noise for the comparison.

    Returns:
        Largest difference relative to the largest output, over all outputs in training
        and in inference.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    if isinstance(model, ConvTasnetFile):
        pairs = _waveforms(model, frames)
    else:
        pairs = _spectra(model, frames)
    differences = [_difference(*pair) for pair in pairs]
    if not max(differences) <= TOLERANCE:
        raise CheckpointError(
            f"the network differs from that of its file, computed in float64, by "
            f"{max(differences):.3g}, expected at most {TOLERANCE:g}: it was not "
            "restored"
        )
    return max(differences)


def reference(model: NusslModel, magnitude: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the graph of a file in float64, module by module as nussl does.

    Args:
        model: The restored model; only graph and tensors are used.
        magnitude: Magnitudes [batch, frames, bins].

    Returns:
        ``embedding`` [batch, points, dim] and ``mask`` [batch, sources, frames, bins],
        if the graph has them.
    """
    modules, connections = model_file.parts(model.graph)
    # Axes are those of nussl: [batch, frames, bins, channels], sources or dimensions
    # last.
    channels = model.network.config.features.channels
    parts = magnitude.reshape(*magnitude.shape[:2], -1, channels)
    values = {model_file.INPUT: parts.astype(np.float64)}
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


def waveform_reference(model: ConvTasnetFile, waveform: np.ndarray) -> np.ndarray:
    """Compute a Conv-TasNet in float64 from the tensors of its file.

    Args:
        model: The restored model, of which shape and tensors are read.
        waveform: Mixture [batch, samples].

    Returns:
        Estimates [batch, sources, samples].
    """
    shape, names = model.network.config, model.names
    bank, padding, samples = shape.filterbank, shape.padding, waveform.shape[-1]
    double = {
        name: np.asarray(each, np.float64) for name, each in model.tensors.items()
    }
    padded = np.pad(waveform.astype(np.float64), [(0, 0), (padding, padding)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, bank.size, -1)
    encoded = windows[:, :: bank.stride] @ double[names.encoder][:, 0].T
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
    mask = net.product(names.mask, rows).reshape(*rows.shape[:2], shape.sources, -1)
    mask = MASKS[shape.mask_activation](mask)
    frames = (mask * encoded[:, :, np.newaxis]) @ double[names.decoder][:, 0]
    sound = np.zeros([len(waveform), shape.sources, samples + 2 * padding])
    for number in range(frames.shape[1]):
        start = number * bank.stride
        sound[..., start : start + bank.size] += frames[:, number]
    return sound[..., padding : padding + samples]


def export(
    model: Model, folder: str | Path, sample_rate: int | None = None
) -> ClusteringConfig:
    """Write the run folder of a model, all files or none.

    Args:
        model: The restored model.
        folder: The folder to make.
        sample_rate: Rate in Hz, if the file does not state it.

    Raises:
        CheckpointError: The folder exists, or see :func:`weights.configuration`.
        OSError: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; name a folder that does not")
    config = weights.configuration(model, sample_rate)
    # Later the network of the configuration is loaded, so its names are saved.
    net = network(config)
    if isinstance(model, ConvTasnetFile):
        conv_tasnet_file.assign(net, model.names, model.tensors, str(folder))
    else:
        model_file.assign(net, model.tensors, str(folder))
    with replacing_folder(folder) as work:
        save(config, work / CONFIG)
        save_network(work, net)
    return config


def bundle(run: str | Path, folder: str | Path, form: Form = BUNDLED) -> Card:
    """Write the network of a run, without optimizer and paths.

    Args:
        run: Run folder.
        folder: The folder to make, or of a bundled model to replace, whose cards stay.
        form: How it is written.

    Returns:
        The card of the model.

    Raises:
        ConfigError: The network is too large for the package.
        CheckpointError: The run has no checkpoint.
    """
    config = load_config(ClusteringConfig, Path(run) / CONFIG)
    net = network(config)
    restore_network(run, net)
    bundled.refuse_large(run, net.count_params(), form)
    bare = replace(config, data_root=None, records=None, initial=None, output=None)
    scores = partial(card_scores, config)
    return bundled.write(run, folder, {"": (net, bare)}, load, form, scores)


def card_scores(config: ClusteringConfig, summary: Mapping[str, Any]) -> list[Score]:
    """Make the score of a card of the ``summary.json`` of an evaluation.

    Args:
        config: Configuration of the run.
        summary: Of :mod:`clustering.evaluate`.
    """
    means = summary["all"]
    where = f"{means['count']} sources of the test split of {config.dataset}"
    has_score = "si_sdr_improvement" in means
    values = {"mean": round(means["si_sdr_improvement"], 2)} if has_score else {}
    return [
        Score("SI-SDRi", "dB", where, bundled.is_recorded(config.data_root), values)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Check or convert a model of others; return the exit code."""
    parser = convert_command.parser(
        "clustering.convert",
        main.__doc__,
        "compare the network with that of the file in float64, as before writing a "
        f"run folder; refuse a largest difference above {TOLERANCE:g}",
    )
    parser.add_argument(
        "--sample-rate", type=int, metavar="HZ", help="if the file does not state it"
    )
    return convert_command.command(parser, _main, bundle, load, argv)


def _main(options: argparse.Namespace) -> int:
    location = locate_model(options.source, weights.MODELS)
    model = weights.read(location)
    count = sum(v.shape.num_elements() for v in model.network.trainable_variables)
    sys.stdout.write(f"{options.source}: {model.kind}, {count} weights\n")
    sys.stdout.write(f"largest difference {check(model):.3g}\n")
    if options.dest:
        rate = options.sample_rate
        if location.published:
            rate = published.MODELS[location.name].sample_rate
        config = export(model, options.dest, rate)
        sys.stdout.write(f"{options.dest}: {_description(config)}\n")
    return 0


def _description(config: ClusteringConfig) -> str:
    size, hop = config.window_samples, config.hop_samples
    if config.kind == "conv_tasnet":
        bank = config.conv_tasnet.filterbank
        size, hop = bank.size, bank.stride
    return f"{config.kind}, {config.sample_rate} Hz, frames of {size} every {hop}"


def _spectra(model: NusslModel, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs of a network on magnitudes, and what the file makes of them."""
    magnitude = _noise(frames, model.network.config.features.bins)
    expected = reference(model, magnitude)
    return [
        (output, expected[name])
        for run in (model.network, model.network.infer)
        for name, output in _named(model, run(tf.constant(magnitude)))
    ]


def _waveforms(
    model: ConvTasnetFile, frames: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs of a network on waveforms, and what the file makes of them."""
    bank = model.network.config.filterbank
    samples = bank.size + (frames - 1) * bank.stride + 1
    waveform = np.random.default_rng(0).standard_normal([2, samples]) / 4
    waveform = waveform.astype(np.float32)
    output = model.network(tf.constant(waveform)).numpy()
    return [(output, waveform_reference(model, waveform))]


def _noise(frames: int, bins: int) -> np.ndarray:
    """Draw magnitudes [2, frames, bins] of all levels."""
    random, shape = np.random.default_rng(0), (2, frames, bins)
    levels = 10.0 ** random.uniform(-5.0, 0.0, shape)
    return (levels * np.abs(random.standard_normal(shape))).astype(np.float32)


def _named(model: NusslModel, outputs: Any) -> list[tuple[str, np.ndarray]]:
    each = outputs if isinstance(outputs, tuple) else (outputs,)
    return [(n, o.numpy()) for n, o in zip(model.heads, each, strict=True)]


def _difference(output: np.ndarray, expected: np.ndarray) -> float:
    largest = float(np.abs(expected).max()) or 1.0
    return float(np.abs(output - expected).max()) / largest


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
        own = np.split(hidden @ back.T + bias2, 3, axis=-1)
        reset, update = (_sigmoid(inputs[k][:, frame] + own[k]) for k in (0, 1))
        new = np.tanh(inputs[2][:, frame] + reset * own[2])
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
        norm = self.model.network.config.norm
        if norm == "cgLN":
            count = rows.shape[2] * np.arange(1.0, rows.shape[1] + 1)[:, np.newaxis]
            mean = np.cumsum(rows.sum(2, keepdims=True), 1) / count
            squares = np.cumsum((rows**2).sum(2, keepdims=True), 1) / count
            variance = squares - mean**2
        else:
            axes = tuple(NORM_AXES[norm])
            mean, variance = (f(rows, axes, keepdims=True) for f in (np.mean, np.var))
        return (rows - mean) / np.sqrt(variance + EPSILON) * gain + offset

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


if __name__ == "__main__":
    sys.exit(main())
