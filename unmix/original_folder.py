"""A folder of networks as the original writes it.

``vocals.pth`` holds the weights, ``vocals.json`` how they were trained and
``separator.json`` the transform. Downloads come without the last two, and with the head
of their SHA-256 in the name: ``vocals-b62c91ce.pth``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from unmix import published, tensors
from unmix.config import Network
from unmix.model import num_input_bins
from unmix.tensors import Shape

SEPARATOR = "separator.json"

ORDER = ("vocals", "drums", "bass", "other", "speech", "noise")

WEIGHTS = re.compile(r"(?P<target>.+?)(?:[-_][0-9a-f]{8})?\.pth$")
logger = logging.getLogger(__name__)


def files(folder: Path) -> dict[str, Path]:
    """Find the weight file of every target, in the order of the sources."""
    found: dict[str, Path] = {}
    # The shorter name first: vocals.pth goes before vocals-b62c91ce.pth.
    for path in sorted(folder.glob("[!.]*.pth"), key=lambda p: (len(p.name), p)):
        target = WEIGHTS.match(path.name)["target"]
        if target in found and found[target].stem != target:
            raise CheckpointError(
                f"{folder} holds {found[target].name} and {path.name}, both of the "
                f"target {target}; remove one of them"
            )
        found.setdefault(target, path)
    described = [target for target in found if (folder / f"{target}.json").exists()]
    if described and len(described) < len(found):
        logger.info("%s: left out what has no .json beside it", folder)
    return {target: found[target] for target in ordered(described or found)}


def ordered(targets: Iterable[str]) -> list[str]:
    """Put targets in the order of the publications, and others after them, by name.

    >>> ordered(["choir", "bass", "vocals"])
    ['vocals', 'bass', 'choir']
    """
    rank = {target: place for place, target in enumerate(ORDER)}
    return sorted(targets, key=lambda target: (rank.get(target, len(rank)), target))


def read(path: Path) -> dict[str, Any]:
    """Read the tensors of one target; of a whole training state, its network."""
    content = torch_file.read(path)
    if not isinstance(content, dict):
        raise torch_file.TorchFileError(
            f"{path} holds a {type(content).__name__}, expected a dictionary of tensors"
        )
    return content.get("state_dict", content)


def network(path: Path, target: str, found: Mapping[str, Any]) -> Network:
    """Tell the shape of a network from its tensors and the files beside them.

    Args:
        path: The weight file.
        target: Its target.
        found: What is in it.

    Raises:
        CheckpointError: The tensors are those of something else, or the files beside
            them tell another shape or not enough.
    """
    shape = tensors.shape(found, str(path))
    rate, hop = _rate_and_hop(path.parent, shape)
    frequencies = np.linspace(0.0, rate / 2, shape.window_samples // 2 + 1)
    last = min(shape.input_bins, len(frequencies)) - 1
    told_by_bins = Network(
        sample_rate=rate,
        hop_samples=hop,
        bandwidth=float(frequencies[last]),
        dropout=0.4 if shape.layers > 1 else 0.0,
        **{key: value for key, value in shape._asdict().items() if key != "input_bins"},
    )
    beside = path.with_name(f"{target}.json")
    told = _json(beside).get("args", {}) if beside.exists() else {}
    if not isinstance(told, dict) or "bandwidth" not in told:
        return told_by_bins
    exact = replace(told_by_bins, bandwidth=float(told["bandwidth"]))
    return exact if num_input_bins(exact) == shape.input_bins else told_by_bins


def _rate_and_hop(folder: Path, shape: Shape) -> tuple[int, int]:
    path = folder / SEPARATOR
    if path.exists():
        return _told(path, shape)
    for model in published.MODELS.values():
        if _shape(model.network) == shape:
            return model.network.sample_rate, model.network.hop_samples
    raise CheckpointError(
        f"{folder} has no {SEPARATOR}, and its networks are not of a published shape; "
        f'expected {path} with {{"sample_rate": ..., "nfft": {shape.window_samples}, '
        f'"nhop": ..., "nb_channels": {shape.channels}}}'
    )


def _told(path: Path, shape: Shape) -> tuple[int, int]:
    told = _json(path)
    try:
        rate, hop = round(told["sample_rate"]), int(told["nhop"])
        kind = int(told["nfft"]), int(told["nb_channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} lacks {error}; expected the numbers sample_rate, nfft, nhop and "
            "nb_channels"
        ) from error
    if kind != (shape.window_samples, shape.channels) or min(rate, hop) < 1:
        raise CheckpointError(
            f"{path} tells nfft={kind[0]}, nhop={hop}, nb_channels={kind[1]}, "
            f"sample_rate={rate}, but the weights are those of "
            f"nfft={shape.window_samples}, nb_channels={shape.channels}"
        )
    return rate, hop


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON ({error}); copy it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object; copy it again")
    return values


def _shape(network: Network) -> Shape:
    return Shape(
        network.window_samples,
        num_input_bins(network),
        network.channels,
        network.hidden_size,
        network.layers,
        network.bidirectional,
    )


def separator(network: Network) -> dict[str, Any]:
    """Describe the transform as the original does."""
    return {
        "nb_channels": network.channels,
        "nfft": network.window_samples,
        "nhop": network.hop_samples,
        "sample_rate": float(network.sample_rate),
    }


def results(target: str, network: Network) -> dict[str, Any]:
    """Describe a network as the original does; of its training nothing is told."""
    return {
        "args": {
            "bandwidth": network.bandwidth,
            "hidden_size": network.hidden_size,
            "nb_channels": network.channels,
            "nfft": network.window_samples,
            "nhop": network.hop_samples,
            "target": target,
            "unidirectional": not network.bidirectional,
        },
        "best_epoch": 0,
        "best_loss": None,
        "epochs_trained": 0,
        "num_bad_epochs": 0,
        "train_loss_history": [],
        "train_time_history": [],
        "valid_loss_history": [],
    }


def is_loadable(network: Network) -> bool:
    """Whether the original's own loader knows networks of this shape."""
    return network.bidirectional and network.layers == 3
