"""The command line of export, with the same options in every package."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import exit_code
from common.files import digest, replacing_folder, user_path, write_json
from common.separation.command import add_checkpoint
from common.separation.exported import CHUNKS, CONFIG, SUFFIXES, VERSION
from common.separation.separator import Separator
from common.training.checkpoint import CheckpointError
from common.training.network_file import BuiltNetwork

SEED = 7
SECONDS = 2.0
NO_LOOPS = "it has recurrent layers, whose loops TFLite does not convert"
MOST = {"savedmodel": 0.0, "onnx": 1e-5, "tflite": 1e-5}
"""Largest difference from our network, relative to the peak of its output."""


@dataclass(frozen=True)
class Export:
    """The export of a package.

    Attributes:
        package: Name of the package.
        separator: Separator of the network, as the reference.
        core: The network as a function of one tensor, from :func:`core_module`.
        example: Input of the core of some size.
        write_onnx: Writes its graphs to a folder.
        load_onnx: Returns the separator of that folder.
        settings: Further values for ``load_onnx``, as JSON.
        refused: Why a format is impossible, by its name.
    """

    package: str
    separator: Separator
    core: Any
    example: np.ndarray
    write_onnx: Callable[[Path], None]
    load_onnx: Callable[[Path], Separator]
    settings: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def core_module(
    network: BuiltNetwork | list[BuiltNetwork],
    call: Callable[[tf.Tensor], object],
    spec: tf.TensorSpec,
) -> Any:
    """Make the module to save: the variables, and one function of them.

    Args:
        network: The network with the variables, or several.
        call: The function.
        spec: Specification of its input.
    """
    module: Any = tf.Module()
    # The variables alone: of a whole model, Keras saves functions of each layer.
    several = network if isinstance(network, list) else [network]
    module.weights = [network.variables for network in several]
    module.separate = tf.function(call, input_signature=[spec], autograph=False)
    return module


def require_float32(network: tf.Module) -> None:
    """Refuse a network that computes in half precision, which exports do not support.

    Raises:
        CheckpointError: One of its layers does.
    """
    for layer in network.submodules:
        types = (
            getattr(layer, name, "float32")
            for name in ("product_dtype", "compute_dtype")
        )
        half = [dtype for dtype in types if dtype not in ("float32", None)]
        if half:
            raise CheckpointError(
                f"{layer.name} computes in {half[0]}, which cannot be exported; train "
                "with train.precision=float32, or export as savedmodel"
            )


def command(
    program: str,
    description: str | None,
    prepare: Callable[..., Export],
    argv: Sequence[str] | None,
) -> int:
    """Run the command line of an export.

    Args:
        program: Name such as ``"mixit.export"``.
        description: First line of the help.
        prepare: ``prepare(model, checkpoint)`` returns the export.
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0, or 1 after an error, which is printed in one sentence.
    """
    options = _parser(program, description).parse_args(argv)
    return exit_code(program, lambda: _run(prepare, options))


def _parser(program: str, description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program, description=description)
    add = parser.add_argument
    add("model", metavar="MODEL", help="name of a model, run folder or checkpoint")
    add(
        "--format",
        choices=sorted(SUFFIXES),
        default="onnx",
        help="onnx for separation without TensorFlow by the package's command light; "
        "savedmodel or tflite for programs of your own (default: onnx)",
    )
    add(
        "--output",
        required=True,
        metavar="FOLDER",
        help="folder for the network and its config.json",
    )
    add_checkpoint(parser)
    add("--overwrite", action="store_true", help="replace a folder that exists")
    return parser


def _run(prepare: Callable[..., Export], options: argparse.Namespace) -> int:
    export = prepare(options.model, options.checkpoint)
    folder = user_path(options.output)
    difference = write(export, options.format, folder, overwrite=options.overwrite)
    most = MOST[options.format]
    limit = f"at most {most:g} of the peak" if most else "to the bit"
    sys.stdout.write(
        f"{folder}: {options.model} as {options.format}; largest difference from the "
        f"network {difference:.3g} ({limit})\n"
    )
    return 0


def write(
    export: Export, form: str, folder: str | Path, *, overwrite: bool = False
) -> float:
    """Export a network to a folder, after a check that the result equals the network.

    Args:
        export: The export.
        form: ``"onnx"``, ``"savedmodel"`` or ``"tflite"``.
        folder: The folder.
        overwrite: Whether it may replace another one.

    Returns:
        Largest difference of the outputs, relative to the peak of those of the network.

    Raises:
        CheckpointError: The network cannot be exported so, or the result differs.
    """
    if form in export.refused:
        others = " or ".join(name for name in SUFFIXES if name not in export.refused)
        raise CheckpointError(
            f"{form} cannot hold this network: {export.refused[form]}; use --format "
            f"{others}"
        )
    writers = {"onnx": _onnx, "savedmodel": _savedmodel, "tflite": _tflite}
    with replacing_folder(folder, overwrite=overwrite) as draft:
        difference = writers[form](export, draft)
        if not difference <= MOST[form]:
            raise CheckpointError(
                f"the {form} file differs from the network by {difference:.3g} of the "
                f"peak; expected at most {MOST[form]:g}, so nothing is written"
            )
        return difference


def _onnx(export: Export, folder: Path) -> float:
    """Write the graphs, and compare the stems of a sound."""
    export.write_onnx(folder)
    _describe(export, "onnx", folder)
    separator = export.separator
    mixture = sound(separator.channels, separator.sample_rate)
    expected = np.stack([*separator(mixture).values()])
    actual = np.stack([*export.load_onnx(folder)(mixture).values()])
    return _difference(actual, expected)


def _savedmodel(export: Export, folder: Path) -> float:
    level = logging.getLogger("tensorflow").level
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        tf.saved_model.save(export.core, str(folder))
        again = tf.saved_model.load(str(folder))
    finally:
        logging.getLogger("tensorflow").setLevel(level)
    _describe(export, "savedmodel", folder)
    example = tf.constant(export.example)
    actual, expected = again.separate(example), export.core.separate(example)
    return _difference(_array(actual), _array(expected))


def _tflite(export: Export, folder: Path) -> float:
    function = export.core.separate.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], export.core)
    try:
        with _quiet():
            content = converter.convert()
    except Exception as error:
        missing = sorted(set(re.findall(r"'tf\.(\w+)' op", str(error))))
        raise CheckpointError(
            "tflite cannot hold this network: it has no operation for "
            f"{', '.join(missing) or 'some of its parts'}; choose onnx or savedmodel"
        ) from error
    (folder / "model.tflite").write_bytes(content)
    _describe(export, "tflite", folder)
    expected = export.core.separate(tf.constant(export.example))
    return _difference(_run_tflite(content, export.example), _array(expected))


def _run_tflite(content: bytes, example: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        # TensorFlow announces that its interpreter will move to another package.
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=content)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, example.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, example)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return _array([interpreter.get_tensor(output["index"]) for output in outputs])


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output of the compiler on standard error."""
    before = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:  # noqa: PTH123 (a device)
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _array(outputs: object) -> np.ndarray:
    """Join all outputs into one array [values]."""
    return np.concatenate([np.ravel(output) for output in tf.nest.flatten(outputs)])


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    peak = float(np.abs(expected).max()) or 1.0
    return float(np.abs(np.ravel(actual) - np.ravel(expected)).max()) / peak


def _describe(export: Export, form: str, folder: Path) -> None:
    """Write the description, with the digest of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    separator = export.separator
    config = {
        "version": VERSION,
        "package": export.package,
        "format": form,
        "separator": {name: getattr(separator, name) for name in CHUNKS},
        "settings": export.settings,
        "files": {path.relative_to(folder).as_posix(): digest(path) for path in files},
    }
    write_json(config, folder / CONFIG)


def sound(channels: int, sample_rate: int, seconds: float = SECONDS) -> np.ndarray:
    """Make a test sound: two intermittent harmonic tones and noise.

    Args:
        channels: Number of channels, each with another balance.
        sample_rate: In Hz.
        seconds: Length.

    Returns:
        Float32 [channels, samples].
    """
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tones = [_tone(110.0, 3.0, time), _tone(277.2, 1.7, time)]
    noise = np.random.default_rng(SEED).normal(0.0, 0.03, [channels, len(time)])
    balance = np.linspace(0.2, 0.8, channels)[:, np.newaxis] if channels > 1 else 0.5
    mixture = balance * tones[0] + (1.0 - balance) * tones[1] + noise
    return np.asarray(0.5 * mixture, np.float32)


def _tone(pitch: float, rate: float, time: np.ndarray) -> np.ndarray:
    """Make a harmonic tone [samples] that swells and fades ``rate`` times a second."""
    waves = (np.sin(2 * np.pi * n * pitch * time) / n for n in range(1, 9))
    return np.sin(np.pi * rate * time) ** 2 * sum(waves)
