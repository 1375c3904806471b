"""Time and size of the exports of the bundled models, in each format that they have.

``python benchmarks/exporting.py`` writes ``exporting.md`` beside itself; ``--quick``
exports as ONNX alone and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import turns
from light_runtime import PILLARS, spend

FORMATS = "onnx", "savedmodel", "tflite"
REFUSED = {("unmix", "tflite"), ("clustering", "tflite")}
"""Recurrent networks, whose loops TFLite does not convert."""


def measure(folder: Path, pillar: str, form: str) -> str:
    """Export a model; return a row of the table."""
    if (pillar, form) in REFUSED:
        return f"| `{pillar}/mini` | {form} | refused, it has loops | | | |"
    output = folder / f"{pillar}-{form}"
    words = f"{pillar}.export", "mini", "--format", form, "--output", str(output)
    cost = spend(*words, python=sys.executable)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    return (
        f"| `{pillar}/mini` | {form} | {cost.wall:.1f} | {cost.cpu:.1f} | "
        f"{cost.megabytes:.0f} | {size / 1e6:.2f} |"
    )


def main() -> int:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    lines = [
        "# Export",
        "",
        "Written by `python benchmarks/exporting.py`; from the start of the command to "
        "its end, which includes the comparison with the network that it was made of.",
        "",
        "| model | format | wall s | CPU s | peak MB | size MB |",
        "|---|---|---|---|---|---|",
    ]
    for pillar in PILLARS:
        for form in FORMATS[:1] if options.quick else FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                lines.append(measure(Path(folder), pillar, form))
            sys.stderr.write(f"{lines[-1]}\n")
    turns.publish(["\n".join([*lines, ""])], __file__, options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
