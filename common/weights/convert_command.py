"""The command line of conversion, the same options in every pillar."""

from __future__ import annotations

import argparse
import sys
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
        A parser for :func:`command` with ``source``, ``dest``, ``check``, ``bundle``.
    """
    made = argparse.ArgumentParser(program, description=description)
    add = made.add_argument
    add("source", metavar="SOURCE", help="weights of the original, or their name")
    add("dest", nargs="?", metavar="DEST", help="run folder to write")
    add("--output", metavar="DEST", help="the same as DEST")
    add("--check", action="store_true", help=check)
    add(
        "--bundle",
        action="store_true",
        help="write the network of the run folder SOURCE to DEST, without optimizer "
        "and paths, as a model that comes with the package",
    )
    return made


def command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    bundle: Callable[[str, str], None],
    argv: Sequence[str] | None,
) -> int:
    """Run the command line of a conversion.

    Args:
        parser: From :func:`parser`.
        run: Converts by the options and returns the exit code; ``dest`` is None where
            the weights are only checked.
        bundle: Writes the network of a run folder to a folder.
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        What ``run`` returns; 1 after an error, which is printed in one sentence.
    """
    options = parser.parse_intermixed_args(argv)

    def work() -> int:
        _check(options)
        if not options.bundle:
            return run(options)
        bundle(options.source, options.dest)
        sys.stdout.write(f"{options.dest}: the network of {options.source}\n")
        return 0

    return exit_code(parser.prog, work)


def _check(options: argparse.Namespace) -> None:
    """Take the one destination that is named; there must be something to do."""
    if options.dest and options.output:
        raise CheckpointError(
            f"two destinations are named, {options.dest} and {options.output}; give one"
        )
    options.dest = options.dest or options.output
    if options.dest is None and options.bundle:
        raise CheckpointError("--bundle writes a folder; name a DEST")
    if options.dest is None and not options.check:
        raise CheckpointError(
            f"nothing to do with {options.source}; name a DEST, or give --check"
        )
