"""The command line of conversion, the same options in every pillar."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from common.errors import exit_code
from common.training.checkpoint import CheckpointError


def parser(
    program: str, description: str | None, check: str
) -> argparse.ArgumentParser:
    """Make the parser of a conversion, to which a pillar adds its own options.

    Args:
        program: Name such as ``"mixit.convert"``.
        description: First line of the help.
        check: What ``--check`` does, for its help.

    Returns:
        A parser for :func:`command` with ``source``, ``dest`` and ``check``.
    """
    made = argparse.ArgumentParser(program, description=description)
    add = made.add_argument
    add("source", metavar="SOURCE", help="weights of the original, or their name")
    add("dest", nargs="?", metavar="DEST", help="run folder to write")
    add("--output", metavar="DEST", help="the same as DEST")
    add("--check", action="store_true", help=check)
    return made


def command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Run the command line of a conversion.

    Args:
        parser: From :func:`parser`.
        run: Converts by the options and returns the exit code; ``dest`` is None where
            the weights are only checked.
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        What ``run`` returns; 1 after an error, which is printed in one sentence.
    """
    options = parser.parse_intermixed_args(argv)
    return exit_code(parser.prog, lambda: run(_checked(options)))


def _checked(options: argparse.Namespace) -> argparse.Namespace:
    """Take the one destination that is named; there must be something to do."""
    if options.dest and options.output:
        raise CheckpointError(
            f"two destinations are named, {options.dest} and {options.output}; give one"
        )
    options.dest = options.dest or options.output
    if options.dest is None and not options.check:
        raise CheckpointError(
            f"nothing to do with {options.source}; name a DEST, or give --check"
        )
    return options
