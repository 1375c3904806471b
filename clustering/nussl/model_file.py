"""What nussl's ``SeparationModel.save`` wrote: a graph, its tensors and what was told.

Nothing in such a file is run, and what it names is not imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from common.weights.torch_file import TorchFileError


def read(path: str | Path) -> tuple[Any, dict[str, np.ndarray], Mapping[str, Any]]:
    """Take graph, tensors and metadata out of a file.

    Raises:
        CheckpointError: There is no file, or it holds no model of nussl.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
    """
    if not Path(path).is_file():
        raise CheckpointError(
            f"{path} is no file; expected one as SeparationModel.save of nussl writes"
        )
    try:
        content = torch_file.read(path)
    except TorchFileError as error:
        if "it was not run" not in str(error):
            raise
        raise TorchFileError(
            f"{error}; nussl keeps objects of its own beside the weights where it is "
            "given data to save with, and leaves them out in SeparationModel.load("
            f"{str(path)!r})[0].save(NEW)"
        ) from error
    parts = content if isinstance(content, Mapping) else {}
    metadata, state = parts.get("metadata", {}), parts.get("state_dict", {})
    if not isinstance(metadata, Mapping) or not _are_tensors(state):
        raise CheckpointError(
            f"{path} is no model of nussl 1.x; expected a dictionary with state_dict, "
            "config and metadata"
        )
    return (
        _graph(path, parts.get("config", metadata.get("config"))),
        _once(state),
        metadata,
    )


def _are_tensors(state: Any) -> bool:
    return (
        isinstance(state, Mapping)
        and bool(state)
        and all(
            isinstance(name, str) and isinstance(tensor, np.ndarray)
            for name, tensor in state.items()
        )
    )


def _graph(path: str | Path, text: Any) -> Any:
    try:
        # A dictionary has tuples where JSON has lists.
        return json.loads(text if isinstance(text, str) else json.dumps(text))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: its config is no JSON ({error}); expected what nussl writes"
        ) from error


def _once(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out second names: nussl lists layers.mask.weight as mask.weight too."""
    return {
        name: tensor
        for name, tensor in state.items()
        if f"layers.{name}" not in state
        or not np.array_equal(state[f"layers.{name}"], tensor)
    }


def sample_rate(metadata: Mapping[str, Any], wanted: int | None) -> int:
    """Tell the sample rate in Hz, of the file or else as it is wanted.

    Raises:
        CheckpointError: Nobody tells it, both tell another, or it is no rate.
    """
    told = metadata.get("sample_rate")
    if told is None and wanted is None:
        raise CheckpointError(
            "the file tells no sample rate; give that of the training with "
            "--sample-rate HZ"
        )
    if wanted is not None and told not in (None, wanted):
        raise CheckpointError(
            f"--sample-rate {wanted}: expected {told}, as the file tells"
        )
    rate = wanted if told is None else told
    if type(rate) is not int or rate < 1:
        raise CheckpointError(f"sample rate {rate}: expected a whole number above 0")
    return rate


def hop(metadata: Mapping[str, Any], window: int) -> int:
    """Tell the distance of frames; nussl's own is a quarter of the window.

    Raises:
        CheckpointError: The transform is none that there is here.
    """
    told = metadata.get("stft_params")
    names = ("window_length", "hop_length", "window_type")
    if isinstance(told, list | tuple):
        told = dict(zip(names, told, strict=False))
    known = dict(told) if isinstance(told, Mapping) else {}
    wanted = {"window_length": window, "window_type": "sqrt_hann"}
    for name, value in wanted.items():
        if known.get(name) not in (None, value):
            raise CheckpointError(
                f"stft_params.{name} is {known[name]}; expected {value}, for which "
                "there is a transform here"
            )
    samples = known.get("hop_length") or window // 4
    if type(samples) is not int or not 0 < samples <= window:
        raise CheckpointError(
            f"stft_params.hop_length is {samples}; expected a whole number up to "
            f"{window}"
        )
    return samples
