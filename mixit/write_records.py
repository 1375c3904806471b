"""Write a corpus as records ahead of the training, also by a cluster.

``python -m mixit.write_records --data ROOT --output RECORDS`` writes the splits that a
training reads; ``python -m mixit.train with fuss data_root=ROOT records=RECORDS`` opens
them instead of writing its own, if rate, encoding and skip are the same. Run again, the
command writes only missing shards.

``--beam --runner=FlinkRunner ...``, the last words, writes the same bytes on the
workers of an Apache Beam pipeline with these options, which must see ROOT and RECORDS
under the same paths.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from common import beam, records
from common.corpora import catalogue
from common.errors import exit_code
from mixit import data
from mixit.config import FUSS, MixitConfig

USED = ("train", "validation")
"""Splits that a training reads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(argv)
    return exit_code("mixit.write_records", lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    config = _config(options)
    corpus = data.find_root(options.data, options.dataset)
    spread = beam.spread(options.beam)
    for split in options.splits:
        index = data.load_records(config, corpus, split, spread=spread)
        left_out = f", {len(index.skipped)} left out" if index.skipped else ""
        sys.stdout.write(
            f"{split}: {len(index)} recordings, {index.hours:.2f} hours, "
            f"{len(index.shards)} shards{left_out}: {index.folder}\n"
        )
    return 0


def _config(options: argparse.Namespace) -> MixitConfig:
    """Return the configuration of a training that opens these records."""
    return replace(
        FUSS,
        dataset=options.dataset,
        data_root=options.data,
        records=options.output,
        records_encoding=options.encoding,
        resample=options.resample,
        skip=options.skip,
        model=replace(FUSS.model, sample_rate=options.sample_rate),
    )


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        "python -m mixit.write_records",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, metavar="ROOT", help="folder of the corpus")
    add("--output", required=True, metavar="RECORDS", help="folder of the records")
    add("--dataset", choices=list(catalogue.CORPORA), default="fuss", metavar="NAME")
    add("--splits", nargs="+", choices=list(data.SPLITS), default=list(USED))
    about = "rate of the model in Hz (default: 16000)"
    add("--sample-rate", type=int, default=16000, help=about)
    encodings = (records.AUTO, *records.ENCODINGS)
    about = "encoding of the samples (default: auto)"
    add("--encoding", choices=encodings, default=records.AUTO, help=about)
    add("--resample", action="store_true", help="resample a corpus of another rate")
    add("--skip", action="store_true", help="leave out recordings that cannot be read")
    beam.add_option(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
