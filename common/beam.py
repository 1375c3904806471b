"""Spread work over the workers of an Apache Beam pipeline, such as those of a cluster.

Nothing else imports Beam, which ``pip install '.[beam]'`` installs. The workers return
nothing: what they make is in files, on a disk that all machines see under one path.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence

Spread = Callable[[Callable[[str], None], Sequence[str]], None]
"""Function that calls another one with each of several job files, on any machine."""


class PipelineError(OSError):
    """A pipeline that cannot run, or that ended before its work was done."""


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--beam``, which takes all words that follow as options of a pipeline."""
    parser.add_argument(
        "--beam",
        nargs=argparse.REMAINDER,
        metavar="OPTION",
        help="make the files by an Apache Beam pipeline; all words that follow are "
        "options of Beam, such as --runner=DirectRunner",
    )


def spread(arguments: Sequence[str] | None) -> Spread | None:
    """Return the function that spreads work over a pipeline, None without options."""
    return None if arguments is None else functools.partial(run, arguments=arguments)


def run(
    work: Callable[[str], None], jobs: Sequence[str], *, arguments: Sequence[str]
) -> None:
    """Call a function with each of several jobs, on the workers of a pipeline.

    Args:
        work: A function of a module, which every worker must have installed. A runner
            may call it twice with the same job, also at the same time.
        jobs: What to call it with, such as the paths of files.
        arguments: Options of Beam, such as ``--runner=FlinkRunner``.

    Raises:
        PipelineError: Beam is not installed, or the pipeline failed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise PipelineError(
            f"Apache Beam cannot be loaded ({error}); pip install "
            "'tf-separation-suite[beam]', or leave out --beam."
        ) from error
    try:
        with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
            names = pipeline | "Jobs" >> beam.Create(list(jobs))
            _ = names | beam.Reshuffle() | "Work" >> beam.Map(work)
    # A runner passes on the error of a worker, of any class, or one of its own.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise PipelineError(
            f"The pipeline failed ({lines[-1].strip()}); mend this and give the same "
            "command, which goes on with what is missing."
        ) from error
