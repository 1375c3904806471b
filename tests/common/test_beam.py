"""Work on the workers of an Apache Beam pipeline, where Beam is installed."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import pytest

from common import beam

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None


def double(job):
    """Write a file beside another one, or fail."""
    path = Path(job)
    if path.name == "bad":
        raise OSError("the disk is full")
    path.with_suffix(".done").write_text(2 * path.read_text())


def test_options_after_beam_are_those_of_the_pipeline():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int)
    beam.add_option(parser)
    words = ["--runner=DirectRunner", "--jobs", "7"]
    parsed = parser.parse_args(["--jobs", "2", "--beam", *words])
    assert (parsed.jobs, parsed.beam) == (2, words)
    assert parser.parse_args(["--beam"]).beam == []
    assert beam.spread(parser.parse_args([]).beam) is None


def test_a_missing_beam_is_reported_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(beam.PipelineError, match=r"pip install 'tf-separation-suite\["):
        beam.run(double, ["a"], arguments=[])


@pytest.mark.slow
@pytest.mark.skipif(not HAS_BEAM, reason="Beam is not installed")
@pytest.mark.filterwarnings("default")  # those of Beam and of its requirements
def test_a_pipeline_does_each_job_or_says_what_failed(tmp_path):
    jobs = [tmp_path / f"{number} ä" for number in range(5)]
    for job in jobs:
        job.write_text(job.name)
    spread = beam.spread(["--runner=DirectRunner"])
    spread(double, list(map(str, jobs)))
    assert [job.with_suffix(".done").read_text() for job in jobs] == [
        2 * job.name for job in jobs
    ]
    with pytest.raises(beam.PipelineError, match=r"the disk is full.*goes on"):
        spread(double, [str(tmp_path / "bad")])
