"""The shared command line of conversion."""

import pytest

from common.weights import convert_command


def run(argv):
    seen = []
    parser = convert_command.parser("demo.convert", "Demo.", "compare")
    code = convert_command.command(
        parser,
        lambda options: seen.append(options) or 0,
        lambda *folders: seen.append(folders),
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
        (["a", "b", "--output", "c"], "two destinations are named, b and c; give one"),
    ],
)
def test_bad_options_are_one_sentence(argv, sentence, capsys):
    assert run(argv) == (1,)
    assert capsys.readouterr().err == f"demo.convert: {sentence}\n"


def test_a_run_is_bundled(capsys):
    assert run(["runs/mine", "bundled/mini", "--bundle"]) == (
        0,
        ("runs/mine", "bundled/mini"),
    )
    assert capsys.readouterr().out == "bundled/mini: the network of runs/mine\n"
