"""SHA-256 of a network in memory, which identifies the model of stems."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np


class Variable(Protocol):
    """An object with values, such as a variable of TensorFlow."""

    def numpy(self) -> np.ndarray:
        """Return the values."""


def fingerprint(variables: Iterable[Variable], *facts: object) -> str:
    """Compute the SHA-256 of a network.

    Args:
        variables: Its variables, in their order.
        *facts: All else that its output depends on, such as a configuration, with a
            complete ``repr``.

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
