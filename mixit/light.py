"""Separation without TensorFlow: ``python -m mixit.light mix.wav --model FOLDER``.

``FOLDER`` is the output of ``python -m mixit.export`` with ``--format onnx``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.separation.exported import command, opened
from common.separation.separator import Separator


def load(path: str | Path, **options: Any) -> Separator:
    """Make a separator of an exported network.

    Args:
        path: Folder that :mod:`mixit.export` wrote.
        **options: ``segment_seconds`` and ``overlap``, by default as exported.

    Raises:
        ExportError: The folder holds no such network, or a damaged one.
    """
    exported = opened(path, "mixit")
    return exported.separator(exported.session("model"), **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the separation; return the exit code."""
    return command(load, argv, "Separate sound files into unnamed sources.")


if __name__ == "__main__":
    sys.exit(main())
