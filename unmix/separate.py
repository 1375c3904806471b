"""Separation of music: ``python -m unmix.separate song.mp3 --model umxhq``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import memory
from common.errors import exit_code
from common.separation.command import Names, add_checkpoint, command
from common.separation.separator import SeparationError, Separator
from common.weights.fingerprint import fingerprint
from unmix import light, stream, weights
from unmix.filtering.numpy_wiener import WINDOW_FRAMES, Options, grid_frames
from unmix.filtering.two_pass import TwoPassSeparator
from unmix.model import OpenUnmix

SEGMENT_SECONDS = 56.0
OVERLAP = 0.125
WHOLES = (
    {"vocals", "drums", "bass", "other"},
    {"vocals", "accompaniment"},
    {"speech", "noise"},
)
"""Sets of targets that add up to the mixture."""
FILTER_OPTIONS = (
    "niter", "softmask", "residual", "wiener_win_len", "aggregate", "alpha", "logit",
)  # fmt: skip
logger = logging.getLogger(__name__)

Sums = Mapping[str, Sequence[str]]
"""Parts of new sources, by name."""


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
    """Load the networks of several targets as a separator.

    It sets the memory allocators of the whole process, see :mod:`common.memory`.

    Args:
        path: Name of a bundled model (``singing``, ``enhance``, ``mini``) or of a
            publication (``umx``, ``umxhq``, ``umxl``, ``umxse``, ``xumx``, ``xumxhq``,
            ``xumxl``), run folder, folder as the original writes it, or file of X-UMX.
        targets: Networks to use; by default all. The filter adds the sound of missing
            targets to the others, so it is better to write fewer sources than to use
            fewer networks.
        niter: Iterations of expectation maximisation.
        softmask: Start from ratio masks instead of the phase of the mixture.
        residual: Add the rest of the mixture as one more source, under this name, or
            ``residual``.
        wiener_win_len: Frames in a window of the filter, None for a whole segment.
        aggregate: New sources as lists of the names of their parts; other sources are
            left out.
        alpha: Exponent of the ratio masks of ``softmask``.
        logit: Centre of their compression, None for none.
        segment_seconds: Longest sound in one pass; longer sound is separated in chunks.
            None separates everything in one pass, as the original does.
        overlap: Fraction of a segment that neighbouring chunks share.
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
    memory.release_memory()
    networks = weights.load(path, targets, checkpoint)
    _check_alike(networks)
    _check_whole(path, networks)
    names = [*networks]
    # The filter would turn a single target into the mixture: it needs the rest as well.
    rest = bool(residual) or (len(names) == 1 and niter > 0)
    if residual:
        names.append(residual if isinstance(residual, str) else light.RESIDUAL)
    matrix = _sums(names, len(networks) + rest, aggregate)
    options = Options(niter, softmask, rest, alpha, logit)
    network = TwoPassSeparator(networks, options, wiener_win_len, matrix)
    config = network.config
    return Separator(
        network,
        sources=list(aggregate or names),
        sample_rate=config.sample_rate,
        channels=2,
        segment_seconds=segment_seconds,
        overlap=overlap,
        named=True,
        # Chunks begin with windows of the filter.
        grid_samples=grid_frames(wiener_win_len) * config.hop_samples,
        pairs=True,
        complete=_is_complete(networks, options, bool(residual), matrix),
        digest=lambda: _digest(networks),
        watch=network.watch,
    )


def _digest(networks: Mapping[str, OpenUnmix]) -> str:
    """Compute the SHA-256 of the networks of all targets."""
    variables = [
        variable for network in networks.values() for variable in network.variables
    ]
    return fingerprint(variables, [(n, net.config) for n, net in networks.items()])


def _sums(names: Sequence[str], inputs: int, aggregate: Sums | None) -> np.ndarray:
    """Make the matrix from the filter's outputs to the sources."""
    if len(set(names)) < len(names):
        raise SeparationError(
            f"residual is named {names[-1]!r} like a target; choose another name"
        )
    sums = {name: [name] for name in names} if aggregate is None else aggregate
    matrix = np.zeros([len(sums), inputs], np.float32)
    if not all(sums.values()) or not sums:
        raise SeparationError(
            f"aggregate is {aggregate}; expected one source or more, each the sum of "
            f"some of {', '.join(names)}"
        )
    for row, (new, parts) in enumerate(sums.items()):
        unknown = [part for part in parts if part not in names]
        if unknown:
            raise SeparationError(
                f"aggregate makes {new!r} of {unknown[0]!r}, which is no source; "
                f"expected {', '.join(names)}"
            )
        matrix[row, [names.index(part) for part in parts]] = 1.0
    left_out = [n for n in names if not any(n in parts for parts in sums.values())]
    if left_out:
        logger.warning("aggregate leaves out %s", ", ".join(left_out))
    return matrix


def _is_complete(
    targets: Collection[str], options: Options, residual: bool, sums: np.ndarray
) -> bool:
    """Return whether the sources add up to the mixture, whatever it is."""
    shared = options.niter > 0 or (options.softmask and options.logit is None)
    whole = residual or any(parts <= {*targets} for parts in WHOLES)
    return bool(shared and whole and (sums.sum(0) == 1).all())


def _check_alike(networks: Mapping[str, OpenUnmix]) -> None:
    (first, one), *others = networks.items()
    for name, other in others:
        shapes = weights.shape(one), weights.shape(other)
        if shapes[0] != shapes[1] or one.precision != other.precision:
            raise SeparationError(
                f"the networks of {first} and {name} differ in shape or precision; "
                "expected one for all targets, separate them one by one"
            )


def _check_whole(path: str | Path, networks: Mapping[str, OpenUnmix]) -> None:
    """Require all networks of a bridged model, which share means."""
    if not next(iter(networks.values())).config.bridged:
        return
    missing = [name for name in weights.locate(path).paths if name not in networks]
    if missing:
        raise SeparationError(
            f"the networks of {path} are bridged, so each of them needs all; expected "
            f"{', '.join(missing)} as well, so write fewer sources instead"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if "--stream" in argv:
        return _stream(argv)
    return command(
        load,
        argv,
        "Separate music into its stems. '--stream --help' describes the separation of "
        "raw samples as they arrive. The options of the original's umx are those of "
        "umx-tf.",
        pillar="unmix",
        model="umxhq",
        configure=add_filter_options,
    )


def add_filter_options(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add the options of :func:`load` for the filter.

    Args:
        parser: The parser.
        **defaults: Of :func:`unmix.light.add_filter_options`.
    """
    light.add_filter_options(parser, **defaults)
    parser.add_argument(
        "--aggregate",
        type=parse_sums,
        metavar="JSON",
        help='write sums, such as \'{"accompaniment": ["drums", "bass", "other"]}\'',
    )


def filter_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of :func:`add_filter_options` as keywords of :func:`load`."""
    return {name: getattr(options, name) for name in FILTER_OPTIONS}


def parse_sums(text: str) -> dict[str, list[str]]:
    """Read the JSON of ``--aggregate``: new sources by the names of their parts.

    >>> parse_sums('{"accompaniment": ["drums", "bass"]}')
    {'accompaniment': ['drums', 'bass']}
    """
    try:
        sources = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    lists = isinstance(sources, dict) and all(
        isinstance(v, list) for v in sources.values()
    )
    if not lists or not sources:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no list of names by a name, such as {{"rest": ["drums"]}}'
        )
    return sources


def _stream(argv: Sequence[str]) -> int:
    """Separate standard input to standard output; return the exit code."""
    parser = argparse.ArgumentParser(
        "unmix.separate --stream", description=stream.__doc__
    )
    add = parser.add_argument
    add("--stream", action="store_true", help="separate standard input as it arrives")
    add("--model", required=True, help="run folder, or folder of the original")
    add_checkpoint(parser)
    add(
        "--targets",
        nargs="+",
        action=Names,
        metavar="SOURCE,...",
        help="write only these sources, in this order (default: all)",
    )
    add_filter_options(
        parser, niter=0, window_help="frames in a window of the filter (default: 300)"
    )
    stream.add_options(parser)
    options = parser.parse_args(argv)
    if options.named_input:
        parser.error(f"--stream reads no file; leave out {options.named_input[0]}")
    return exit_code("separate", lambda: _run_stream(options))


def _run_stream(options: argparse.Namespace) -> int:
    if sys.stdout.isatty():
        raise SeparationError(
            "standard output is a terminal, which cannot show samples; write to a file "
            "or to a player, such as > vocals.raw"
        )
    # Networks that no written source needs are left out.
    joint = options.niter or options.softmask or options.residual or options.aggregate
    separator = load(
        options.model,
        None if joint else options.targets,
        **filter_options(options),
        checkpoint=options.checkpoint,
    )
    return stream.run(separator, options)


if __name__ == "__main__":
    sys.exit(main())
