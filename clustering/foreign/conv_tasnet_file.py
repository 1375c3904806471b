"""Conv-TasNet as asteroid and torchaudio save it, as our network with its weights.

asteroid's ``serialize`` writes a dictionary with the name of the class, its arguments
and its tensors (asteroid 0.7, ``models/base_models.py``). torchaudio saves tensors
alone, those of ``conv_tasnet_base`` (torchaudio 2, ``models/conv_tasnet.py``), a
network that pads a waveform by a stride at both ends. Nothing in such a file is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import tensorflow as tf

from clustering.config import ClusteringConfig, Loss
from clustering.foreign.tensors import (
    NetworkError,
    Table,
    Tensors,
    assign,
    linear,
    sample_rate,
    unknown_value,
)
from clustering.models import shapes
from clustering.models.layers import Normalisation
from clustering.models.shapes import ChannelNorm, Filterbank, MaskActivation
from clustering.models.time_domain import ConvTasnet
from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from common.weights.torch_file import TorchFileError

CLASS = "ConvTasNet"
BARE = "encoder.filterbank."
"""Part of a name of a tensor of every network of asteroid."""
CHIMERA = "masker.embedding_layer."
"""Part of a name of a tensor of the network of asteroid's recipe DeepClustering."""
STACK = 8
"""Blocks of a repeat of ``conv_tasnet_base``; the tensors do not say the number."""

MASKS: Mapping[str, MaskActivation] = {
    "linear": "none",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
}


class Arguments(NamedTuple):
    """Arguments of a class of asteroid.

    Attributes:
        required: Those without a default, all of them whole numbers above 0.
        defaults: What asteroid takes where a file leaves an argument out; the sample
            rate is asked for instead.
        sizes: Those with a default that are whole numbers above 0.
        choices: Supported values of others.
    """

    required: tuple[str, ...]
    defaults: Mapping[str, Any]
    sizes: tuple[str, ...]
    choices: Mapping[str, tuple[Any, ...]]


ARGUMENTS = Arguments(
    required=("n_src", "n_filters", "kernel_size", "bn_chan", "hid_chan"),
    defaults={
        "out_chan": None,
        "n_blocks": 8,
        "n_repeats": 3,
        "skip_chan": 128,
        "conv_kernel_size": 3,
        "norm_type": "gLN",
        "mask_act": "sigmoid",
        "in_chan": None,
        "causal": False,
        "fb_name": "free",
        "stride": 8,
        "encoder_activation": None,
        "sample_rate": None,
    },
    sizes=("n_blocks", "n_repeats", "conv_kernel_size"),
    choices={
        "norm_type": get_args(ChannelNorm),
        "mask_act": tuple(MASKS),
        "causal": (False, True),
    },
)


class Names(NamedTuple):
    """Names of the layers of a network in a file, ``{}`` the number of a block."""

    encoder: str
    norm: str
    bottleneck: str
    block: str
    residual: str
    skip: str
    activation: str
    mask: str
    decoder: str
    scale: tuple[str, str]


ASTEROID = Names(
    "encoder.filterbank._filters",
    "masker.bottleneck.0",
    "masker.bottleneck.1",
    "masker.TCN.{}.shared_block",
    "masker.TCN.{}.res_conv",
    "masker.TCN.{}.skip_conv",
    "masker.mask_net.0",
    "masker.mask_net.1",
    "decoder.filterbank._filters",
    ("gamma", "beta"),
)
TORCHAUDIO = Names(
    "encoder.weight",
    "mask_generator.input_norm",
    "mask_generator.input_conv",
    "mask_generator.conv_layers.{}.conv_layers",
    "mask_generator.conv_layers.{}.res_out",
    "mask_generator.conv_layers.{}.skip_out",
    "mask_generator.output_prelu",
    "mask_generator.output_conv",
    "decoder.weight",
    ("weight", "bias"),
)


@dataclass(frozen=True)
class ConvTasnetFile:
    """A Conv-TasNet of asteroid or torchaudio, restored.

    Attributes:
        network: Our network, with the weights of the file.
        names: Names of its layers in the file.
        tensors: Tensors of the file.
        sample_rate: Rate in Hz, None where the file does not state it.
    """

    network: ConvTasnet
    names: Names
    tensors: Mapping[str, np.ndarray]
    sample_rate: int | None

    kind = "conv_tasnet"

    def config(self, requested_rate: int | None = None) -> ClusteringConfig:
        """Make the configuration of the network; training is as in a new run here.

        Args:
            requested_rate: Sample rate in Hz, where the file does not state it.

        Raises:
            CheckpointError: The sample rate is unknown, or another one than in the
                file.
        """
        return ClusteringConfig(
            kind="conv_tasnet",
            conv_tasnet=self.network.config,
            loss=Loss(inference_kind="si_sdr"),
            sample_rate=sample_rate(self.sample_rate, requested_rate),
        )


def is_one(content: object) -> bool:
    """Whether what a file holds is a network of asteroid, or of torchaudio.

    Tensors of asteroid without a description count as well: :func:`load` says what
    they lack.

    >>> is_one({"model_name": "ConvTasNet", "state_dict": {}})
    True
    """
    if not isinstance(content, Mapping):
        return False
    is_named = "model_name" in content or TORCHAUDIO.encoder in content
    return is_named or _holds(content, BARE)


def load(path: str | Path) -> ConvTasnetFile:
    """Restore a Conv-TasNet that asteroid or torchaudio saved.

    Args:
        path: The file, such as ``pytorch_model.bin`` or ``model.pth``.

    Raises:
        CheckpointError: It holds another network, or a tensor is missing or does not
            fit.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
        OSError: It cannot be opened.
    """
    content = torch_file.read(path)
    if not is_one(content):
        raise TorchFileError(
            f"{path} is no network of asteroid or torchaudio; expected a dictionary "
            "with model_name, model_args and state_dict, or tensors of conv_tasnet_base"
        )
    try:
        shape, names, rate = _described(content)
        network = ConvTasnet(shape)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be converted: {error}") from error
    tensors = content if names is TORCHAUDIO else content["state_dict"]
    assign(table(network, names), tensors, str(path))
    if names is TORCHAUDIO:
        # The last block of torchaudio has no such path, and nothing reads ours.
        for variable in network.blocks[-1].residual.variables:
            variable.assign(tf.zeros_like(variable))
    return ConvTasnetFile(network, names, tensors, rate)


def table(network: ConvTasnet, names: Names) -> Table:
    """List the variables of a network by their names in a file."""

    def normalisation(name: str, layer: Normalisation) -> Table:
        gain, offset = names.scale
        return {f"{name}.{gain}": layer.gamma, f"{name}.{offset}": layer.beta}

    variables = {
        names.encoder: network.analysis.filters,
        **normalisation(names.norm, network.input_norm),
        **linear(names.bottleneck, network.bottleneck),
        f"{names.activation}.weight": network.activation.slope,
        **linear(names.mask, network.mask),
        names.decoder: network.synthesis.filters,
    }
    for number, block in enumerate(network.blocks):
        inner = names.block.format(number)
        # asteroid cuts off what a causal convolution is ahead, in a layer of its own.
        taps = f"{inner}.3.0" if network.config.causal else f"{inner}.3"
        variables |= {
            **linear(f"{inner}.0", block.widen),
            f"{inner}.1.weight": block.activation1.slope,
            **normalisation(f"{inner}.2", block.norm1),
            **linear(taps, block.depthwise),
            f"{inner}.4.weight": block.activation2.slope,
            **normalisation(f"{inner}.5", block.norm2),
        }
        if block.skip is not None:
            variables |= linear(names.skip.format(number), block.skip)
        if names is ASTEROID or block is not network.blocks[-1]:
            variables |= linear(names.residual.format(number), block.residual)
    return variables


def _described(content: Tensors) -> tuple[shapes.ConvTasnet, Names, int | None]:
    """Find shape, names and sample rate of the network of a file."""
    if "model_name" not in content:
        _expect_description(content)
        return _of_tensors(content), TORCHAUDIO, None
    name = content["model_name"]
    if name != CLASS:
        raise NetworkError(
            f"it is the network {str(name)[:80]} of asteroid; only ConvTasNet "
            "and LSTMTasNet can be converted"
        )
    values = arguments(content, ARGUMENTS)
    rate = values["sample_rate"]
    return _of_arguments(values), ASTEROID, None if rate is None else int(rate)


def _holds(content: Mapping, part: str) -> bool:
    """Whether a tensor of a file, or of its ``state_dict``, has a part of a name."""
    state = content.get("state_dict", content)
    return isinstance(state, Mapping) and any(part in str(name) for name in state)


def _expect_description(content: Mapping) -> None:
    """Raise an error for tensors of asteroid alone."""
    if _holds(content, CHIMERA):
        raise NetworkError(
            "it is the chimera network of asteroid's recipe DeepClustering; only "
            "ConvTasNet and LSTMTasNet can be converted"
        )
    if _holds(content, BARE):
        raise NetworkError(
            "it holds tensors of asteroid without model_name and model_args, which "
            "describe the network; save model.serialize() instead of "
            "model.state_dict(), or take the best_model.pth of the recipe"
        )


def arguments(content: Tensors, expected: Arguments) -> dict[str, Any]:
    """Check the arguments of a network of asteroid, all of which must be understood.

    Args:
        content: What a file of asteroid holds.
        expected: Arguments of the class of the network.

    Returns:
        Values of all arguments, the defaults among them.

    Raises:
        NetworkError: There is no such network here.
    """
    args, state = content.get("model_args"), content.get("state_dict")
    if not isinstance(args, Mapping) or not isinstance(state, Mapping):
        raise NetworkError("it lacks model_args or state_dict; expected both")
    values = {**expected.defaults, **args}
    for name in values:
        if name not in (*expected.required, *expected.defaults):
            raise NetworkError(f"it has the unknown argument {str(name)[:80]}")
    for name in expected.required:
        if name not in values:
            raise NetworkError(f"it lacks the argument {name}")
    for name in (*expected.required, *expected.sizes):
        if type(values[name]) is not int or values[name] < 1:
            raise unknown_value("it", name, values[name], "a whole number above 0")
    _check_values(values, expected.choices)
    return values


def _check_values(
    values: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]]
) -> None:
    rate, filters = values["sample_rate"], values["n_filters"]
    is_number = isinstance(rate, int | float)
    if rate is not None and not (is_number and 1 <= rate < np.inf):
        raise unknown_value("it", "sample_rate", rate, "a number of Hz")
    if type(values["stride"] or 0) is not int:
        raise unknown_value("it", "stride", values["stride"], "a number of samples")
    if not isinstance(values.get("dropout", 0.0), int | float):
        raise unknown_value("it", "dropout", values["dropout"], "a fraction")
    supported: dict[str, tuple[Any, ...]] = {
        "in_chan": (None, filters),
        "out_chan": (None, 0, filters),
        "fb_name": ("free", "FreeFB"),
        "encoder_activation": (None, "linear", "relu"),
        **choices,
    }
    for name, known in supported.items():
        if values[name] not in known:
            raise unknown_value("it", name, values[name], " or ".join(map(str, known)))


def _of_arguments(values: Mapping[str, Any]) -> shapes.ConvTasnet:
    size, norm = values["kernel_size"], values["norm_type"]
    if values["causal"] and norm not in ("cLN", "cgLN"):
        # So asteroid does, with a warning.
        norm = "cLN"
    return shapes.ConvTasnet(
        Filterbank(values["n_filters"], size, values["stride"] or size // 2),
        values["bn_chan"],
        values["hid_chan"],
        values["skip_chan"] or 0,
        values["conv_kernel_size"],
        values["n_blocks"],
        values["n_repeats"],
        values["n_src"],
        cast(ChannelNorm, norm),
        MASKS[values["mask_act"]],
        bool(values["causal"]),
        values["encoder_activation"] == "relu",
    )


def _of_tensors(tensors: Tensors) -> shapes.ConvTasnet:
    """Derive the shape from the tensors of torchaudio's ``conv_tasnet_base``."""
    inner = TORCHAUDIO.block.format(0)
    ranks = {
        TORCHAUDIO.encoder: 3,
        f"{inner}.0.weight": 3,
        f"{inner}.3.weight": 3,
        f"{TORCHAUDIO.mask}.weight": 3,
    }
    sizes = {name: np.shape(tensors.get(name, ())) for name in ranks}
    lacking = [name for name, rank in ranks.items() if len(sizes[name]) != rank]
    if lacking:
        raise NetworkError(f"it lacks {', '.join(lacking)} of torchaudio's ConvTasNet")
    (filters, _, size), (hidden, width, _), (_, _, kernel), (outputs, *_) = (
        sizes[name] for name in ranks
    )
    count = sum(name.endswith(".conv_layers.0.weight") for name in tensors)
    if count % STACK or size % 2:
        raise NetworkError(
            f"it has {count} blocks and filters of {size} samples; expected whole "
            f"repeats of {STACK} and an even length, as conv_tasnet_base has"
        )
    return shapes.ConvTasnet(
        Filterbank(filters, size, size // 2),
        width,
        hidden,
        width,
        kernel,
        STACK,
        count // STACK,
        max(outputs // max(filters, 1), 1),
        mask_activation="relu",
        padding=size // 2,
    )
