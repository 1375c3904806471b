"""Damaged files are one sentence of a documented error, or are read.

``fuzz.py`` looks for more of them; what it has found stands here.
"""

import json
import random
import resource

import fuzz
import numpy as np
import pytest
import targets
from fuzz import Hunt, mutate
from targets import TARGETS, Reader, Target

from common.config import ConfigError, read_values
from common.training import run_folder
from common.training.run_folder import RunFolderError

DEEP = b"[" * 100_000
LONG = b"9" * 5000
"""Python turns no more than 4300 digits into a number."""
LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n, n, b", ".join([b"*%c" % (n - 1)] * 10))
    for n in range(ord("b"), ord("j"))
)
"""A thousand million values in 500 bytes."""


def soundscape(path):
    """An annotation of Scaper that names the sound of its event."""
    sandbox = {"scaper": {"isolated_events_audio_path": [path]}}
    event = {"value": {"label": "dog", "role": "foreground"}}
    data = {"namespace": "scaper", "data": [event], "sandbox": sandbox}
    return json.dumps({"annotations": [data]}).encode()


FINDS = {
    "card": [DEEP],
    "config": [DEEP, b'{"cluster": {"beta": 0}}', b'{"cluster.sources": 0}'],
    "downloads": [DEEP, b'{"a.pth": 3}', b'{"a.pth": [1]}'],
    "experiment": [
        DEEP, LONG, b"a: " + LONG, b"a: &a [*a]", LAUGHS, b"preset: [1]",
        b"a: !!timestamp x", b"a: !!set [1]", b"a: !!bool x", b"a: !!int ''",
    ],
    "fuss_list": [b"a.wav\t" + b"b" * 5000 + b".wav\n", b"a.wav\t~b\0.wav\n"],
    "index": [DEEP, LONG],
    "mixing_list": [DEEP],
    "pickle": [b"ccollections\nOrdered\x0bDict\n.", b"cos\nsystem\n(Vecho\ntR."],
    "report": [DEEP],
    "shard_job": [DEEP, LONG, b"[]", b'{"tracks": 3}'],
    "shard_report": [DEEP, LONG, b'{"plan": "x"}', b'{"plan": "x", "shard": []}'],
    "soundscape": [DEEP, soundscape("a" * 5000), soundscape(3), soundscape("")],
}  # fmt: skip
SLOW = {"roomsim": 8, "shard": 8, "experiment": 15}
"""Targets of which fewer inputs are read."""
INPUTS = 40


@pytest.fixture
def read(tmp_path):
    """Read contents by a target; gives the errors that it must not raise."""

    def read(name, contents):
        reader = Reader(TARGETS[name], tmp_path)
        return [error for content in contents if (error := reader(content))]

    return read


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files(name, read, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    seeds, draw = list(TARGETS[name].seeds(folder)), random.Random(0)
    count = SLOW.get(name, INPUTS)
    contents = [mutate(draw.choice(seeds), draw) for _ in range(count)]
    assert read(name, [*seeds, b"", *FINDS.get(name, []), *contents]) == []


LACKING = {"sound", "fuss_list", "soundscape", "tf1_index"}
"""Targets whose seeds need a decoder or files that are not there."""


@pytest.mark.parametrize("name", sorted(set(TARGETS) - LACKING))
def test_the_seeds_are_read(name, tmp_path):
    target = TARGETS[name]
    for content in targets.seeds(target):
        (tmp_path / target.name).write_bytes(content)
        target.read(tmp_path / target.name)


def test_values_without_end_are_refused_within_bounds(tmp_path):
    path = tmp_path / "a.yml"
    path.write_bytes(LAUGHS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="holds more than 100000 values"):
        read_values(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_run_folder_whose_record_is_nested_without_end(tmp_path):
    (tmp_path / run_folder.RECORD).write_bytes(DEEP)
    with pytest.raises(RunFolderError, match="is damaged"):
        run_folder.record(tmp_path, None, 1, "digest")


def test_a_hunt_keeps_the_shortest_input_of_each_find(tmp_path):
    def read(path):
        if b"x" in path.read_bytes():
            raise KeyError("x")

    (tmp_path / "work").mkdir()
    target = Target(read, lambda folder: [b"abc"], (ValueError,))
    hunt = Hunt(Reader(target, tmp_path / "work"), tmp_path / "finds")
    for content in (b"abc", b"longx", b"x", b"xx"):
        hunt(content)
    hunt.say()
    (find,) = [path for path in (tmp_path / "finds").iterdir() if not path.suffix]
    assert find.read_bytes() == b"x"
    facts = json.loads((tmp_path / "finds.json").read_text("utf-8"))
    assert facts["inputs"] == 4
    assert [key.split(" ")[0] for key in facts["finds"]] == ["KeyError"]


def test_mutations_differ_and_are_bounded():
    draw = random.Random(0)
    found = {mutate(bytes(100), draw) for _ in range(100)}
    assert len(found) > 90
    assert np.max([len(each) for each in found]) <= fuzz.LONGEST
