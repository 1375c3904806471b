"""Separation of singing: ``python -m adversarial.separate --input song.mp3``.

Writes ``separated/song_vocals.wav``, ``separated/song_accompaniment.wav`` and a copy of
the original.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from adversarial import convert, model, passes, runs
from adversarial.passes import Passing
from common.separation.command import command
from common.separation.outputs import Form
from common.separation.separator import SeparationError, Separator
from common.training.checkpoint import CheckpointError, is_choice, not_a_run

SEGMENT_SECONDS = 60.0
OVERLAP = 0.0
Rate = Literal["model", "input", "native"]


def load(
    path: str | Path = runs.NEWEST,
    *,
    sample_rate: Rate = "model",
    tile_frames: int | None = None,
    griffin_lim: int | None = None,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = OVERLAP,
    checkpoint: str | None = None,
    **settings: Any,
) -> Separator:
    """Make a separator of a trained network.

    Args:
        path: Run folder, of which the semi-supervised phase is taken if it is there;
            folder of a phase; prefix of a checkpoint; ``newest``: the newest run below
            ``checkpoints``; the name of a model that comes with the package; or prefix
            or folder of a checkpoint of the original.
        sample_rate: See :func:`separator`.
        tile_frames: See :func:`separator`.
        griffin_lim: See :func:`separator`.
        segment_seconds: Longest sound in one pass; longer sound goes through in blocks,
            with the estimates of one long pass.
        overlap: Part of a segment that neighbouring blocks share; at least what the
            network looks around.
        checkpoint: Of a folder: ``latest``, ``best`` or ``step-N``; by default the
            best, else the latest.
        **settings: Of a checkpoint of the original, what it does not tell: any of
            :data:`adversarial.convert.OPTIONS`.

    Returns:
        The separator, whose sources are vocals and accompaniment.

    Raises:
        CheckpointError: There is no checkpoint, or it does not fit its configuration.
        SeparationError: An option is out of its range.
    """
    return separator(
        _network(path, checkpoint, settings),
        sample_rate=sample_rate,
        tile_frames=tile_frames,
        griffin_lim=griffin_lim,
        segment_seconds=segment_seconds,
        overlap=overlap,
    )


def _network(
    path: str | Path, checkpoint: str | None, settings: dict[str, Any]
) -> model.Separator:
    """Restore what this program or the original trained."""
    unknown = [name for name in settings if name not in convert.OPTIONS]
    if unknown:
        raise TypeError(f"load() got an unexpected keyword argument {unknown[0]!r}")
    original = runs.of_original(path)
    if original is not None:
        if checkpoint is not None:
            raise not_a_run(path, checkpoint)
        restored = convert.load(original, convert.settings(**settings))
        convert.check(restored)
        return restored.separator
    given = [name for name, value in settings.items() if value is not None]
    if given:
        raise CheckpointError(
            f"{path} is a run of this program, which tells all of its network; leave "
            f"{' and '.join(given)} out"
        )
    return runs.load(path, checkpoint)


def separator(
    network: model.Separator,
    *,
    sample_rate: Rate = "model",
    tile_frames: int | None = None,
    griffin_lim: int | None = None,
    segment_seconds: float | None = SEGMENT_SECONDS,
    overlap: float = OVERLAP,
) -> Separator:
    """Make a separator of a network.

    Args:
        network: The network.
        sample_rate: ``"model"``: estimates as published, of each channel on its own;
            ``"input"``: shares of the mixture, the same for all channels, that belong
            to sound of any rate, see :func:`form`; ``"native"`` is its older name.
        tile_frames: Frames that the network estimates at once; 0: all of a segment;
            none: as its configuration says.
        griffin_lim: Rounds that improve the phase; none: as its configuration says.
        segment_seconds: Longest sound in one pass.
        overlap: Part of a segment that neighbouring blocks share.

    Raises:
        SeparationError: An option is out of its range.
    """
    if sample_rate not in get_args(Rate):
        raise SeparationError(
            f"sample_rate is {sample_rate!r}; expected {' or '.join(get_args(Rate))}"
        )
    config, geometry = network.config, network.geometry
    passing = Passing(
        config.tile_hop if tile_frames is None else tile_frames,
        config.griffin_lim if griffin_lim is None else griffin_lim,
        masks=sample_rate != "model",
    )
    return Separator(
        passes.network(network, passing),
        sources=passes.SOURCES,
        sample_rate=config.expected_sr,
        segment_seconds=segment_seconds,
        overlap=overlap,
        named=True,
        # Only shifts by whole periods leave the estimates as they are.
        grid_samples=geometry.period * config.num_hop,
        context_samples=passes.reach(network, passing),
        together=passing.masks,
    )


def form(sample_rate: Rate = "model") -> Form:
    """Tell how files are written.

    Args:
        sample_rate: ``"model"``: at the rate of the network, which is all it makes;
            ``"input"`` or ``"native"``: at that of the input, whose accompaniment takes
            what the vocals leave, with all above the network's band.
    """
    native = sample_rate != "model"
    return Form(
        "{name}_{source}",
        "{name}_original",
        "input" if native else "model",
        passes.SOURCES[1] if native else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; returns the exit code."""
    return command(
        _load,
        argv,
        "Separate singing from its accompaniment, to FOLDER/INPUT_vocals.wav and "
        "FOLDER/INPUT_accompaniment.wav beside a copy of the original.",
        model=runs.NEWEST,
        configure=_configure,
        form=lambda options: form(options["sample_rate"]),
        words={
            "input": ["-i", "--input"],
            "output": ["-o", "--output_dir"],
        },
    )


def _load(path: str, **options: Any) -> Separator:
    """Load a model; which one is the newest is told.

    The original's ``--checkpoint`` names a model.
    """
    checkpoint = options.get("checkpoint")
    if checkpoint is not None and not is_choice(checkpoint):
        if path != runs.NEWEST:
            raise CheckpointError(
                f"two models are named, {path} and {checkpoint}; give one, or choose "
                "its checkpoint: latest, best or step-N"
            )
        path = options.pop("checkpoint")
    if path != runs.NEWEST:
        return load(path, **options)
    found = runs.newest()
    sys.stdout.write(f"newest run: {runs.locate(found)}\n")
    return load(found, **options)


def _configure(parser: argparse.ArgumentParser) -> None:
    """Add what :func:`load` takes."""
    add = parser.add_argument
    add(
        "--sample-rate",
        default="input",
        choices=get_args(Rate),
        help="of the stems: that of the input (or native), of which the vocals are "
        "taken below half the model's rate and all else is accompaniment, or that of "
        "the model, as published (default: %(default)s)",
    )
    add(
        "--tile-frames",
        type=int,
        metavar="FRAMES",
        help="frames that are estimated at once, 0 for all of a segment (default: the "
        "model's own)",
    )
    add(
        "--griffin-lim",
        type=int,
        metavar="ROUNDS",
        help="rounds that improve the phase (default: the model's own, mostly 0)",
    )
    convert.add_options(parser)


if __name__ == "__main__":
    sys.exit(main())
