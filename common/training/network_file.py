"""The weights of a network in a safetensors file, as for publication.

Tensors have the names of ``tf.train.Checkpoint(network=network)``, so a file and a
checkpoint of one network hold the same names and values. Matrices may be stored in half
precision; they are restored into the variables of the network, which keep their type.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from common.config import ConfigError
from common.files import replacing

NAME = "weights.safetensors"
"""Name of the file beside ``config.json``."""

DIGEST = "sha256"
"""Key of the SHA-256 of names and values, among the metadata of the file."""


class NetworkFileError(ValueError):
    """A file that is damaged, or of another network."""


class BuiltNetwork(Protocol):
    """A network that has its variables: a built Keras model, or any ``tf.Module``."""

    @property
    def variables(self) -> Sequence[tf.Variable]:
        """All variables, those of normalisations included."""

    @property
    def trainable_variables(self) -> Sequence[tf.Variable]:
        """The variables that an optimizer changes."""


Networks = BuiltNetwork | Mapping[str, BuiltNetwork]
"""A network, or several by name, as one for each target."""


def write(path: Path, network: Networks, half: bool = False) -> None:
    """Write the variables of a network; the file is whole or absent.

    Args:
        path: The file.
        network: Built network, or a dictionary of networks by name.
        half: Store matrices in float16. Vectors, which hold few of the weights, and
            matrices with a value that float16 cannot hold, stay as they are.
    """
    from safetensors.numpy import save

    tensors = {
        # A contiguous copy of a scalar would have one dimension.
        name: np.array(_halved(variable.numpy()) if half else variable.numpy())
        for name, variable in variables(network).items()
    }
    with replacing(path) as draft:
        # save_file would make a file that only its owner can read.
        draft.write_bytes(save(tensors, {DIGEST: _digest(tensors)}))


def restore(path: Path, network: Networks) -> None:
    """Assign the tensors of a file to the variables of a network.

    Args:
        path: The file.
        network: Built network of the same architecture, or a dictionary of networks.

    Raises:
        NetworkFileError: The file is damaged, or its tensors are not exactly those of
            the network; nothing is changed then.
        OSError: It cannot be read.
    """
    _assign(read(path), network, str(path))


def _assign(tensors: Mapping[str, np.ndarray], network: Networks, name: str) -> None:
    """Assign tensors to the variables of a network, if they are exactly its own."""
    targets = variables(network)
    shapes = {name: tuple(variable.shape) for name, variable in targets.items()}
    problems = [f"lacks {name}" for name in shapes if name not in tensors]
    problems += [f"holds {name}" for name in tensors if name not in shapes]
    problems += [
        f"holds {name} of shape {tensors[name].shape}, expected {shapes[name]}"
        for name in sorted(shapes.keys() & tensors.keys())
        if tensors[name].shape != shapes[name]
    ]
    if problems:
        raise NetworkFileError(
            f"{name} does not fit this model ({len(problems)} differences, the first: "
            f"it {problems[0]}); it was saved by another configuration"
        )
    for key, variable in targets.items():
        variable.assign(tensors[key].astype(variable.dtype.as_numpy_dtype))


def copy(source: Networks, network: Networks, name: str) -> None:
    """Assign the weights of a network to another one of the same architecture.

    Args:
        source: Built network, or a dictionary of networks by name.
        network: The other one.
        name: What the source is, for the message.

    Raises:
        NetworkFileError: Their variables are not the same; nothing is changed then.
    """
    tensors = {key: value.numpy() for key, value in variables(source).items()}
    _assign(tensors, network, name)


def expect_same_shape(
    name: str, source: Mapping[str, object], target: Mapping[str, object]
) -> None:
    """Refuse initial weights of a network of another shape.

    Args:
        name: What has these weights, for the message.
        source: Values by key that determine the shape of that network.
        target: Those of the network to be trained.

    Raises:
        ConfigError: Any of them differ.

    >>> expect_same_shape("initial=old", {"model.layers": 3}, {"model.layers": 2})
    Traceback (most recent call last):
    common.config.ConfigError: initial=old has model.layers=3, expected 2; set the same
    """
    keys = [key for key in target if source.get(key) != target[key]]
    # A network of another type lacks keys, which follow from those that both have.
    keys = [key for key in keys if key in source] or keys
    if keys:
        values = ", ".join(f"{key}={source.get(key)}" for key in keys)
        expected = ", ".join(str(target[key]) for key in keys)
        raise ConfigError(f"{name} has {values}, expected {expected}; set the same")


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a file by name.

    Raises:
        NetworkFileError: The file is damaged.
        OSError: It cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            digest = (file.metadata() or {}).get(DIGEST)
    # The types of numpy are looked up by their names in the file.
    except (SafetensorError, KeyError, AttributeError, TypeError) as error:
        raise NetworkFileError(
            f"{path} is damaged or not a safetensors file ({error}); copy or download "
            "it again"
        ) from error
    if digest not in (None, _digest(tensors)):
        raise NetworkFileError(
            f"{path} is damaged: the SHA-256 of its tensors differs from the stated "
            "one; copy or download it again"
        )
    return tensors


def variables(network: Networks) -> Mapping[str, tf.Variable]:
    """Return the variables of a network by their names in a checkpoint.

    Args:
        network: Built network, or a dictionary of networks by name.

    >>> class Network(tf.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = tf.Variable(1.0)
    >>> list(variables(Network()))
    ['network/scale']
    """
    root = tf.train.Checkpoint(network=network)
    view = tf.train.TrackableView(root)
    by_path: dict[str, tf.Variable] = {}
    queue, seen = collections.deque([("", root)]), {id(root)}
    while queue:
        path, parent = queue.popleft()
        for name, child in view.children(parent).items():
            if id(child) in seen:
                continue
            seen.add(id(child))
            inner = path + name.replace(".", "..").replace("/", ".S")
            if isinstance(child, tf.Variable):
                by_path[inner] = child
            queue.append((f"{inner}/", child))
    return {
        name: variable
        for name, variable in by_path.items()
        if name.startswith("network/")
    }


def _halved(tensor: np.ndarray) -> np.ndarray:
    if tensor.ndim < 2 or tensor.dtype != np.float32:
        return tensor
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return half if np.isfinite(half).all() else tensor


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
