"""Compare the published models with their meta graphs, and write a report.

``./run_verify_published_weights.sh`` calls this module, which downloads those that are
not in the cache.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from common import __version__
from common.download import recorded
from common.errors import exit_code
from common.evaluation.table import markdown
from common.files import write_text
from mixit import published
from mixit.google.graph import TOLERANCE, MetaGraph
from mixit.google.restore import check, restore
from mixit.published import MODELS

HEAD = (
    "model",
    "checkpoint",
    "weights",
    "outputs",
    "rate in Hz",
    "window, hop",
    "largest difference",
    "result",
    "licence",
)


def verify(name: str) -> tuple[bool, list[str]]:
    """Compare a model with its meta graph.

    Args:
        name: Key of :data:`mixit.published.MODELS`.

    Returns:
        Whether the native network may be used, and the row of the report.
    """
    model = MODELS[name]
    try:
        prefix = published.checkpoint(name)
        network, difference = restore(prefix, sample_rate=model.sample_rate)
        if difference is None:
            difference = check(network, MetaGraph(prefix))
    except (ValueError, OSError) as error:
        reason = str(error).replace("|", "/")
        unknown = ["?"] * 5
        return False, [name, model.prefix, *unknown, reason, model.licence]
    shape = network.config
    return True, [
        name,
        prefix.name,
        f"{network.count_params():,}",
        str(shape.num_sources),
        str(shape.sample_rate),
        f"{shape.window_samples}, {shape.hop_samples}",
        f"{difference:.2g}",
        _result(name),
        model.licence,
    ]


def _result(name: str) -> str:
    """Describe the file on which a model was verified, by its address."""
    model, cached = MODELS[name], published.folder(name)
    downloads = {file: recorded(cached / file) for file in model.files}
    addresses = {
        file: download.address for file, download in downloads.items() if download
    }
    if addresses == {file: model.url(file, published=True) for file in model.files}:
        return published.VERIFIED
    host = min(addresses.values(), default="").rpartition("/")[0]
    return f"verified on a file from {host or 'an unknown address'}"


def report(rows: Sequence[Sequence[str]]) -> str:
    """Format the rows of several models as Markdown."""
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return (
        "# Published weights\n\n"
        f"{now}, tf-separation-suite {__version__}, TensorFlow {tf.__version__}. The "
        "native network was run beside the meta graph of each model on signals of "
        f"four lengths; differences are of full scale 1, and {TOLERANCE:g} is the "
        f"largest accepted one.\n\n{markdown(HEAD, rows)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Compare published models with their meta graphs, and write a report."""
    parser = argparse.ArgumentParser("mixit.google.verify", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument(
        "--report", default="published_weights.md", help="file to write"
    )
    options = parser.parse_args(argv)
    unknown = [name for name in options.names if name not in MODELS]
    if unknown:
        parser.error(f"unknown {unknown[0]}; expected {', '.join(MODELS)}")
    return exit_code("mixit.google.verify", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    results = []
    for name in options.names or MODELS:
        results.append(verify(name))
        sys.stdout.write(f"{name}: {results[-1][1][-2]}\n")
        sys.stdout.flush()
    path = Path(options.report)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, report([row for _, row in results]))
    sys.stdout.write(f"report: {path}\n")
    return 0 if all(good for good, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
