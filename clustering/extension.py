"""Import a network, a loss or a corpus of the user by its import path.

A path is ``package.module:name``. The module must be installed, on PYTHONPATH, or in
the folder in which ``python -m`` is called.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from common.config import ConfigError
from common.corpora.track import CorpusError

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


@contextlib.contextmanager
def located(key: str, path: str) -> Iterator[None]:
    """Name the file and the line of an error within the code of the user.

    Args:
        key: Key of the configuration.
        path: The import path that it names; other values are code of this package,
            whose errors are not changed.

    Raises:
        ConfigError: The code raises an error.

    >>> with located("kind", "my_nets:Small"):
    ...     3 / 0
    Traceback (most recent call last):
    common.config.ConfigError: kind='my_nets:Small': ZeroDivisionError: division by \
zero; SEPARATION_TRACEBACK=1 shows all calls
    """
    try:
        yield
    except (ConfigError, CorpusError, OSError, MemoryError):
        raise  # written for the user, or explained by common.errors
    except Exception as error:
        if not is_path(path):
            raise
        raise ConfigError(
            f"{key}={path!r}: {type(error).__name__}{_place(path, error)}: "
            f"{_first_paragraph(error)}; SEPARATION_TRACEBACK=1 shows all calls"
        ) from error


def expect_shape(
    key: str, path: str, what: str, value: Any, axes: Mapping[str, int | None]
) -> None:
    """Check a result of the user's code.

    Args:
        key: Key of the configuration, for errors.
        path: The import path that it names.
        what: The result in words, such as ``"mask"``.
        value: The result.
        axes: Length of each axis by its name, None for any length.

    Raises:
        ConfigError: It is no tensor of floats, or has another shape.
    """
    import tensorflow as tf

    if not tf.is_tensor(value):
        found = f"is {type(value).__name__}"
    elif not value.shape.is_compatible_with(list(axes.values())):
        found = f"has the shape {tuple(value.shape)}"
    elif not value.dtype.is_floating:
        found = f"is {value.dtype.name}"
    else:
        return
    expected = ", ".join(
        name if n is None else f"{name} {n}" for name, n in axes.items()
    )
    raise ConfigError(
        f"{key}={path!r}: its {what} {found} in a trial; expected a float tensor "
        f"[{expected}]"
    )


def _named(key: str, path: str) -> object:
    module, _, name = path.partition(":")
    with located(key, path):
        imported = _imported(key, path, module)
    if not hasattr(imported, name):
        raise ConfigError(f"{key}={path!r}: {imported.__name__} has no {name!r}")
    return getattr(imported, name)


def _imported(key: str, path: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"{key}={path!r}: there is no module {error.name!r}; install it, or put "
            "its folder on PYTHONPATH"
        ) from error


def _place(path: str, error: Exception) -> str:
    """Return the line of the module of a path that an error came through, if any."""
    module = path.partition(":")[0]
    lines = [
        f" in {Path(frame.f_code.co_filename).name}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") == module
    ]
    return lines[-1] if lines else ""


def _first_paragraph(error: Exception) -> str:
    """Return what an error says, without the context that Keras adds to it."""
    paragraphs = str(error).split("\n\n")
    is_of_keras = paragraphs[0].startswith("Exception encountered when calling")
    text = paragraphs[1] if is_of_keras and len(paragraphs) > 1 else paragraphs[0]
    return " ".join(text.split()).rstrip(".")
