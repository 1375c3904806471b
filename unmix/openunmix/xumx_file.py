"""X-UMX as asteroid saves it: the networks of all targets in one file.

asteroid's ``serialize`` writes a dictionary with ``model_name``, ``model_args`` and
``state_dict`` (asteroid 0.7, ``models/x_umx.py``). The network of a target has the
layers of Open-Unmix under other names, and is bridged to the others, see
:func:`unmix.model.estimates`. Nothing in such a file is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.training.checkpoint import CheckpointError
from common.weights import torch_file
from unmix.config import Network, in_order
from unmix.model import OpenUnmix
from unmix.openunmix import original_folder

CLASS = "XUMX"
SIZES = ("window_length", "in_chan", "n_hop", "hidden_size", "nb_channels", "nb_layers")
REQUIRED = (*SIZES, "sources", "sample_rate", "max_bin", "bidirectional")
FIXED: Mapping[str, Any] = {
    "input_mean": None,
    "input_scale": None,
    "spec_power": 1,
    "return_time_signals": False,
}
"""Arguments of which asteroid writes, or we have, one value."""

WINDOWS = ("encoder.0.window", "decoder.window")
LAYERS: Mapping[str, str] = {
    r"layer_enc\.{}\.enc\.0\.": "fc1.",
    r"layer_enc\.{}\.enc\.1\.": "bn1.",
    r"layer_lstm\.{}\.": "lstm.",
    r"layer_dec\.{}\.dec\.0\.": "fc2.",
    r"layer_dec\.{}\.dec\.1\.": "bn2.",
    r"layer_dec\.{}\.dec\.3\.": "fc3.",
    r"layer_dec\.{}\.dec\.4\.": "bn3.",
}
"""Beginning of a name in the file, ``{}`` the target, and in Open-Unmix."""

SCALES = r"mean_scale\.((?:input|output)_(?:mean|scale))_{}$"

Tensors = Mapping[str, Any]


def targets(path: Path) -> list[str]:
    """Return the targets of a file, in the order of the publications.

    Raises:
        CheckpointError: It holds another network.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
    """
    return in_order(_content(path)[0]["sources"])


def load(path: Path, chosen: Sequence[str]) -> dict[str, OpenUnmix]:
    """Load the networks of targets.

    Args:
        path: The file.
        chosen: The targets, each of which is in the file.

    Returns:
        Network by target. Their ``config`` says that they are bridged.

    Raises:
        CheckpointError: There is no such target, or a tensor is missing, extra,
            misshapen or not finite.
        TorchFileError: The file is damaged, or names a class; nothing of it was run.
    """
    values, state = _content(path)
    networks = {}
    for target in chosen:
        try:
            model = OpenUnmix(_network(values))
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        original_folder.assign(model, _of(target, state), f"{path}, {target}")
        networks[target] = model
    return networks


def tensors(path: Path) -> dict[str, dict[str, Any]]:
    """Return the tensors of each target by the names of Open-Unmix.

    Raises:
        CheckpointError: The file holds another network.
        TorchFileError: It is damaged, or names a class; nothing of it was run.
    """
    values, state = _content(path)
    return {target: _of(target, state) for target in values["sources"]}


def _content(path: Path) -> tuple[Mapping[str, Any], Tensors]:
    """Read the arguments, which must all be understood, and the tensors."""
    content = torch_file.read(path)
    content = content if isinstance(content, Mapping) else {}
    name, args = content.get("model_name"), content.get("model_args")
    state = content.get("state_dict")
    if not (name == CLASS and isinstance(args, Mapping) and isinstance(state, Mapping)):
        raise CheckpointError(
            f"{path} holds no {CLASS} of asteroid, model_name is {str(name)[:80]}; "
            "expected a dictionary with model_name, model_args and state_dict, or the "
            "folder of the files TARGET.pth of Open-Unmix"
        )
    _check_names(path, args)
    _check_values(path, args)
    _check_sources(path, args["sources"])
    _check_tensors(path, args["sources"], state)
    return args, state


def _check_names(path: Path, args: Mapping[str, Any]) -> None:
    for name in args:
        if name not in (*REQUIRED, *FIXED):
            raise CheckpointError(
                f"{path} has the unknown argument {str(name)[:80]}; expected "
                f"{', '.join((*REQUIRED, *FIXED))}"
            )
    for name in REQUIRED:
        if name not in args:
            raise CheckpointError(f"{path} lacks the argument {name} of {CLASS}")


def _check_values(path: Path, args: Mapping[str, Any]) -> None:
    for name in SIZES:
        if type(args[name]) is not int or args[name] < 1:
            raise _unknown(path, name, args[name], "a whole number above 0")
    bins, rate, last = args["in_chan"] // 2 + 1, args["sample_rate"], args["max_bin"]
    if not isinstance(rate, int | float) or not rate >= 1:
        raise _unknown(path, "sample_rate", rate, "a number of Hz")
    if type(last) is not int or not 1 <= last <= bins:
        raise _unknown(path, "max_bin", last, f"1 to {bins}")
    for name, value in {**FIXED, "window_length": args["in_chan"]}.items():
        if args.get(name, value) != value:
            raise _unknown(path, name, args[name], str(value))


def _check_sources(path: Path, sources: Any) -> None:
    names = isinstance(sources, list | tuple) and bool(sources)
    if not names or not all(isinstance(name, str) for name in sources):
        raise _unknown(path, "sources", sources, "names")
    if len(set(sources)) < len(sources):
        raise _unknown(path, "sources", sources, "different names")


def _check_tensors(path: Path, sources: Sequence[str], state: Tensors) -> None:
    """Refuse a window other than Hann's, and tensors of no target."""
    for name in WINDOWS:
        window = state.get(name)
        if window is None:
            continue
        size = np.size(window)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        if np.shape(window) != hann.shape or not np.allclose(window, hann, atol=1e-5):
            raise CheckpointError(f"{path}: {name} is no window of Hann's")
    known = {*WINDOWS}.union(*(_names(source, state) for source in sources))
    extra = [str(name) for name in state if name not in known]
    if extra:
        raise CheckpointError(
            f"{path}: {len(extra)} tensors are of none of the targets "
            f"{', '.join(sources)}: {', '.join(extra[:5])}"
        )


def _network(args: Mapping[str, Any]) -> Network:
    """Make the shape of the network of a target."""
    rate, bins = int(args["sample_rate"]), args["in_chan"] // 2 + 1
    frequencies = np.linspace(0.0, rate / 2, bins)
    return Network(
        rate,
        args["in_chan"],
        args["n_hop"],
        args["nb_channels"],
        args["hidden_size"],
        args["nb_layers"],
        bool(args["bidirectional"]),
        float(frequencies[args["max_bin"] - 1]),
        bridged=True,
    )


def _of(target: str, state: Tensors) -> dict[str, Any]:
    """Return the tensors of a target by the names of Open-Unmix."""
    return {ours: state[name] for name, ours in _names(target, state).items()}


def _names(target: str, state: Tensors) -> dict[str, str]:
    """Return the names of a target's tensors in Open-Unmix, by those in the file."""
    renamed, word = {}, re.escape(target)
    for name in state:
        scale = re.match(SCALES.format(word), str(name))
        if scale:
            renamed[name] = scale[1]
        for theirs, ours in LAYERS.items():
            begin = re.match(theirs.format(word), str(name))
            if begin:
                renamed[name] = ours + str(name)[begin.end() :]
    return renamed


def _unknown(path: Path, name: str, value: object, expected: str) -> CheckpointError:
    return CheckpointError(
        f"{path} has {name}={str(value)[:80]}; expected {expected}, for which there is "
        "a network here"
    )
