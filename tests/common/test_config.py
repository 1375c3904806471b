"""Typed overrides, and errors for keys and values that do not fit."""

import functools
from dataclasses import dataclass
from typing import Literal

import pytest

from common import config as c


@dataclass(frozen=True)
class Inner:
    layers: int = 3
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    lr: float = 0.1
    name: str | None = None
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    widths: tuple[int, ...] = (1, 2)
    words: tuple[str, ...] = ()
    pair: tuple[float, float] | None = None
    steps: tuple[tuple[int, float], ...] = ()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lr", "5e-4", 5e-4),
        ("lr", 2, 2.0),
        ("inner.layers", "7", 7),
        ("name", "1e3", "1e3"),
        ("name", "none", None),
        ("name", "a=b c", "a=b c"),
        ("flag", "true", True),
        ("kind", "b", "b"),
        ("widths", "4,5", (4, 5)),
        ("widths", "[4, 5, 6]", (4, 5, 6)),
        ("widths", "9", (9,)),
        ("words", "x,y", ("x", "y")),
        ("pair", "-5,5", (-5.0, 5.0)),
        ("steps", "((0, 0.8), (10, 3.2))", ((0, 0.8), (10, 3.2))),
        ("steps", [[0, 1]], ((0, 1.0),)),
    ],
)
def test_texts_become_the_types_of_their_fields(key, text, value):
    changed = c.override(Outer(), {key: text})
    actual = functools.reduce(getattr, key.split("."), changed)
    # 2 and True equal 2.0 and 1, but are written otherwise.
    assert repr(actual) == repr(value)


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"lr": "abc"}, "lr='abc': expected a number"),
        ({"lr": "true"}, "lr='true': expected a number"),
        ({"lr": "-" * 100_000}, "-': expected a number"),
        ({"inner.layers": "2.5"}, "inner.layers='2.5': expected a whole number"),
        ({"flag": "1"}, "flag='1': expected true or false"),
        ({"kind": "c"}, "expected one of 'a', 'b'"),
        ({"widths": "1,x"}, "expected a list, each item a whole number"),
        ({"pair": "5"}, "pair='5': expected a list of 2: a number, a number or none"),
        ({"steps": "((0.5, 1),)"}, "each item a list of 2: a whole number, a number"),
        ({"layer": 1}, "unknown configuration key 'layer'"),
        ({"inner.layer": 1}, "did you mean 'inner.layers'"),
        ({"inner": 1}, "unknown configuration key 'inner'"),
        ({"lr.x": 1}, "unknown configuration key 'lr.x'"),
    ],
)
def test_what_does_not_fit_is_reported(updates, sentence):
    with pytest.raises(c.ConfigError, match=sentence):
        c.override(Outer(), updates)


def test_saved_and_loaded(tmp_path):
    config = c.override(Outer(), {"inner.layers": 9, "name": "é", "widths": "3"})
    c.save(config, tmp_path / "config.json")
    assert c.load(Outer, tmp_path / "config.json") == config
    (tmp_path / "config.json").write_text('{"lrr": 1}')
    sentence = r"key 'lrr' \(did you mean 'lr'\?\); expected a configuration of tests"
    with pytest.raises(c.ConfigError, match=sentence):
        c.load(Outer, tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"lr": ')
    with pytest.raises(c.ConfigError, match="not a readable configuration"):
        c.load(Outer, tmp_path / "config.json")


def test_yaml_files(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("inner:\n  layers: 4\nlr: 5e-4\nname: null\n")
    changed = c.override(Outer(), c.read_values(path))
    assert (changed.inner.layers, changed.lr, changed.name) == (4, 5e-4, None)
    path.write_text("- 1\n- 2\n")
    with pytest.raises(c.ConfigError, match="holds a list"):
        c.read_values(path)
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(c.ConfigError, match="cannot be read"):
        c.read_values(path)
    with pytest.raises(c.ConfigError, match=r"absent.yml: No such file .*; check the"):
        c.read_values(tmp_path / "absent.yml")
    with pytest.raises(c.ConfigError, match="Is a directory; name a file"):
        c.read_values(tmp_path)


def test_a_choice_may_be_called_none():
    @dataclass(frozen=True)
    class Choice:
        kind: Literal["none", "l1"] = "l1"

    assert c.override(Choice(), {"kind": "none"}).kind == "none"
    assert c.from_dict(Choice, {"kind": "none"}).kind == "none"
    with pytest.raises(c.ConfigError, match="expected one of 'none', 'l1'"):
        c.override(Choice(), {"kind": "l2"})


def test_many_known_keys_are_counted_and_few_listed():
    assert c.unknown_key("-F", ["lr", "epochs"]).endswith("; known: lr, epochs")
    many = [f"key_{number}" for number in range(21)]
    assert c.unknown_key("-F", many, in_help=True).endswith(
        "; --help lists the 21 known ones"
    )
