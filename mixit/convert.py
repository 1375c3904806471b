"""Weights of Google's TF1 program for the native network.

``python -m mixit.convert SOURCE DEST`` reads a TF1 checkpoint (Apache-2.0 weights of
google-research/sound-separation keep their licence) and writes a run folder that
``mixit.load`` and the other commands take. Every tensor must find its place: a missing,
extra or misshapen one is an error that lists all of them by name.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common import run_folder
from common.checkpoint import CheckpointError, save_network
from common.errors import exit_code
from mixit.config import FUSS, Network
from mixit.model import Tdcn

SLOTS = re.compile(r"/Adam(_1)?$|^beta[12]_power$|^global_step$")


def names(network: Tdcn) -> dict[str, tf.Variable]:
    """Map the names that Google's program gives to the variables of our network.

    Keras numbers its dense layers within a graph, so the encoder and decoder may carry
    any number there; names are compared after :func:`canonical`.
    """
    table = {
        "conv_encoder/dense/kernel": network.basis.encoder.kernel,
        "initial_dense/dense/kernel": network.initial.kernel,
        "initial_dense/dense/bias": network.initial.bias,
        "initial_dense/dense_scale/scale_layer": network.initial.scale,
        "dense/kernel": network.mask.kernel,
        "conv_decoder/dense/kernel": network.basis.decoder.kernel,
        "mix_weights/dense/kernel": network.weighting.kernel,
    }
    for index, block in enumerate(network.blocks):
        root = f"improved_tdcn/conv_block_{index}/tdcn_block"
        table.update({f"{root}/{name}": v for name, v in _block(block).items()})
    return table


def canonical(name: str) -> str:
    """Strip what differs between graphs of one architecture from a variable's name.

    >>> canonical("conv_decoder/dense_1/kernel")
    'conv_decoder/dense/kernel'
    """
    return re.sub(r"(^|/)dense_\d+/", r"\1dense/", name)


def assign(network: Tdcn, tensors: Mapping[str, np.ndarray]) -> None:
    """Give every variable of a network the tensor of its name.

    Args:
        network: The network to fill.
        tensors: Tensor by the name that Google's program gives it.

    Raises:
        CheckpointError: Tensors are missing, extra or misshapen; lists all of them.
    """
    table = names(network)
    given = {canonical(name): np.asarray(value) for name, value in tensors.items()}
    problems = [f"missing {name}" for name in table if name not in given]
    problems += [f"extra {name}" for name in given if name not in table]
    for name in table.keys() & given.keys():
        if int(np.prod(given[name].shape)) != int(np.prod(table[name].shape)):
            wanted, got = tuple(table[name].shape), given[name].shape
            problems.append(f"misshapen {name}: {got}, expected {wanted}")
    if problems:
        raise CheckpointError(
            f"{len(problems)} tensors do not fit the network: {'; '.join(problems)}"
        )
    for name, variable in table.items():
        variable.assign(given[name].reshape(variable.shape))


def read(prefix: str | Path) -> dict[str, np.ndarray]:
    """Read the model's tensors of a TF1 checkpoint, without optimizer slots.

    Args:
        prefix: Checkpoint prefix such as ``model.ckpt-3547330``, or the folder of one.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged.
    """
    path = _prefix(Path(prefix))
    try:
        reader = tf.train.load_checkpoint(str(path))
        wanted = [n for n in reader.get_variable_to_shape_map() if not SLOTS.search(n)]
        return {name: reader.get_tensor(name) for name in sorted(wanted)}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or incomplete "
            f"({str(error).splitlines()[0]}); copy its .index and .data files again"
        ) from error


def architecture(tensors: Mapping[str, np.ndarray], num_dilations: int = 8) -> Network:
    """Derive the shape of the network from the shapes of its tensors.

    Args:
        tensors: Tensor by name, as :func:`read` gives them.
        num_dilations: Blocks of one repeat, which no shape tells; 8 as published, or
            all blocks where there are fewer.

    Returns:
        The shape, with a hop of half a window, at 16 kHz.

    Raises:
        CheckpointError: Expected tensors are missing, or the blocks do not make whole
            repeats.
    """
    shapes = {canonical(name): value.shape for name, value in tensors.items()}
    blocks = {m[1] for m in map(re.compile(r".*conv_block_(\d+)/").match, shapes) if m}
    kernel = "improved_tdcn/conv_block_0/tdcn_block/timeconv/separable_conv"
    needed = ["conv_encoder/dense/kernel", "dense/kernel", f"{kernel}/depthwise_kernel"]
    absent = [name for name in needed if name not in shapes]
    if absent:
        raise CheckpointError(
            f"no TDCN++ with a learned basis: the checkpoint lacks {', '.join(absent)}"
        )
    dilations = min(num_dilations, len(blocks))
    if len(blocks) % dilations:
        raise CheckpointError(
            f"{len(blocks)} blocks make no whole repeats of {dilations} dilations; "
            "give num_dilations"
        )
    window, coeffs = shapes["conv_encoder/dense/kernel"]
    bottleneck, masks = shapes["dense/kernel"]
    size, _, channels, _ = shapes[f"{kernel}/depthwise_kernel"]
    return Network(
        num_sources=masks // coeffs,
        window_samples=window,
        hop_samples=window // 2,
        num_coeffs=coeffs,
        bottleneck=bottleneck,
        conv_channels=channels,
        kernel_size=size,
        num_dilations=dilations,
        num_repeats=len(blocks) // dilations,
    )


def load(path: str | Path, num_dilations: int = 8, sample_rate: int = 16000) -> Tdcn:
    """Build and fill the network of a TF1 checkpoint.

    Args:
        path: Checkpoint prefix, or the folder of one.
        num_dilations: As in :func:`architecture`.
        sample_rate: Rate that the network was trained at in Hz, which no shape tells.

    Raises:
        CheckpointError: The checkpoint is damaged or of another architecture.
    """
    tensors = read(path)
    shape = replace(architecture(tensors, num_dilations), sample_rate=sample_rate)
    network = Tdcn(shape)
    assign(network, tensors)
    return network


def main(argv: Sequence[str] | None = None) -> int:
    """Turn a TF1 checkpoint into a run folder; returns the exit code."""
    parser = argparse.ArgumentParser("mixit.convert", description=main.__doc__)
    parser.add_argument("source", help="TF1 checkpoint prefix or folder")
    parser.add_argument("dest", help="run folder to make")
    parser.add_argument("--num-dilations", type=int, default=8)
    parser.add_argument("--sample-rate", type=int, default=16000, help="in Hz")
    options = parser.parse_args(argv)
    return exit_code("mixit.convert", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    folder = Path(options.dest)
    if (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds a run already; name another folder")
    network = load(options.source, options.num_dilations, options.sample_rate)
    config = replace(FUSS, model=network.config, output=str(folder))
    run_folder.prepare(folder, config)
    save_network(folder, network)
    sys.stdout.write(
        f"{folder}: {len(network.variables)} tensors, "
        f"{network.count_params()} weights, {network.config.num_sources} sources\n"
    )
    return 0


def _prefix(path: Path) -> Path:
    """Find the prefix of a checkpoint: itself, or the only one in a folder."""
    if Path(f"{path}.index").exists():
        return path
    named = tf.train.latest_checkpoint(str(path)) if path.is_dir() else None
    if named is not None:
        return Path(named)
    found = sorted(path.glob("*.index"), key=_step) if path.is_dir() else []
    if not found:
        raise CheckpointError(
            f"{path} is no checkpoint: neither {path.name}.index nor a folder with "
            "*.index and *.data files was found"
        )
    return found[-1].with_suffix("")


def _step(path: Path) -> int:
    digits = re.search(r"(\d+)$", path.stem)
    return int(digits[1]) if digits else -1


def _block(block: Any) -> dict[str, tf.Variable]:
    table = {
        "dense1/dense/kernel": block.widen.kernel,
        "dense1/dense_scale/scale_layer": block.widen.scale,
        "timeconv/separable_conv/depthwise_kernel": block.convolve.kernel,
        "timeconv/separable_conv/bias": block.convolve.bias,
        "dense2/dense/kernel": block.narrow.kernel,
        "dense2/dense_scale/scale_layer": block.narrow.scale,
    }
    for name, layer in (("normact1", block.norm1), ("normact2", block.norm2)):
        table[f"{name}/prelu/prelu"] = layer.slope
        table[f"{name}/instance_norm/gamma"] = layer.gamma
        table[f"{name}/instance_norm/beta"] = layer.beta
    return table


if __name__ == "__main__":
    sys.exit(main())
