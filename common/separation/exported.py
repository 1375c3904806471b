"""Exported networks, run by onnxruntime: separation without TensorFlow.

A folder that ``python -m X.export`` wrote holds the network's graphs and
``config.json``, which states how sound is divided for them and the digest of each.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import digest
from common.separation import command as separation
from common.separation.separator import Network, Separator

CONFIG = "config.json"
VERSION = 1
KEYS = {"version", "package", "format", "separator"}
SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite", "savedmodel": ""}
CHUNKS = (
    "sources", "sample_rate", "channels", "segment_seconds", "overlap", "named",
    "grid_samples", "pairs", "context_samples", "together", "complete",
)  # fmt: skip
"""Attributes of a separator that the folder keeps."""


class ExportError(ValueError):
    """A folder without an exported network, or with an unexpected one."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        folder: Its folder.
        config: Contents of its ``config.json``.
    """

    folder: Path
    config: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the network, as its package wrote them."""
        settings: dict[str, Any] = self.config["settings"]
        return settings

    def session(self, name: str) -> Callable[..., np.ndarray]:
        """Load a graph as a function of its inputs that returns its first output.

        Args:
            name: Name of its file, without the suffix.

        Raises:
            ExportError: The file is missing or damaged, or there is no onnxruntime.
        """
        path = self.folder / f"{name}{SUFFIXES['onnx']}"
        _check_digest(path, self.config["files"].get(path.name))
        runtime = _runtime()
        options = runtime.SessionOptions()
        # An arena keeps its largest size, once for each length of sound.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        # Waiting threads would spin, for a third more time of the processor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads := os.environ.get("OMP_NUM_THREADS"):
            options.intra_op_num_threads = int(threads)
        session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        names = [tensor.name for tensor in session.get_inputs()]

        def run(*inputs: np.ndarray) -> np.ndarray:
            feeds = dict(zip(names, inputs, strict=True))
            output: np.ndarray = session.run(None, feeds)[0]
            return output

        return run

    def separator(self, network: Network, **options: Any) -> Separator:
        """Make a separator of a network.

        Args:
            network: From waveforms to waveforms.
            **options: Attributes of the separator that differ from the exported ones.
        """
        return Separator(network, **{**self.config["separator"], **options})


def opened(folder: str | Path, package: str) -> Exported:
    """Open a folder that the export of a package wrote as ONNX.

    Raises:
        ExportError: It is not such a folder.

    >>> opened("nowhere", "mixit")
    Traceback (most recent call last):
        ...
    common.separation.exported.ExportError: nowhere holds no config.json of an export; \
expected a folder that python -m mixit.export MODEL --format onnx wrote
    """
    folder = Path(folder)
    expected = f"a folder that python -m {package}.export MODEL --format onnx wrote"
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(
            f"{folder} holds no {CONFIG} of an export; expected {expected}"
        ) from error
    if not isinstance(config, dict) or not config.keys() >= KEYS:
        raise ExportError(f"{folder} is not an exported network; expected {expected}")
    if (config["package"], config["format"]) != (package, "onnx"):
        raise ExportError(
            f"{folder} holds a network of {config['package']} as {config['format']}; "
            f"expected {expected}"
        )
    if not isinstance(config["version"], int) or config["version"] > VERSION:
        raise ExportError(
            f"{folder} has version {config['version']} and this program reads up to "
            f"{VERSION}; update it"
        )
    return Exported(folder, config)


def command(
    load: Callable[..., Separator],
    argv: Sequence[str] | None,
    description: str,
    **options: Any,
) -> int:
    """Run the command line of a separation without TensorFlow.

    Args:
        load: Returns the separator of a folder.
        argv: Arguments without the program's name; None takes those of the process.
        description: First line of the help.
        **options: Of :func:`common.separation.command.command`.

    Returns:
        The exit code.
    """
    # Not a function within this one, as other processes have to load as well.
    of_folder = functools.partial(_of_folder, load)
    return separation.command(of_folder, argv, description, **options)


def _of_folder(
    load: Callable[..., Separator],
    path: str,
    checkpoint: str | None = None,
    **settings: Any,
) -> Separator:
    if checkpoint is not None:
        raise ExportError(
            f"{path} holds one network and no checkpoints; leave {checkpoint} out"
        )
    return load(path, **settings)


def _check_digest(path: Path, expected: str | None) -> None:
    if not path.is_file() or expected is None:
        raise ExportError(f"{path} is missing; export the network again")
    actual = digest(path)
    if actual != expected:
        raise ExportError(
            f"{path} is damaged: its SHA-256 begins with {actual[:8]}, expected "
            f"{expected[:8]}; export the network again"
        )


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            f"the package onnxruntime is missing ({error}); install it: pip install "
            "onnxruntime"
        ) from error
    return onnxruntime
