"""TasNet with recurrent layers as asteroid saves it, as our network with its weights.

It is asteroid's class ``LSTMTasNet`` (asteroid 0.7, ``models/lstm_tasnet.py``), in a
dictionary as :mod:`clustering.foreign.conv_tasnet_file` describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clustering.config import ClusteringConfig, Loss
from clustering.foreign.conv_tasnet_file import MASKS, Arguments, arguments
from clustering.foreign.nussl_file import RECURRENT
from clustering.foreign.tensors import Table, assign, linear, sample_rate
from clustering.models import shapes
from clustering.models.shapes import Filterbank
from clustering.models.time_domain import Tasnet
from common.training.checkpoint import CheckpointError
from common.weights import torch_file

CLASS = "LSTMTasNet"
ARGUMENTS = Arguments(
    required=("n_src", "n_filters", "kernel_size"),
    defaults={
        "out_chan": None,
        # asteroid ignores it: the layers are always LSTMs.
        "rnn_type": "lstm",
        "n_layers": 4,
        "hid_size": 512,
        "dropout": 0.3,
        "mask_act": "sigmoid",
        "bidirectional": True,
        "in_chan": None,
        "fb_name": "free",
        "stride": 8,
        "encoder_activation": None,
        "sample_rate": None,
    },
    sizes=("n_layers", "hid_size"),
    choices={
        "bidirectional": (True, False),
        # asteroid takes the softmax over the frames, not over the sources, so that its
        # masks depend on the length of the mixture.
        "mask_act": tuple(name for name in MASKS if name != "softmax"),
    },
)

ENCODER, GATE, DECODER = (
    f"{name}.filterbank._filters"
    for name in ("encoder.encoder_relu", "encoder.encoder_sig", "decoder")
)
COPY = "encoder.filterbank._filters"
"""Second name of the filters of the encoder in a file."""
NORM, STACK, MASK = "masker.bn_layer", "masker.masker.0", "masker.masker.1"


@dataclass(frozen=True)
class LstmTasnetFile:
    """A TasNet with recurrent layers of asteroid, restored.

    Attributes:
        network: Our network, with the weights of the file.
        tensors: Tensors of the file.
        sample_rate: Rate in Hz, None where the file does not state it.
    """

    network: Tasnet
    tensors: Mapping[str, np.ndarray]
    sample_rate: int | None

    kind = "tasnet"

    def config(self, requested_rate: int | None = None) -> ClusteringConfig:
        """Make the configuration of the network; training is as in a new run here.

        Args:
            requested_rate: Sample rate in Hz, where the file does not state it.

        Raises:
            CheckpointError: The sample rate is unknown, or another one than in the
                file.
        """
        return ClusteringConfig(
            kind="tasnet",
            tasnet=self.network.config,
            loss=Loss(inference_kind="si_sdr"),
            sample_rate=sample_rate(self.sample_rate, requested_rate),
        )


def is_one(content: object) -> bool:
    """Whether what a file holds is such a network.

    >>> is_one({"model_name": "ConvTasNet"})
    False
    """
    return isinstance(content, Mapping) and content.get("model_name") == CLASS


def load(path: str | Path) -> LstmTasnetFile:
    """Restore a TasNet with recurrent layers that asteroid saved.

    Args:
        path: The file, such as ``best_model.pth``.

    Raises:
        CheckpointError: It holds another network, or a tensor is missing or does not
            fit.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
        OSError: It cannot be opened.
    """
    content = torch_file.read(path)
    try:
        values = arguments(content, ARGUMENTS)
        network = Tasnet(_shape(values))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be converted: {error}") from error
    state = content["state_dict"]
    tensors = {name: state[name] for name in state if name != COPY}
    assign(table(network), tensors, str(path))
    rate = values["sample_rate"]
    return LstmTasnetFile(network, tensors, None if rate is None else int(rate))


def table(network: Tasnet) -> Table:
    """List the variables of a network by their names in a file."""
    norm = network.norm
    scales = {"gamma": norm.gamma, "beta": norm.beta} if norm is not None else {}
    return {
        ENCODER: network.analysis.filters,
        GATE: network.gate.filters,
        DECODER: network.synthesis.filters,
        **{f"{NORM}.{name}": variable for name, variable in scales.items()},
        **{
            f"{STACK}.rnn.{name}_l{number}{suffix}": getattr(cell, our)
            for number, cells in enumerate(network.recurrent.cells)
            for suffix, cell in zip(("", "_reverse"), cells, strict=False)
            for name, our in RECURRENT.items()
        },
        **linear(MASK, network.mask),
    }


def _shape(values: Mapping[str, Any]) -> shapes.Tasnet:
    size, both = values["kernel_size"], bool(values["bidirectional"])
    stack = shapes.Recurrent(
        values["hid_size"],
        values["n_layers"],
        both,
        values["dropout"],
        initial="uniform",
        forget_bias=None,
    )
    return shapes.Tasnet(
        Filterbank(values["n_filters"], size, values["stride"] or size // 2),
        stack,
        values["n_src"],
        "gLN" if both else "cgLN",
        MASKS[values["mask_act"]],
    )
