"""Tensors that another program wrote, by its names, and whether they fit a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from common.training.checkpoint import CheckpointError


def demand_fit(
    source: str,
    wanted: Collection[str],
    found: Mapping[str, Any],
    misfit: Callable[[str], list[str]],
) -> None:
    """Refuse tensors that are not exactly those of a network, and name them all.

    Args:
        source: Where they come from, for the error.
        wanted: Names of the tensors of the network.
        found: The tensors by name.
        misfit: Tells what is wrong with a tensor that is wanted and found, in no or
            some phrases.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite.

    >>> demand_fit("a.pth", ["w"], {"w": 1.0}, lambda name: [])
    """
    problems = [f"missing {name}" for name in wanted if name not in found]
    problems += [f"extra {name}" for name in found if name not in wanted]
    for name in sorted(found.keys() & set(wanted)):
        problems += misfit(name)
    if problems:
        raise CheckpointError(
            f"{source}: {len(problems)} tensors do not fit the network: "
            f"{'; '.join(problems)}"
        )
