"""SHA-256 of a network in memory, which tells whether stems are those of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np


class Variable(Protocol):
    """What has values, such as a variable of TensorFlow."""

    def numpy(self) -> np.ndarray:
        """Return the values."""


def fingerprint(variables: Iterable[Variable], *facts: Any) -> str:
    """Compute the SHA-256 of a network.

    Args:
        variables: Its variables, in their order.
        *facts: Whatever else decides what it computes, such as a configuration, whose
            ``repr`` states all of it.

    Returns:
        64 hexadecimal digits.

    >>> fingerprint([], "a") == fingerprint([], "a") != fingerprint([], "b")
    True
    """
    sha256 = hashlib.sha256(repr(facts).encode())
    for variable in variables:
        values = np.ascontiguousarray(variable.numpy())
        sha256.update(f"{values.dtype.str} {values.shape}".encode())
        sha256.update(values.tobytes())
    return sha256.hexdigest()
