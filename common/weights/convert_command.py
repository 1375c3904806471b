"""The command line of conversion, with the same options in every package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import exit_code
from common.separation.separator import Separator
from common.training.checkpoint import CheckpointError
from common.weights import bundled, card
from common.weights.bundled import Form
from common.weights.card import Card

OF_BUNDLES = {"source", "dest", "output", "bundle", "publish", "half", "licence"}
"""Words of the command line that ``--bundle`` and ``--publish`` use."""


def parser(
    program: str, description: str | None, check: str
) -> argparse.ArgumentParser:
    """Make the parser of a conversion, to which a package adds its own options.

    Args:
        program: Name such as ``"mixit.convert"``.
        description: First line of the help.
        check: What ``--check`` does, for its help.

    Returns:
        A parser for :func:`command` with ``source``, ``dest``, ``check``, ``bundle``,
        ``publish``, ``half`` and ``licence``.
    """
    made = argparse.ArgumentParser(program, description=description)
    add = made.add_argument
    add("source", metavar="SOURCE", help="weights to read, or the name of a model")
    add("dest", nargs="?", metavar="DEST", help="folder to write")
    add("--output", metavar="DEST", help="the same as DEST")
    add("--check", action="store_true", help=check)
    group = made.add_argument_group("models without the state of their training")
    add = group.add_argument
    add(
        "--bundle",
        action="store_true",
        help="write the network of the run folder SOURCE to DEST, without optimizer "
        "and paths, as a model that comes with the package",
    )
    add(
        "--publish",
        action="store_true",
        help="write it to a new folder DEST, with a model card, to be published",
    )
    add(
        "--half",
        action="store_true",
        help="store matrices in float16, and print the resulting error",
    )
    add("--licence", metavar="SPDX", help="licence of the weights, for the card")
    return made


def command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    bundle: Callable[[str, str, Form], Card],
    load: Callable[[str], Separator],
    argv: Sequence[str] | None,
) -> int:
    """Run the command line of a conversion.

    Args:
        parser: From :func:`parser`.
        run: Converts by the options and returns the exit code; ``dest`` is None if the
            weights are only checked.
        bundle: Writes the network of a run folder to a folder.
        load: Returns the separator of either folder.
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        What ``run`` returns; 1 after an error, which is printed in one sentence.
    """
    options = parser.parse_intermixed_args(argv)

    def work() -> int:
        _check(options, parser)
        if not (options.bundle or options.publish):
            return run(options)
        form = Form(options.half, options.publish, options.licence)
        about = bundle(options.source, options.dest, form)
        distortion = bundled.stored_sdr(load(options.source), load(options.dest))
        sys.stdout.write(
            f"{options.dest}: the network of {options.source}, {_loss(distortion)}\n"
            f"licence: {about.licence}; held-out score: {about.score}; "
            f"{Path(options.dest) / card.NAME} says so\n"
        )
        return 0

    return exit_code(parser.prog, work)


def _loss(distortion: float) -> str:
    if distortion == float("inf"):
        return "whose estimates are the same to the bit"
    return f"whose estimates differ by {-distortion:.1f} dB"


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Check the options, and use DEST and --output as one destination."""
    if options.dest and options.output:
        raise CheckpointError(
            f"two destinations are named, {options.dest} and {options.output}; give one"
        )
    options.dest = options.dest or options.output
    if options.bundle and options.publish:
        raise CheckpointError(
            "--bundle is for the package and --publish for others; give one"
        )
    for name in ("bundle", "publish"):
        if options.dest is None and getattr(options, name):
            raise CheckpointError(f"--{name} writes a folder; name a DEST")
    other = [name for name in vars(options) if name not in OF_BUNDLES]
    for name in other if options.bundle or options.publish else ():
        if getattr(options, name) != parser.get_default(name):
            raise CheckpointError(
                f"--{name.replace('_', '-')} has no effect with --bundle and "
                "--publish, which write the best weights of a run; leave it out"
            )
    if not (options.bundle or options.publish) and (options.half or options.licence):
        raise CheckpointError(
            "--half and --licence belong to --bundle and --publish; give one of these, "
            "or leave them out"
        )
    if options.dest is None and not options.check:
        raise CheckpointError(
            f"nothing to do with {options.source}; name a DEST, or give --check"
        )
