"""Separation while the sound arrives: its options, and a stem to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import IO, Any

from common.audio.encoding import GROWING
from common.audio.pipes import PipeWriter
from common.separation.batch import Settings, describe_latency
from common.separation.files import Delay, check_latency, separated_blocks
from common.separation.inputs import STANDARD_INPUT, Input, excerpt
from common.separation.outputs import INPUT, check_targets
from common.separation.separator import SeparationError
from common.separation.workers import Loader

STANDARD_OUTPUT = "-"
WAVS = ("wav", "wav16", "wav24")
"""Formats that standard output takes."""


def check(options: Mapping[str, Any]) -> None:
    """Refuse options of the command line that cannot be used with pipes.

    Args:
        options: The options that all packages share.

    Raises:
        SeparationError: An option cannot be used.

    >>> check({"input": ["a"], "output": "b", "raw": None, "live": False})
    """
    reads = STANDARD_INPUT in options["input"]
    writes = options["output"] == STANDARD_OUTPUT
    if options["raw"] and not reads:
        raise SeparationError(
            "raw describes standard input, which is not among the inputs; add -"
        )
    if writes:
        _check_output(options)
    if options["live"] and options["format"] not in (*GROWING, INPUT):
        raise SeparationError(
            f"format is {options['format']}, which cannot be read while it is written; "
            f"with --live expected {', '.join(GROWING)}"
        )
    if reads and (writes or options["live"]):
        _check_input(options)


def _check_output(options: Mapping[str, Any]) -> None:
    if len(options["targets"] or ()) != 1:
        raise SeparationError(
            "standard output takes one stem; choose it by --targets, such as "
            "--targets vocals"
        )
    if options["format"] not in WAVS:
        raise SeparationError(
            f"format is {options['format']}, which standard output does not take; "
            f"expected {', '.join(WAVS)}"
        )
    if options["json"]:
        raise SeparationError(
            "--json and the stem would both be written to standard output; "
            "leave one of them out"
        )


def _check_input(options: Mapping[str, Any]) -> None:
    if options["input"] != [STANDARD_INPUT] or options["jobs"] > 1:
        raise SeparationError(
            "standard input is separated as it arrives, without other inputs; name no "
            "other input and leave --jobs out"
        )
    if options["format"] == INPUT:
        raise SeparationError(
            "format is input, which is unknown for standard input as it arrives; "
            "choose a format"
        )


def write_to_stdout(loader: Loader, inputs: Sequence[Input], settings: Settings) -> int:
    """Write a stem to standard output while its sound is read.

    Args:
        loader: Loads the model.
        inputs: One input.
        settings: Settings of the output, with one target.

    Returns:
        The exit code.

    Raises:
        SeparationError: Standard output is a terminal or was closed.

    >>> write_to_stdout(Loader(abs, "mini", {}), [], Settings("-"))
    Traceback (most recent call last):
    ...
    common.separation.separator.SeparationError: standard output takes the stem of \
one input, not of 0; name one
    """
    if len(inputs) != 1:
        raise SeparationError(
            f"standard output takes the stem of one input, not of {len(inputs)}; "
            "name one"
        )
    if sys.stdout.isatty():
        raise SeparationError(
            "standard output is a terminal, which cannot show samples; write to a file "
            "or to a player, such as | ffplay -"
        )
    sink = sys.stdout.buffer
    with redirect_stdout(sys.stderr):
        try:
            line = _write_to_stdout(loader, inputs[0], settings, sink)
        except BrokenPipeError as error:
            # Otherwise Python would fail on the closed pipe again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())
            raise SeparationError(
                "standard output was closed before the sound ended"
            ) from error
    sys.stderr.write(f"separate: {line}\n")
    return 0


def _write_to_stdout(
    loader: Loader, item: Input, settings: Settings, sink: IO[bytes]
) -> str:
    separator = loader()
    check_latency(separator)
    check_targets(separator, settings.targets)
    (target,) = settings.targets or ()
    index, form = list(separator.sources).index(target), settings.form
    sound = excerpt(item.pipe or item.path, settings.part, counted=False)
    rate = separator.sample_rate if form.rate == "model" else sound.sample_rate
    writer = PipeWriter(sink, rate, sound.channels, settings.format)
    delay = Delay()
    sys.stderr.write(
        f"separate: {target} of {item.label}: {sound.channels} channels at {rate} Hz, "
        f"{describe_latency(separator)}\n"
    )
    for _, stems in separated_blocks(separator, sound, form, delay=delay):
        writer.write(stems[index])
    clipped = f", {writer.clipped} samples clipped" if writer.clipped else ""
    return (
        f"{item.label}: {target} of {writer.samples / rate:.1f} s, up to "
        f"{delay.most:.2f} s behind the sound{clipped}"
    )
