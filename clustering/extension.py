"""Import a network, a loss or a corpus of the user by its import path.

A path is ``package.module:name``. The module must be installed, on PYTHONPATH, or in
the folder in which ``python -m`` is called.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from common.config import ConfigError

if TYPE_CHECKING:
    import tf_keras as keras

PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_path(value: str) -> bool:
    """Return whether a value is an import path.

    >>> is_path("my_nets.small:Small"), is_path("dpcl")
    (True, False)
    """
    return PATH.fullmatch(value) is not None


def function(key: str, path: str) -> Callable[..., Any]:
    """Import a function.

    Args:
        key: Key of the configuration, for errors.
        path: Its import path.

    Raises:
        ConfigError: There is no such module or name, or it cannot be called.

    >>> function("dataset", "math:floor")(2.5)
    2
    """
    value = _named(key, path)
    if not callable(value):
        raise ConfigError(f"{key}={path!r}: {value!r} is no function")
    return value


def network(path: str, roles: Sequence[str]) -> type[keras.Model]:
    """Import the class of a network.

    Args:
        path: Its import path, the value of ``kind``.
        roles: Values that its attribute ``role`` may have.

    Raises:
        ConfigError: There is no such module or name, or it is not such a class.
    """
    import tf_keras as keras

    value = _named("kind", path)
    if not (isinstance(value, type) and issubclass(value, keras.Model)):
        raise ConfigError(f"kind={path!r}: expected a subclass of tf_keras.Model")
    role = getattr(value, "role", None)
    if role not in roles:
        raise ConfigError(
            f"kind={path!r}: its attribute role is {role!r}; expected one of "
            f"{', '.join(roles)}, whose input and outputs it must have"
        )
    return value


def _named(key: str, path: str) -> object:
    module, _, name = path.partition(":")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"{key}={path!r}: there is no module {error.name!r}; install it, or put "
            "its folder on PYTHONPATH"
        ) from error
    if not hasattr(imported, name):
        raise ConfigError(f"{key}={path!r}: {imported.__name__} has no {name!r}")
    return getattr(imported, name)
