"""Arguments of the modules that nussl describes its models by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Modules = dict[str, dict[str, Any]]
"""Class and arguments of the modules of a model, by name."""

REQUIRED = object()
"""Default of an argument that has none."""


class GraphError(ValueError):
    """A graph that none of our networks computes."""


class Arguments:
    """The arguments of one module, which must all be understood.

    Args:
        name: Name of the module.
        values: Its arguments.
        known: Default by name of those that may have several values.
        fixed: Value by name of those that our network has one value of.

    Raises:
        GraphError: An argument is unknown, missing, or has another value.
    """

    def __init__(
        self,
        name: str,
        values: Mapping[str, Any],
        known: Mapping[str, Any],
        fixed: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.values = {**known, **values}
        for key, value in self.values.items():
            if key not in known and key not in fixed:
                raise GraphError(f"module {name} has the unknown argument {key}")
            if value is REQUIRED:
                raise GraphError(f"module {name} lacks the argument {key}")
            self.demand(key, fixed.get(key, value))

    def demand(self, key: str, wanted: Any) -> None:
        """Refuse another value than that which our network has."""
        if self.values.get(key, wanted) != wanted:
            raise self.error(key, repr(wanted))

    def size(self, key: str) -> int:
        """Take a whole number above 0."""
        value = self.values[key]
        if type(value) is not int or value < 1:
            raise self.error(key, "a whole number above 0")
        return value

    def error(self, key: str, expected: str) -> GraphError:
        """Make the sentence on a value."""
        value = str(self.values[key])[:80]
        return GraphError(
            f"module {self.name} has {key}={value}; expected {expected}, for which "
            "there is a network here"
        )
