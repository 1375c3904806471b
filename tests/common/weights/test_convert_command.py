"""The shared command line of conversion."""

import numpy as np
import pytest

from common.separation.separator import Separator
from common.weights import convert_command
from common.weights.bundled import BUNDLED, Form
from common.weights.card import Card


def separator(error=0.0):
    """A network that halves its input, or nearly so."""
    return Separator(
        lambda batch: np.stack([0.5 * batch, (0.5 + error) * batch], axis=1),
        sources=["a", "b"],
        sample_rate=8000,
    )


def run(argv, errors=None):
    seen = []
    parser = convert_command.parser("demo.convert", "Demo.", "compare")
    code = convert_command.command(
        parser,
        lambda options: seen.append(options) or 0,
        lambda *call: seen.append(call) or Card("Small", ("a", "b"), 8000, 1),
        lambda folder: separator((errors or {}).get(folder, 0.0)),
        argv,
    )
    return code, *seen


@pytest.mark.parametrize("argv", [["a", "b"], ["a", "--output", "b"]])
def test_a_destination_is_named_in_two_ways(argv):
    code, given = run(argv)
    assert (code, given.source, given.dest, given.check) == (0, "a", "b", False)


def test_a_check_needs_no_destination():
    assert run(["a", "--check"])[1].dest is None


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["a"], "nothing to do with a; name a DEST, or give --check"),
        (["a", "--bundle"], "--bundle writes a folder; name a DEST"),
        (["a", "--publish"], "--publish writes a folder; name a DEST"),
        (
            ["a", "b", "--bundle", "--publish"],
            "--bundle is for the package and --publish for others; give one",
        ),
        (
            ["a", "b", "--half"],
            "--half and --licence belong to --bundle and --publish; give one of these, "
            "or leave them out",
        ),
        (
            ["a", "b", "--bundle", "--check"],
            "--check has no effect with --bundle and --publish, which write the "
            "best weights of a run; leave it out",
        ),
        (["a", "b", "--output", "c"], "two destinations are named, b and c; give one"),
    ],
)
def test_bad_options_are_reported_in_one_sentence(argv, sentence, capsys):
    assert run(argv) == (1,)
    assert capsys.readouterr().err == f"demo.convert: {sentence}\n"


def test_a_run_is_bundled(capsys):
    assert run(["runs/mine", "bundled/mini", "--bundle"]) == (
        0,
        ("runs/mine", "bundled/mini", BUNDLED),
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("bundled/mini: the network of runs/mine, whose estimates")
    assert first.endswith("are the same to the bit")
    assert second.startswith("licence: not stated; held-out score: not measured;")
    assert second.endswith("bundled/mini/card.json says so")


def test_a_run_is_published_in_half_precision(capsys):
    words = ["runs/mine", "out", "--publish", "--half", "--licence", "MIT"]
    assert run(words, {"out": 0.005})[1] == (
        "runs/mine",
        "out",
        Form(True, True, "MIT"),
    )
    assert "whose estimates differ by -40.0 dB\n" in capsys.readouterr().out
