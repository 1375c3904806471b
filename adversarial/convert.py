"""Convert checkpoints of the original program to run folders.

``python -m adversarial.convert SOURCE --check`` restores a checkpoint that the paper's
TensorFlow 1 program wrote in either phase, and compares the networks with a reference
in float64. A tensor without a variable, or the reverse, is an error.
``--output RUN`` also writes the run folder that :mod:`adversarial.separate` loads;
``--bundle`` writes the separator of a run as a bundled model, and ``--publish`` as a
model for others.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import tensorflow as tf
import tf_keras as keras

import adversarial
from adversarial import phases
from adversarial.config import AdversarialConfig, ModelConfig
from adversarial.critic import Critic, layers
from adversarial.model import UNet, solve
from common import config as configuration
from common.files import replacing_folder, user_path
from common.training.checkpoint import CheckpointError, save_network
from common.weights import bundled as bundles
from common.weights import convert_command, tf1
from common.weights.bundled import BUNDLED, Form
from common.weights.card import Card, Score
from common.weights.foreign_tensors import check_fit

TOLERANCE = 1e-4
"""Largest difference of the outputs, relative to the largest output."""

SEPARATOR = "separator"
CRITICS = "acc_disc", "voice_disc"
"""Scopes of the critics: accompaniment, vocals."""

TRAINING_TENSORS = re.compile(
    r"_solver/|^(beta[12]_power|global_step|(disc|sup_sep|unsup_sep)_lr)$"
)
"""Tensors of a checkpoint that only the training uses."""

OPTIONS = "num_frames", "num_fft", "num_hop", "expected_sr", "center_pad"
"""Settings that the shapes of tensors do not determine."""

Tensors = Mapping[str, np.ndarray]
"""Tensor by the original's name."""

Variables = dict[str, tf.Variable]
"""Variable of ours by the original's name."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """The content of a checkpoint of the original.

    Attributes:
        separator: The separator.
        critics: The critics by their scopes; none after the supervised phase.
        tensors: Tensor by the original's name.
    """

    separator: UNet
    critics: Mapping[str, Critic]
    tensors: Tensors


def load(path: str | Path, settings: ModelConfig | None = None) -> Restored:
    """Restore a checkpoint of the original.

    Args:
        path: Its prefix, or the folder of one.
        settings: Settings that shapes do not determine; layers and filters are derived.

    Raises:
        CheckpointError: There is no checkpoint, it is damaged or of another program, or
            a tensor is missing, extra, misshapen or not finite.
        ConfigError: A setting is out of range.
    """
    tensors = tf1.read(path, TRAINING_TENSORS)
    config = architecture(tensors, settings or ModelConfig(), str(path))
    separator = UNet(config)
    variables, critics = separator_variables(separator), {}
    for scope in _critic_scopes(tensors):
        critics[scope] = Critic(config, scope)
        variables |= critic_variables(critics[scope], scope)
    check_fit(str(path), variables, tensors, lambda n: _mismatch(n, tensors, variables))
    for name, variable in variables.items():
        variable.assign(tensors[name])
    return Restored(separator, critics, tensors)


def settings(**values: Any) -> ModelConfig:
    """Complete settings by the original's defaults, which are logged.

    Args:
        **values: Values by :data:`OPTIONS`; None for the default.
    """
    given = {name: value for name, value in values.items() if value is not None}
    config = ModelConfig(**given)
    assumed = [f"{n}={getattr(config, n)}" for n in OPTIONS if n not in given]
    if assumed:
        logger.warning(
            "%s: the original's defaults, because a checkpoint does not hold them; "
            "give those of its training where they differ",
            ", ".join(assumed),
        )
    return config


def architecture(tensors: Tensors, settings: ModelConfig, origin: str) -> ModelConfig:
    """Derive the shapes of the networks from their tensors.

    Args:
        tensors: Tensor by the original's name.
        settings: Settings that shapes do not determine.
        origin: Where they come from, for the error.

    Raises:
        CheckpointError: It is no separator of the original, or its critics have another
            number of frames.
    """
    first = _shape(tensors, f"{SEPARATOR}/conv2d/kernel")
    upsampling = f"{SEPARATOR}/conv2d_transpose"
    kernels = [name for name in tensors if name.endswith("/kernel")]
    num_layers = len([name for name in kernels if name.startswith(upsampling)])
    if len(first) != 4 or not num_layers:
        raise CheckpointError(
            f"{origin} holds no separator of the original; expected tensors such as "
            f"{SEPARATOR}/conv2d/kernel and {upsampling}/kernel, and it has "
            f"{', '.join(list(tensors)[:3]) or 'none'}"
        )
    config = replace(
        settings,
        num_layers=num_layers,
        initial_filters=first[-1],
        head="relu",
        leaky_slope=ModelConfig.leaky_slope,
    )
    for scope in _critic_scopes(tensors):
        config = _with_critic(tensors, scope, config)
    return config


def separator_variables(network: UNet) -> Variables:
    """Map the original's names to the variables of a separator.

    The original numbers convolutions in the order in which they are made.
    """
    convolutions = [*network.encoder, *network.decoder, *network.heads]
    return {
        **_variables(f"{SEPARATOR}/conv2d", convolutions),
        **_variables(f"{SEPARATOR}/conv2d_transpose", network.upsampling),
    }


def critic_variables(network: Critic, scope: str) -> Variables:
    """Map the original's names to the variables of a critic.

    Args:
        network: The critic.
        scope: One of :data:`CRITICS`.
    """
    return {
        **_variables(f"{scope}/conv2d", network.convolutions),
        **_variables(f"{scope}/dense", [network.hidden, network.score]),
    }


def check(restored: Restored) -> float:
    """Compare networks with their reference in float64.

    Args:
        restored: The networks.

    Returns:
        Largest difference of the outputs, relative to the largest output; the worst of
        all networks.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    geometry, random = solve(restored.separator.config), np.random.default_rng(0)
    mixture = _noise(random, geometry.input_bins, geometry.input_frames)
    reference = reference_separator(restored.tensors, mixture)
    differences = [_difference(restored.separator(tf.constant(mixture)), reference)]
    for scope, critic in restored.critics.items():
        images = _noise(random, geometry.critic_bins, geometry.critic_frames)
        reference = reference_critic(restored.tensors, scope, images)
        differences.append(_difference(critic(tf.constant(images)), reference))
    if not max(differences) <= TOLERANCE:
        raise CheckpointError(
            f"the networks differ from their reference by {max(differences):.3g}, "
            f"expected at most {TOLERANCE:g}: they were not restored"
        )
    return max(differences)


def export(restored: Restored, folder: str | Path) -> AdversarialConfig:
    """Write the run folder of a separator, all files or none.

    The critics are left out: only a training needs them, and a training of ours starts
    with new ones.

    Args:
        restored: The separator.
        folder: The folder to make.

    Raises:
        CheckpointError: The folder exists.
        OSError: It cannot be written.
    """
    folder = user_path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; name a folder that does not")
    config = AdversarialConfig(
        model_config=restored.separator.config,
        phases="semisup" if restored.critics else "sup",
    )
    with replacing_folder(folder) as work:
        configuration.save(config, work / phases.CONFIG)
        save_network(work, restored.separator)
    return config


def bundle(run: str | Path, folder: str | Path, form: Form = BUNDLED) -> Card:
    """Write the separator of a run, without critics, optimizers and paths.

    Args:
        run: Run folder, of which the semi-supervised phase is preferred, or that of a
            phase.
        folder: The folder to make, or of a bundled model to replace, whose cards stay.
        form: How it is written.

    Returns:
        The card of the model.

    Raises:
        ConfigError: The network is too large for the package.
        CheckpointError: The run has no checkpoint.
    """
    phase = phases.locate(run).path
    network, config = phases.restore(run), phases.read_config(phase)
    bundles.refuse_large(run, network.count_params(), form)
    corpora = replace(
        config.corpora, data_root=None, unpaired_root=None, records=None, function=None
    )
    bare = replace(config, output=None, initial=None, corpora=corpora)
    parts = {"": (network, bare)}
    scores = partial(card_scores, config)
    return bundles.write(phase, folder, parts, adversarial.load, form, scores)


def card_scores(config: AdversarialConfig, summary: Mapping[str, Any]) -> list[Score]:
    """Make the scores of a card of the ``summary.json`` of an evaluation.

    Args:
        config: Configuration of the run.
        summary: Of :mod:`adversarial.evaluate`.
    """
    rate, scores = round(2 * summary["bandwidth_hz"]), []
    for corpus, sources in summary["databases"].items():
        count = max(measures["SDR"]["count"] for measures in sources.values())
        where = f"{count} songs of the test split, {corpus}, medians at {rate} Hz"
        medians = {name: rows["SDR"]["median"] for name, rows in sources.items()}
        values = {n: round(sdr, 2) for n, sdr in medians.items() if sdr is not None}
        recorded = bundles.is_recorded(config.corpora.data_root)
        scores.append(Score("SDR", "dB", where, recorded, values))
    return scores


def reference_separator(tensors: Tensors, mixture: np.ndarray) -> np.ndarray:
    """Compute the original's separator in float64, without our network.

    Args:
        tensors: Tensor by the original's name.
        mixture: ln(1 + magnitude) [batch, bins, frames, 1] with its context.

    Returns:
        Float64 [batch, 2, bins, frames, 1]: accompaniment, vocals.
    """
    convolutions = list(_layers(tensors, f"{SEPARATOR}/conv2d"))
    upsampling = list(_layers(tensors, f"{SEPARATOR}/conv2d_transpose"))
    depth = len(upsampling)
    with tf.device("CPU"):
        image = inputs = tf.constant(mixture, tf.float64)
        skips = []
        for level, layer in enumerate(convolutions[: depth + 1]):
            image = tf.nn.max_pool2d(image, 2, 2, "VALID") if level else image
            image = tf.nn.relu(_convolve(image, layer))
            skips.append(image)
        for level, layer in enumerate(convolutions[depth + 1 : 2 * depth + 1]):
            image = tf.nn.relu(_upsample(image, upsampling[level]))
            image = _concat_centre(skips[depth - 1 - level], image)
            image = tf.nn.relu(_convolve(image, layer))
        image = _concat_centre(inputs, image)
        heads = [tf.nn.relu(_convolve(image, layer)) for layer in convolutions[-2:]]
    return np.stack([head.numpy() for head in heads], axis=1)


def reference_critic(tensors: Tensors, scope: str, images: np.ndarray) -> np.ndarray:
    """Compute a critic of the original in float64, without our network.

    Args:
        tensors: Tensor by the original's name.
        scope: Scope of the critic.
        images: ln(1 + magnitude) [batch, bins, frames, 1].

    Returns:
        Scores, float64 [batch].
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
        return (hidden @ _float64(tensors[f"{scope}/dense_1/kernel"])).numpy()[:, 0]


def main(argv: Sequence[str] | None = None) -> int:
    """Check or convert a checkpoint of the original program."""
    parser = convert_command.parser(
        "adversarial.convert",
        main.__doc__,
        "compare the networks with their reference in float64, as before writing a run "
        f"folder; print the largest difference, and refuse it above {TOLERANCE:g}",
    )
    add_options(parser)
    return convert_command.command(parser, _main, bundle, adversarial.load, argv)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add :data:`OPTIONS`, which a checkpoint of the original does not hold."""
    group = parser.add_argument_group("checkpoints of the original")
    for name in OPTIONS[:-1]:
        default = getattr(ModelConfig, name)
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, type=int, metavar="N", help=f"default: {default}")
    group.add_argument(
        "--center-pad",
        choices=get_args(get_type_hints(ModelConfig)["center_pad"]),
        help="padding at both ends of a sound; networks trained with librosa before "
        f"0.10 need reflect (default: {ModelConfig.center_pad})",
    )


def _main(options: argparse.Namespace) -> int:
    values = {name: getattr(options, name) for name in OPTIONS}
    restored = load(user_path(options.source), settings(**values))
    config = restored.separator.config
    weights = sum(tensor.size for tensor in restored.tensors.values())
    sys.stdout.write(
        f"{options.source}: {weights} weights in {len(restored.tensors)} tensors; "
        f"{config.num_layers} layers, {config.initial_filters} filters, "
        f"{len(restored.critics)} critics\n"
    )
    sys.stdout.write(f"largest difference {check(restored):.3g}\n")
    if options.dest:
        exported = export(restored, options.dest)
        sys.stdout.write(f"{options.dest}: run folder of the phase {exported.phases}\n")
    return 0


def _variables(name: str, layers: Sequence[keras.layers.Layer]) -> Variables:
    """Map the names of layers, numbered as TensorFlow 1 does, to their variables."""
    variables = {}
    for number, layer in enumerate(layers):
        scope = f"{name}_{number}" if number else name
        variables[f"{scope}/kernel"] = layer.kernel
        if layer.bias is not None:
            variables[f"{scope}/bias"] = layer.bias
    return variables


def _mismatch(name: str, tensors: Tensors, variables: Variables) -> list[str]:
    tensor, shape = tensors[name], tuple(variables[name].shape)
    if np.shape(tensor) != shape:
        return [f"misshapen {name}: {np.shape(tensor)}, expected {shape}"]
    return [] if np.isfinite(tensor).all() else [f"not finite: {name}"]


def _critic_scopes(tensors: Tensors) -> list[str]:
    """List the critics of which there is any tensor."""
    return [
        scope
        for scope in CRITICS
        if any(name.startswith(f"{scope}/") for name in tensors)
    ]


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    """Return the shape of a tensor, () if it is missing."""
    return tensors[name].shape if name in tensors else ()


def _with_critic(tensors: Tensors, scope: str, config: ModelConfig) -> ModelConfig:
    """Derive the filters of a critic, and check that its images have the size."""
    first = _shape(tensors, f"{scope}/conv2d/kernel")
    if len(first) != 4:
        return config
    config, geometry = replace(config, disc_filters=first[-1]), solve(config)
    dense = _shape(tensors, f"{scope}/dense/kernel")
    last = layers(geometry.critic_bins, geometry.critic_frames, first[-1])[-1]
    expected = last.bins * last.frames * last.filters
    if len(dense) == 2 and dense[0] != expected:
        raise CheckpointError(
            f"{scope}/dense/kernel has {dense[0]} rows, expected {expected} for "
            f"num_frames={config.num_frames}, num_fft={config.num_fft}; give those of "
            "the training with --num-frames and --num-fft"
        )
    return config


def _layers(tensors: Tensors, name: str) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yield kernel and bias of the layers of a name in the order of their numbers."""
    scope, number = name, 0
    while f"{scope}/bias" in tensors:
        yield _float64(tensors[f"{scope}/kernel"]), _float64(tensors[f"{scope}/bias"])
        number += 1
        scope = f"{name}_{number}"


def _float64(tensor: np.ndarray) -> tf.Tensor:
    return tf.constant(tensor, tf.float64)


def _convolve(image: tf.Tensor, layer: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    return tf.nn.conv2d(image, layer[0], 1, "VALID") + layer[1]


def _upsample(image: tf.Tensor, layer: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Replace every element by a 2 x 2 square, a transposed convolution of stride 2."""
    batch, bins, frames, _ = np.shape(image)
    squares = tf.einsum("bhwi,yxoi->bhywxo", image, layer[0])
    return tf.reshape(squares, [batch, 2 * bins, 2 * frames, -1]) + layer[1]


def _concat_centre(skip: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Concatenate the centre of a larger image and a smaller one."""
    outer, inner = np.shape(skip), np.shape(image)
    low, left = ((outer[axis] - inner[axis]) // 2 for axis in (1, 2))
    centre = skip[:, low : low + inner[1], left : left + inner[2]]
    return tf.concat([centre, image], -1)


def _noise(random: np.random.Generator, bins: int, frames: int) -> np.ndarray:
    """Draw ln(1 + magnitude) [2, bins, frames, 1] of all levels."""
    levels = 10.0 ** random.uniform(-3.0, 2.0, [2, bins, frames, 1])
    return np.log1p(levels).astype(np.float32)


def _difference(output: tf.Tensor, reference: np.ndarray) -> float:
    largest = float(np.abs(reference).max()) or 1.0
    return float(np.abs(output.numpy() - reference).max()) / largest


if __name__ == "__main__":
    sys.exit(main())
