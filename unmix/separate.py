"""Separation of music: ``python -m unmix.separate song.mp3 --model umxhq``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.separation.command import command
from common.separation.separator import SeparationError, Separator
from common.training import memory
from unmix import stream_command, weights
from unmix.model import OpenUnmix
from unmix.passes import Filtering, Passes
from unmix.source_options import Residual, sums

SEGMENT_SECONDS = 56.0
OVERLAP = 0.125
WINDOW_FRAMES = 300
RESIDUAL = "residual"
WHOLES = {"vocals", "drums", "bass", "other"}, {"speech", "noise"}
logger = logging.getLogger(__name__)

Sums = Mapping[str, Sequence[str]]
"""Targets that a new source is the sum of, by its name."""


def load(  # noqa: PLR0913 (each is one independent choice)
    path: str | Path,
    targets: Sequence[str] | None = None,
    niter: int = 1,
    softmask: bool = False,
    residual: bool | str = False,
    wiener_win_len: int | None = WINDOW_FRAMES,
    aggregate: Sums | None = None,
    *,
    alpha: float = 1.0,
    logit: float | None = None,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = OVERLAP,
    checkpoint: str | None = None,
) -> Separator:
    """Make a separator of the networks of several targets.

    Args:
        path: Name of a publication (``umx``, ``umxhq``, ``umxl``, ``umxse``), run
            folder, or folder as the original writes it.
        targets: Networks to use; by default all. What the others would take is then
            left in these, so write fewer sources rather than use fewer networks.
        niter: Rounds of expectation maximisation.
        softmask: Begin with shares of the mixture instead of its phase.
        residual: Add what the targets leave of the mixture as one more source, under
            this name, or ``residual``.
        wiener_win_len: Frames that are filtered at once, None for all of a segment.
        aggregate: New sources by the names of those that they are the sum of; others
            are left out.
        alpha: Exponent of the shares of ``softmask``.
        logit: Centre of their compression, None for none.
        segment_seconds: Longest sound in one pass; longer sound goes through in blocks.
            None takes everything in one pass, as the original does.
        overlap: Part of a segment that neighbouring blocks share.
        checkpoint: Of a run folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.

    Returns:
        The separator, for stereo; mono is copied to both channels, more than two are
        separated in pairs.

    Raises:
        CheckpointError: The weights are missing, damaged or of another shape.
        SeparationError: A name is not that of a source, or the networks do not fit.

    >>> load("mini").sources
    ('vocals', 'drums', 'bass', 'other')
    """
    memory.keep()
    memory.give_back()
    networks = weights.load(path, targets, checkpoint)
    _check_alike(networks)
    names = [*networks]
    # Of a single target the filter would make the mixture: it needs the rest as well.
    rest = bool(residual) or (len(names) == 1 and niter > 0)
    if residual:
        names.append(residual if isinstance(residual, str) else RESIDUAL)
    matrix = _sums(names, len(networks) + rest, aggregate)
    filtering = Filtering(niter, softmask, rest, wiener_win_len, alpha, logit)
    passes = Passes(networks, filtering, matrix)
    config = passes.config
    return Separator(
        passes,
        sources=list(aggregate or names),
        sample_rate=config.sample_rate,
        channels=2,
        segment_seconds=segment_seconds,
        overlap=overlap,
        named=True,
        # Blocks begin where the filter's windows do.
        grid_samples=(wiener_win_len or 1) * config.hop_samples,
        pairs=True,
        complete=bool(
            (residual or _make_up_all(networks)) and (matrix.sum(0) == 1).all()
        ),
    )


def _make_up_all(names: Iterable[str]) -> bool:
    """Say whether targets make up all of a mixture."""
    return any(whole <= {*names} for whole in WHOLES)


def _sums(names: Sequence[str], inputs: int, aggregate: Sums | None) -> np.ndarray:
    """Matrix from the filter's outputs to the sources."""
    if len(set(names)) < len(names):
        raise SeparationError(
            f"residual is named {names[-1]!r} like a target; choose another name"
        )
    wanted = {name: [name] for name in names} if aggregate is None else aggregate
    matrix = np.zeros([len(wanted), inputs], np.float32)
    for row, (new, parts) in enumerate(wanted.items()):
        unknown = [part for part in parts if part not in names]
        if unknown:
            raise SeparationError(
                f"aggregate makes {new!r} of {unknown[0]!r}, which is no source; "
                f"expected {', '.join(names)}"
            )
        matrix[row, [names.index(part) for part in parts]] = 1.0
    left_out = [n for n in names if not any(n in parts for parts in wanted.values())]
    if left_out:
        logger.warning("aggregate leaves out %s", ", ".join(left_out))
    return matrix


def _check_alike(networks: Mapping[str, OpenUnmix]) -> None:
    (first, one), *others = networks.items()
    for name, other in others:
        if (other.config, other.precision) != (one.config, one.precision):
            raise SeparationError(
                f"the networks of {first} and {name} differ in shape or precision; "
                "expected one for all targets, separate them one by one"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if "--stream" in argv:
        return stream_command.main(load, argv)
    return command(
        load,
        argv,
        "Separate music into its stems; --stream --help tells how to separate raw "
        "samples from standard input while they come. The options of the original's "
        "umx belong to umx-tf.",
        model="umxhq",
        configure=_configure,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`load` takes."""
    add = parser.add_argument
    add("--niter", type=int, default=1, help="rounds of the filter (default: 1)")
    add("--softmask", action="store_true", help="begin with shares of the mixture")
    add(
        "--residual",
        nargs="?",
        const=True,
        default=False,
        action=Residual,
        metavar="NAME",
        help="also write what the targets leave of the mixture",
    )
    add(
        "--wiener-win-len",
        type=int,
        default=WINDOW_FRAMES,
        metavar="FRAMES",
        help="frames that are filtered at once (default: %(default)s)",
    )
    add(
        "--aggregate",
        type=sums,
        metavar="JSON",
        help='write sums, such as \'{"accompaniment": ["drums", "bass", "other"]}\'',
    )
    add("--alpha", type=float, default=1.0, help="exponent of the shares of --softmask")
    add("--logit", type=float, help="centre of their compression")


if __name__ == "__main__":
    sys.exit(main())
