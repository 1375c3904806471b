"""Checkpoints of the original program for our networks.

``python -m adversarial.convert SOURCE --check`` restores what the TF1 program of the
paper wrote in either phase, and compares the networks with the same graph computed
plainly in float64. Every tensor must find its place. ``--output RUN`` does the same and
then writes the run folder that :mod:`adversarial.separate` loads.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import tensorflow as tf

from adversarial import original_graph, tensors
from adversarial.config import AdversarialConfig, ModelConfig
from adversarial.critic import Critic, layers
from adversarial.geometry import solve
from adversarial.model import Separator
from common import config as configuration
from common.errors import exit_code
from common.files import replacing_folder, user_path
from common.training.checkpoint import CheckpointError, save_network
from common.weights import tf1

TOLERANCE = 1e-4
"""Largest difference of any two numbers, by the largest number."""

PHASES = "sup", "semisup"
"""The phases by whether the checkpoint has critics."""

OPTIONS = "num_frames", "num_fft", "num_hop", "expected_sr", "center_pad"
"""What shapes do not tell."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What a checkpoint of the original holds.

    Attributes:
        separator: The separator.
        critics: The critics by their scopes; none after the supervised phase.
        tensors: Tensor by the original's name.
    """

    separator: Separator
    critics: Mapping[str, Critic]
    tensors: Mapping[str, np.ndarray]


def load(path: str | Path, settings: ModelConfig | None = None) -> Restored:
    """Restore a checkpoint of the original.

    Args:
        path: Its prefix, or the folder of one.
        settings: What shapes do not tell; layers and filters are taken from them.

    Raises:
        CheckpointError: There is no checkpoint, it is damaged or of something else, or
            a tensor is missing, extra, misshapen or not finite.
        ConfigError: The settings are those of no separator.
    """
    found = tf1.read(path, tensors.TRAINING)
    config = architecture(found, settings or ModelConfig(), str(path))
    separator = Separator(config)
    table, critics = tensors.separator(separator), {}
    for scope in _critics(found):
        critics[scope] = Critic(config, scope)
        table |= tensors.critic(critics[scope], scope)
    tensors.assign(table, found, str(path))
    return Restored(separator, critics, found)


def settings(**given: Any) -> ModelConfig:
    """Complete what shapes do not tell by the original's defaults, and say which.

    Args:
        **given: Values by :data:`OPTIONS`; None where one is not given.
    """
    known = {name: value for name, value in given.items() if value is not None}
    config = ModelConfig(**known)
    assumed = [f"{n}={getattr(config, n)}" for n in OPTIONS if n not in known]
    if assumed:
        logger.warning(
            "%s: the original's defaults, because a checkpoint does not tell them; "
            "give those of its training where they differ",
            ", ".join(assumed),
        )
    return config


def architecture(
    found: Mapping[str, np.ndarray], settings: ModelConfig, source: str
) -> ModelConfig:
    """Derive the shapes of the networks.

    Args:
        found: Tensor by the original's name.
        settings: What shapes do not tell.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: It is no separator of the original, or its critics are for
            another number of frames.
    """
    scope = tensors.SEPARATOR
    first = _shape(found, f"{scope}/conv2d/kernel")
    ups = [name for name in found if name.startswith(f"{scope}/conv2d_transpose")]
    depth = len([name for name in ups if name.endswith("/kernel")])
    if len(first) != 4 or not depth:
        raise CheckpointError(
            f"{source} holds no separator of the original; expected tensors such as "
            f"{scope}/conv2d/kernel and {scope}/conv2d_transpose/kernel, found "
            f"{', '.join(list(found)[:3]) or 'none'}"
        )
    config = replace(
        settings,
        num_layers=depth,
        initial_filters=first[-1],
        head="relu",
        leaky_slope=ModelConfig.leaky_slope,
    )
    for scope in _critics(found):
        config = _with_critic(found, scope, config)
    return config


def check(restored: Restored) -> float:
    """Compare networks with their graph computed plainly in float64.

    Args:
        restored: The networks.

    Returns:
        Largest difference of the outputs, by the largest; of all networks the worst.

    Raises:
        CheckpointError: It is above 1e-4.
    """
    geometry, random = solve(restored.separator.config), np.random.default_rng(0)
    mixture = _noise(random, geometry.input_bins, geometry.input_frames)
    plain = original_graph.separator(restored.tensors, mixture)
    differences = [_difference(restored.separator(tf.constant(mixture)), plain)]
    for scope, critic in restored.critics.items():
        images = _noise(random, geometry.critic_bins, geometry.critic_frames)
        scores = original_graph.critic(restored.tensors, scope, images)
        differences.append(_difference(critic(tf.constant(images)), scores))
    if not max(differences) <= TOLERANCE:
        raise CheckpointError(
            f"the networks differ from their graph, computed plainly, by "
            f"{max(differences):.3g}, expected at most {TOLERANCE:g}: they were not "
            "restored"
        )
    return max(differences)


def export(restored: Restored, folder: str | Path) -> AdversarialConfig:
    """Write the run folder of a separator, all files or none.

    The critics are left out: nothing but a training needs them, and one here begins
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
    phase = PHASES[bool(restored.critics)]
    settings = AdversarialConfig(
        model_config=restored.separator.config,
        phases=phase,  # type: ignore[arg-type]
    )
    with replacing_folder(folder) as work:
        configuration.save(settings, work / "config.json")
        save_network(work, restored.separator)
    return settings


def main(argv: Sequence[str] | None = None) -> int:
    """Check or convert a checkpoint of the original; returns the exit code."""
    parser = argparse.ArgumentParser("adversarial.convert", description=main.__doc__)
    parser.add_argument("source", help="checkpoint prefix or folder of the TF1 program")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--check",
        action="store_true",
        help="compare the networks with their graph computed plainly in float64, print "
        f"the largest difference, refuse it above {TOLERANCE:g}",
    )
    what.add_argument("--output", metavar="RUN", help="do so, and write a run folder")
    add_options(parser)
    options = parser.parse_args(argv)
    return exit_code("adversarial.convert", lambda: _main(options))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add :data:`OPTIONS`, what a checkpoint of the original does not tell."""
    group = parser.add_argument_group("checkpoints of the original")
    for name in OPTIONS[:-1]:
        default = getattr(ModelConfig, name)
        word = f"--{name.replace('_', '-')}"
        group.add_argument(word, type=int, metavar="N", help=f"default {default}")
    group.add_argument(
        "--center-pad",
        choices=get_args(get_type_hints(ModelConfig)["center_pad"]),
        help=f"beyond both ends of a sound, default {ModelConfig.center_pad}: reflect "
        "for what was made with librosa before 0.10",
    )


def _main(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in OPTIONS}
    restored = load(user_path(options.source), settings(**given))
    config = restored.separator.config
    weights = sum(each.size for each in restored.tensors.values())
    sys.stdout.write(
        f"{options.source}: {weights} weights in {len(restored.tensors)} tensors; "
        f"{config.num_layers} layers, {config.initial_filters} filters, "
        f"{len(restored.critics)} critics\n"
    )
    sys.stdout.write(f"largest difference {check(restored):.3g}\n")
    if options.output:
        made = export(restored, options.output)
        sys.stdout.write(f"{options.output}: run folder of the phase {made.phases}\n")
    return 0


def _critics(found: Mapping[str, np.ndarray]) -> list[str]:
    """Tell which critics there are anything of."""
    return [
        scope
        for scope in tensors.CRITICS
        if any(name.startswith(f"{scope}/") for name in found)
    ]


def _shape(found: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
    """Tell the shape of a tensor; of one that is missing, that of a number."""
    return found[name].shape if name in found else ()


def _with_critic(
    found: Mapping[str, np.ndarray], scope: str, config: ModelConfig
) -> ModelConfig:
    """Take the filters of a critic, and make sure that its images have the size."""
    first = _shape(found, f"{scope}/conv2d/kernel")
    if len(first) != 4:
        return config
    config, geometry = replace(config, disc_filters=first[-1]), solve(config)
    dense = _shape(found, f"{scope}/dense/kernel")
    last = layers(geometry.critic_bins, geometry.critic_frames, first[-1])[-1]
    expected = last.bins * last.frames * last.filters
    if len(dense) == 2 and dense[0] != expected:
        raise CheckpointError(
            f"{scope}/dense/kernel has {dense[0]} rows, expected {expected} for "
            f"num_frames={config.num_frames}, num_fft={config.num_fft}; give those of "
            "the training with --num-frames and --num-fft"
        )
    return config


def _noise(random: np.random.Generator, bins: int, frames: int) -> np.ndarray:
    """Draw ln(1 + magnitude) [2, bins, frames, 1] of all levels."""
    levels = 10.0 ** random.uniform(-3.0, 2.0, [2, bins, frames, 1])
    return np.log1p(levels).astype(np.float32)


def _difference(output: tf.Tensor, wanted: np.ndarray) -> float:
    largest = float(np.abs(wanted).max()) or 1.0
    return float(np.abs(output.numpy() - wanted).max()) / largest


if __name__ == "__main__":
    sys.exit(main())
