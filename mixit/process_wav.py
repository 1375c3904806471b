"""Google's ``process_wav`` command line in the words of this suite.

``python -m mixit.separate -i mix.wav -o out.wav -m MODEL`` writes ``out_source0.wav``,
``out_source1.wav``, ... as Google's program does, but all of them, at any sample rate
and for any number of channels, in blocks, and as 32-bit floats, which do not clip.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common import audio
from common.errors import exit_code
from common.files import refuse_overwriting
from common.separation.files import separate_file
from common.separation.outputs import Form, stem_paths, working_folder
from common.separation.separator import SeparationError, Separator

MARKS = {"-i", "--input", "-m", "--model_dir"}
TRUE, FALSE = (
    {"true", "t", "yes", "y", "on", "1"},
    {"false", "f", "no", "n", "off", "0"},
)


def is_meant(argv: Sequence[str]) -> bool:
    """Say whether arguments are in Google's words.

    >>> is_meant(["-i", "mix.wav", "-o", "out.wav", "-m", "model"])
    True
    >>> is_meant(["mix.wav", "--model", "model"])
    False
    """
    return any(word.split("=")[0] in MARKS for word in argv)


def main(load: Callable[..., Separator], argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("separate", lambda: _main(load, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mixit.separate", description=__doc__)
    add = parser.add_argument
    add("-i", "--input", required=True, help="sound file, of any format and rate")
    add("-o", "--output", required=True, help="X.wav writes X_source0.wav, ...")
    add("-m", "--model_dir", help="run folder, or folder of a TF1 checkpoint")
    add("-c", "--checkpoint", help="run folder or prefix of a TF1 checkpoint")
    add("-ic", "--input_channels", type=int, default=0, help="use the first ones only")
    add("-oc", "--output_channels", type=int, default=0, help="write the first only")
    add("-ns", "--num_sources", type=int, default=0, help="must be the model's number")
    add("-bs", "--block_size_in_seconds", type=float, help="longest part in one pass")
    add("-sr", "--sample_rate", type=int, help="expected rate of the file in Hz")
    add("-it", "--input_tensor", help="with --metagraph: name of the input")
    add("-ot", "--output_tensor", help="with --metagraph: name of the output")
    add("-si", "--scale_input", type=_truth, default=False)
    add("-wos", "--write_outputs_separately", type=_truth, default=True)
    add("-wt", "--window_type", help="no effect: blocks are crossfaded exactly")
    add("-pi", "--permutation_invariant", type=_truth, default=True)
    add("--metagraph", action="store_true", help="run the shipped graph as it is")
    add("--format", default="wav", choices=list(audio.FORMATS))
    add("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _main(load: Callable[..., Separator], options: argparse.Namespace) -> int:
    _check(options)
    separator = load(options.checkpoint or options.model_dir, **_load_options(options))
    have = len(separator.sources)
    if options.num_sources not in (0, have):
        raise SeparationError(
            f"--num_sources is {options.num_sources}, but the model has {have} "
            "outputs; leave it out, and give --output_channels to write the first only"
        )
    wanted = separator.sources[: options.output_channels or have]
    output = Path(options.output)
    pattern = output.stem.replace("{", "{{").replace("}", "}}") + "_{source}"
    form, source = Form(pattern), Path(options.input)
    paths = stem_paths(separator, source, output.parent, options.format, wanted, form)
    refuse_overwriting(paths.values(), [source])
    with working_folder(output.parent) as hidden:
        summary = separate_file(
            separator,
            _first_channels(options, hidden),
            output.parent,
            format=options.format,
            targets=wanted,
            overwrite=options.overwrite,
            form=form,
        )
    summary = dataclasses.replace(
        summary, name=source.name, folder=output.parent.resolve()
    )
    sys.stdout.write(f"{summary}\n")
    return 0


def _check(options: argparse.Namespace) -> None:
    if not (options.checkpoint or options.model_dir):
        raise SeparationError("--model_dir is not given; name the folder of a model")
    if options.scale_input:
        raise SeparationError(
            "--scale_input is not supported: levels are kept and 32-bit floats do not "
            "clip; leave it out"
        )
    if not options.write_outputs_separately:
        raise SeparationError(
            "--write_outputs_separately=false is not supported: every source gets a "
            "file of its own, with all channels of the input; leave it out"
        )
    info = audio.probe(options.input)
    if options.sample_rate not in (None, info.sample_rate):
        raise SeparationError(
            f"--sample_rate is {options.sample_rate}, but {options.input} has "
            f"{info.sample_rate} Hz; leave it out, the file is resampled as needed"
        )
    if not 0 <= options.input_channels <= info.channels:
        raise SeparationError(
            f"--input_channels is {options.input_channels}, but {options.input} has "
            f"{info.channels}; expected 0 for all to {info.channels}"
        )


def _load_options(options: argparse.Namespace) -> dict[str, object]:
    names = ("input_tensor", "output_tensor")
    given = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if given and not options.metagraph:
        raise SeparationError(
            "--input_tensor and --output_tensor name tensors of a meta graph; give "
            "--metagraph to run it, or leave them out"
        )
    if options.block_size_in_seconds is not None:
        given["segment_seconds"] = options.block_size_in_seconds
    return {"metagraph": True, **given} if options.metagraph else given


def _first_channels(options: argparse.Namespace, folder: Path) -> Path:
    """Write the first channels to a file of their own where not all are wanted."""
    source = Path(options.input)
    info, count = audio.probe(source), options.input_channels
    if count in (0, info.channels):
        return source
    part = folder / f"{source.stem}.wav"
    with audio.Writer(part, info.sample_rate, count) as writer:
        for block in audio.blocks(source, info.sample_rate):
            writer.write(block[:count])
    return part


def _truth(word: str) -> bool:
    if word.lower() in TRUE | FALSE:
        return word.lower() in TRUE
    raise argparse.ArgumentTypeError(f"{word!r} is neither true nor false")
