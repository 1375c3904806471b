"""Check that the tensors of another program fit a network, by their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from common.training.checkpoint import CheckpointError


def check_fit(
    source: str,
    expected: Collection[str],
    tensors: Mapping[str, object],
    misfit: Callable[[str], list[str]],
) -> None:
    """Refuse tensors that are not exactly those of a network, naming all that differ.

    Args:
        source: File or model that holds them, for the message.
        expected: Names of the tensors of the network.
        tensors: The tensors of the file by name.
        misfit: Returns what is wrong with a tensor that both sides have, as phrases;
            none if it fits.

    Raises:
        CheckpointError: Tensors are missing, extra, misshapen or not finite.

    >>> check_fit("a.pth", ["w"], {"w": 1.0}, lambda name: [])
    """
    problems = [f"missing {name}" for name in expected if name not in tensors]
    problems += [f"extra {name}" for name in tensors if name not in expected]
    for name in sorted(tensors.keys() & set(expected)):
        problems += misfit(name)
    if problems:
        raise CheckpointError(
            f"{source}: {len(problems)} tensors do not fit the network: "
            f"{'; '.join(problems)}"
        )
