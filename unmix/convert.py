"""Convert weights of the original to our networks and back.

``python -m unmix.convert SOURCE DEST --check`` restores every target of a folder as the
original writes it (``vocals.pth``, ``vocals.json``, ``separator.json``, the last two if
they exist), of a run folder, or of a pretrained model, and compares the networks with
a reference in numpy and float64. No tensor may be missing or extra. DEST is written in
the format of the original, or with ``--bundle`` as a bundled model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common import download
from common.config import load as load_config
from common.files import replacing_folder, write_json
from common.layers.batch_norm import EPSILON
from common.layers.precision import set_precision
from common.separation.command import Names, add_checkpoint
from common.training.checkpoint import CheckpointError
from common.weights import bundled, convert_command, torch_file
from common.weights.bundled import BUNDLED, Form
from common.weights.card import Card, Score
from unmix import load, weights
from unmix.config import UnmixConfig
from unmix.model import OpenUnmix, estimates, folded
from unmix.openunmix import original_folder, xumx_file

TOLERANCE = 1e-4
"""Largest difference of any two magnitudes, relative to the largest magnitude."""

NOISE_FRAMES = 64
"""Length of the noise for the comparison of networks."""

Tensors = Mapping[str, np.ndarray]
"""Tensor by the original's name."""


def export(models: Mapping[str, OpenUnmix], folder: str | Path) -> None:
    """Write networks in the format of the original, all files or none.

    Args:
        models: Network by target.
        folder: The folder to make.

    Raises:
        CheckpointError: The folder exists, or the networks have different transforms,
            or are bridged, for which the original has no form.
        OSError: It cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; name a folder that does not")
    separators = [original_folder.separator(model.config) for model in models.values()]
    if not separators or any(separator != separators[0] for separator in separators):
        raise CheckpointError(
            f"the networks of {', '.join(models) or 'no target'} have several rates or "
            "transforms; expected one, so export them one by one"
        )
    if any(model.config.bridged for model in models.values()):
        raise CheckpointError(
            "the networks are bridged (X-UMX), which Open-Unmix has no files for; "
            "expected networks that stand alone"
        )
    with replacing_folder(folder) as work:
        for target, model in models.items():
            torch_file.write(work / f"{target}.pth", original_folder.collect(model))
            write_json(
                original_folder.results(target, model.config), work / f"{target}.json"
            )
        write_json(separators[0], work / original_folder.SEPARATOR)


def bundle(run: str | Path, folder: str | Path, form: Form = BUNDLED) -> Card:
    """Write the networks of a run, without optimizer and paths.

    Args:
        run: Run folder of one target, or of several.
        folder: The folder to make, or of a bundled model to replace, whose cards stay.
        form: How it is written.

    Returns:
        The card of the model.

    Raises:
        ConfigError: The networks are too large to come with the package.
        CheckpointError: A target has no checkpoint.
    """
    runs = weights.runs(Path(run))
    if not runs:
        raise CheckpointError(f"{run} holds no {bundled.CONFIG}; expected a run folder")
    configs = {
        target: load_config(UnmixConfig, path / bundled.CONFIG)
        for target, path in runs.items()
    }
    counts = [OpenUnmix(config.model).count_params() for config in configs.values()]
    bundled.refuse_large(run, sum(counts), form)
    bare = {
        target: replace(
            config,
            target=(target,),
            data_root=None,
            initial=None,
            records=None,
            output=None,
        )
        for target, config in configs.items()
    }
    first = next(iter(bare.values()))
    networks = weights.load(run, tuple(runs))
    parts = {target: (networks[target], bare[target]) for target in runs}
    whole = {"": (None, replace(first, target=tuple(runs)))}
    return bundled.write(run, folder, {**whole, **parts}, load, form, card_scores)


def card_scores(summary: Mapping[str, Any]) -> list[Score]:
    """Make the score of a card of the ``summary.json`` of an evaluation.

    Args:
        summary: Of :mod:`unmix.evaluate`.
    """
    where = f"{summary['tracks']} songs of the split {summary['subset']}, medians"
    medians = {name: cells["SDR"] for name, cells in summary["targets"].items()}
    values = {n: round(sdr, 2) for n, sdr in medians.items() if sdr is not None}
    return [Score("SDR", "dB", where, not summary["synthetic"], values)]


def check(models: Mapping[str, OpenUnmix], tensors: Mapping[str, Tensors]) -> float:
    """Compare networks with their reference in numpy and float64.

    Args:
        models: Networks of one shape by target; bridged ones need all others.
        tensors: Their tensors by the original's names, by target.

    Returns:
        Largest difference of the magnitudes, relative to the largest magnitude, of the
        networks for training and, unless they are bridged, of those for separation.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    networks = [*models.values()]
    magnitude, bridged = _noise(networks[0]), networks[0].config.bridged
    double = [tensors[target] for target in models]
    expected = reference_estimates(double, magnitude, bridged)
    batch = tf.constant(magnitude[np.newaxis])
    outputs = [np.stack([made[0].numpy() for made in estimates(networks, batch)])]
    if not bridged:
        outputs.append(np.stack([folded_estimate(n, magnitude) for n in networks]))
    return _compared(outputs, expected)


def _compared(outputs: Sequence[np.ndarray], expected: np.ndarray) -> float:
    largest = float(np.abs(expected).max()) or 1.0
    difference = max(float(np.abs(output - expected).max()) for output in outputs)
    if not difference / largest <= TOLERANCE:
        raise CheckpointError(
            f"the network differs from its tensors, computed by numpy in float64, by "
            f"{difference / largest:.3g}, expected at most {TOLERANCE:g}: it was not "
            "restored"
        )
    return difference / largest


def folded_estimate(model: OpenUnmix, magnitude: np.ndarray) -> np.ndarray:
    """Estimate with the folded products and the recurrent stack for inference.

    Args:
        model: The network.
        magnitude: Magnitude of the mixture [channels, frames, bins].

    Returns:
        Magnitude of the target, of the same shape.
    """
    products = folded(model)
    channels, frames, bins = magnitude.shape
    rows = magnitude[..., : model.input_bins].transpose(1, 0, 2).reshape(frames, -1)
    encoded = np.tanh(rows @ products.encode.kernel + products.encode.bias)
    recurrent = model.lstm.infer(tf.constant(encoded[np.newaxis]))[0].numpy()
    rows = np.concatenate([encoded, recurrent], axis=1)
    rows = np.maximum(rows @ products.hidden.kernel + products.hidden.bias, 0.0)
    mask = np.maximum(rows @ products.decode.kernel + products.decode.bias, 0.0)
    return mask.reshape(frames, channels, bins).transpose(1, 0, 2) * magnitude


def reference_estimates(
    tensors: Sequence[Tensors], magnitude: np.ndarray, bridged: bool
) -> np.ndarray:
    """Estimate by numpy in float64 from the original's tensors, as a slow reference.

    Args:
        tensors: Weights of each target with the names and shapes of the original.
        magnitude: Magnitude of the mixture [channels, frames, bins].
        bridged: Whether the networks share two means, as those of X-UMX.

    Returns:
        Magnitudes [targets, channels, frames, bins].
    """
    double = [_double(network) for network in tensors]
    encoded = [_encoded(network, magnitude) for network in double]
    inputs = [np.mean(encoded, axis=0)] * len(encoded) if bridged else encoded
    rows = [
        np.concatenate([own, _recurrent(network, its_input)], axis=1)
        for own, network, its_input in zip(encoded, double, inputs, strict=True)
    ]
    rows = [np.mean(rows, axis=0)] * len(rows) if bridged else rows
    pairs = zip(double, rows, strict=True)
    return np.stack([_masked(network, row, magnitude) for network, row in pairs])


def _double(tensors: Tensors) -> Tensors:
    return {name: np.asarray(value, np.float64) for name, value in tensors.items()}


def _encoded(double: Tensors, magnitude: np.ndarray) -> np.ndarray:
    inputs = magnitude[..., : len(double["input_mean"])].astype(np.float64)
    rows = (inputs + double["input_mean"]) * double["input_scale"]
    rows = rows.transpose(1, 0, 2).reshape(magnitude.shape[1], -1)
    return np.tanh(_normalise(double, "bn1", rows @ double["fc1.weight"].T))


def _masked(double: Tensors, rows: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    channels, frames, bins = magnitude.shape
    rows = np.maximum(_normalise(double, "bn2", rows @ double["fc2.weight"].T), 0.0)
    rows = _normalise(double, "bn3", rows @ double["fc3.weight"].T)
    mask = rows.reshape(frames, channels, bins).transpose(1, 0, 2)
    mask = mask * double["output_scale"] + double["output_mean"]
    return np.maximum(mask, 0.0) * magnitude


def _normalise(tensors: Tensors, name: str, rows: np.ndarray) -> np.ndarray:
    mean, variance, gain, offset = (
        tensors[f"{name}.{part}"]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (rows - mean) / np.sqrt(variance + EPSILON) * gain + offset


def _recurrent(tensors: Tensors, rows: np.ndarray) -> np.ndarray:
    layer = 0
    while f"lstm.weight_hh_l{layer}" in tensors:
        outputs = [_lstm(tensors, f"_l{layer}", rows)]
        if f"lstm.weight_hh_l{layer}_reverse" in tensors:
            backward = _lstm(tensors, f"_l{layer}_reverse", rows[::-1])
            outputs.append(backward[::-1])
        rows, layer = np.concatenate(outputs, axis=1), layer + 1
    return rows


def _lstm(tensors: Tensors, suffix: str, rows: np.ndarray) -> np.ndarray:
    """One direction of one layer [frames, width]."""
    bias = tensors[f"lstm.bias_ih{suffix}"] + tensors[f"lstm.bias_hh{suffix}"]
    recurrent = tensors[f"lstm.weight_hh{suffix}"]
    output = cell = np.zeros(recurrent.shape[1])
    outputs = np.empty([len(rows), len(cell)])
    for frame, inputs in enumerate(rows @ tensors[f"lstm.weight_ih{suffix}"].T + bias):
        enter, forget, new, leave = np.split(inputs + recurrent @ output, 4)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(new)
        outputs[frame] = output = _sigmoid(leave) * np.tanh(cell)
    return outputs


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * value)


def _noise(model: OpenUnmix) -> np.ndarray:
    """Draw magnitudes with the mean and deviation of the network's statistics."""
    mean, scale = -model.input_mean.numpy(), np.abs(model.input_scale.numpy())
    deviation = 1.0 / np.maximum(scale, 1e-6)
    shape = [model.config.channels, NOISE_FRAMES, model.bins]
    noise = np.abs(np.random.default_rng(0).standard_normal(shape))
    inputs = noise[..., : len(mean)] * deviation + np.maximum(mean, 0.0)
    noise[..., : len(mean)] = inputs
    return noise.astype(np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    """Check networks of Open-Unmix, or write them in the format of the original."""
    parser = convert_command.parser(
        "unmix.convert",
        main.__doc__,
        "compare each network with a reference in numpy and float64, print the "
        f"largest difference, refuse it above {TOLERANCE:g}",
    )
    parser.set_defaults(named_input=[])
    parser.add_argument(
        "--export", dest="output", metavar="DEST", help="the same as DEST"
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="networks to convert (default: all)",
    )
    add_checkpoint(parser)
    return convert_command.command(parser, _main, bundle, load, argv)


def _main(options: argparse.Namespace) -> int:
    if options.named_input:
        raise CheckpointError(
            f"{options.named_input[0]} follows --targets; name SOURCE and DEST before"
        )
    models = weights.load(options.source, options.targets, options.checkpoint)
    bridged = any(model.config.bridged for model in models.values())
    for target, model in models.items():
        sys.stdout.write(f"{target}: {_description(model)}\n")
        if options.check and not bridged:
            _print_check(options.source, {target: model})
    if options.check and bridged:
        _print_check(options.source, models)
    if options.dest:
        export(models, options.dest)
        _print_export(options.dest, models)
    return 0


def _print_check(source: str, models: Mapping[str, OpenUnmix]) -> None:
    """Check networks together, and print the largest difference."""
    tensors = {}
    for target, model in models.items():
        # In float32, so that only tensors matter, not the rounding of half precision.
        set_precision(model, "float32")
        tensors[target] = _source_tensors(source, target, model)
    bridged = ", bridged" if next(iter(models.values())).config.bridged else ""
    sys.stdout.write(
        f"{', '.join(models)}{bridged}: largest difference "
        f"{check(models, tensors):.3g}\n"
    )


def _print_export(folder: str, models: Mapping[str, OpenUnmix]) -> None:
    sys.stdout.write(f"{folder}: {', '.join(models)}\n")
    odd = [
        target
        for target, model in models.items()
        if not original_folder.is_loadable(model.config)
    ]
    if odd:
        sys.stdout.write(
            f"{', '.join(odd)}: the original's loader knows networks of three "
            "layers and two directions only; this one needs a call of its own\n"
        )


def _source_tensors(source: str, target: str, model: OpenUnmix) -> Tensors:
    """Read the original tensors of a network again."""
    located = weights.locate(source, [target])
    if located.trained_here:
        return original_folder.collect(model)
    path = located.paths[target]
    download.verify(path, download.expected_digest(path) or "")
    if located.joint:
        return xumx_file.tensors(path)[target]
    return original_folder.read(path)


def _description(model: OpenUnmix) -> str:
    network = model.config
    trained = sum(v.shape.num_elements() for v in model.trainable_variables)
    return (
        f"{network.sample_rate} Hz, {network.channels} channels, frames of "
        f"{network.window_samples} every {network.hop_samples}, "
        f"{network.hidden_size} wide, {network.layers} layers of "
        f"{1 + network.bidirectional} directions, {trained} weights"
    )


if __name__ == "__main__":
    sys.exit(main())
