"""The words of ``separate`` mean the same in the four pillars."""

from __future__ import annotations

import functools
import importlib
import io
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common import audio
from common.files import digest
from common.separation import command, report
from common.training.checkpoint import CheckpointError

jsonschema = pytest.importorskip("jsonschema")
PILLARS = ("mixit", "unmix", "adversarial", "clustering")
README = Path(command.__file__).with_name("README.md")
RATE = 8000
OWN = {
    "mixit": {"--output", "--segment", "--checkpoint", "--sample-rate"},
    "adversarial": {"--sample-rate"},
}
"""Shared flags that a pillar gives further values."""


@pytest.fixture
def parsers(monkeypatch):
    """Each pillar's parser, with all its own options."""
    actual = {}

    def of(pillar):
        def keep(parser, argv=None):
            actual["parser"] = parser
            raise SystemExit(0)

        module = importlib.import_module(f"{pillar}.separate")
        with monkeypatch.context() as patch:
            name = "parse_known_intermixed_args"
            patch.setattr(command.argparse.ArgumentParser, name, keep)
            with pytest.raises(SystemExit):
                module.main(["a.wav"])
        return actual["parser"]

    return of


def flags(parser):
    """Help, type and choices of each shared option, by flag."""
    return {
        flag: (action.dest, action.help, action.type, action.choices, action.nargs)
        for action in parser._actions
        for flag in action.option_strings
    }


@pytest.mark.parametrize("pillar", PILLARS)
def test_threads_share_a_separator(pillar):
    separator = importlib.import_module(pillar).load("mini")
    rng = np.random.default_rng(5)
    lengths = [separator.sample_rate * n // 4 for n in (1, 3, 2, 4)]
    mixtures = [rng.uniform(-0.1, 0.1, [1, n]).astype(np.float32) for n in lengths]
    expected = [separator(mixture) for mixture in mixtures]
    with ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(separator, mixtures * 2))
    for one, other in zip(expected * 2, actual, strict=True):
        for name in separator.sources:
            np.testing.assert_array_equal(other[name], one[name])


@pytest.mark.parametrize("pillar", PILLARS)
def test_shared_flags_are_the_same_in_every_pillar(parsers, pillar):
    shared, here = flags(command.make_parser("", "", "x")), flags(parsers(pillar))
    assert set(shared) <= set(here)
    own = OWN.get(pillar, set()) | {"--model", "--list"}
    assert {f for f in shared if shared[f] != here[f]} <= own


def test_the_table_of_shared_flags_is_that_of_the_code():
    rows = re.findall(r"^\| (`.+?) \|", README.read_text("utf-8"), re.MULTILINE)
    named = {flag for row in rows for flag in re.findall(r"`(--[a-z-]+)", row)}
    assert named == {f for f in flags(command.make_parser("", "", "x")) if f != "-h"}


@pytest.mark.parametrize("pillar", PILLARS)
def test_each_readme_points_to_the_table(pillar):
    readme = README.parents[2] / pillar / "README.md"
    assert "(../common/separation/README.md)" in readme.read_text("utf-8")


@pytest.mark.parametrize("pillar", PILLARS)
def test_all_words_work_in_every_pillar(pillar, tmp_path, capsys):
    main = importlib.import_module(f"{pillar}.separate").main
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, 3 * RATE // 2))
    for name in ("a/x.wav", "b/x.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        audio.write(tmp_path / "in" / name, wave.astype(np.float32), RATE, "wav16")
    (tmp_path / "in" / "b" / "bad.flac").write_bytes(b"no sound")
    model = importlib.import_module(pillar).load("mini")
    source = model.sources[0]
    out = tmp_path / "out"
    words = ["--model", "mini", "--output", str(out), "--json", "--device", "cpu"]
    words += ["--name", "{parent}/{track}/{source}", "--two-stems", source]
    words += ["--start", "0.5", "--duration", "0.5", "--format", "input", "--skip-done"]
    schema = json.loads(report.SCHEMA.read_text("utf-8"))
    for status in ("done", "skipped"):
        assert main([str(tmp_path / "in"), *words]) == 1
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line in lines:
            jsonschema.validate(line, schema)
        actual = {line["input"]["path"]: line["status"] for line in lines}
        assert sorted(actual.values()) == sorted([status, status, "failed"])
        good = next(line for line in lines if line["status"] == status)
        assert good["input"]["sha256"] == digest(tmp_path / "in" / "a" / "x.wav")
        assert re.fullmatch("[0-9a-f]{64}", good["model"]["sha256"])
    stems = [audio.read(out / "a" / "x" / f"{n}{source}.wav")[0] for n in ("", "no_")]
    part = audio.read(tmp_path / "in" / "a" / "x.wav", RATE // 2, RATE // 2)[0]
    np.testing.assert_allclose(sum(stems), part, atol=2 / 32768)
    # The command has loaded the model anew, and its digest is the same.
    assert model.digest() == good["model"]["sha256"]


@pytest.mark.parametrize("pillar", PILLARS)
def test_a_name_goes_before_a_folder_and_a_path_is_a_path(
    pillar, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini").mkdir()
    load = importlib.import_module(pillar).load
    assert load("mini").sources
    with pytest.raises(CheckpointError, match="mini"):
        load("./mini")


@pytest.mark.parametrize("pillar", PILLARS)
def test_an_unknown_home_folder_is_reported_in_one_sentence(pillar):
    load = importlib.import_module(f"{pillar}.separate").load
    with pytest.raises(FileNotFoundError, match="~no-such-user/run: the home folder"):
        load("~no-such-user/run")


def readable_samples(path):
    try:
        return audio.probe(path).samples
    except audio.AudioError:  # a header without samples
        return 0


class SlowPipe(io.BytesIO):
    """Gives a quarter of a second at a time and looks at the stems meanwhile."""

    def __init__(self, data, folder):
        super().__init__(data)
        self.folder, self.seen = folder, []

    def read(self, size):
        stems = [readable_samples(path) for path in self.folder.rglob("*.part.wav")]
        self.seen.append((self.tell(), min(stems, default=0)))
        return super().read(min(size, RATE))


@pytest.mark.parametrize("pillar", PILLARS)
def test_stems_of_a_pipe_grow_to_those_of_the_file(pillar, tmp_path, monkeypatch):
    module = importlib.import_module(f"{pillar}.separate")
    main, load = module.main, functools.cache(module.load)
    monkeypatch.setattr(module, "load", load)  # both commands run one network
    segment = 10 if pillar == "unmix" else 4  # frames of the Wiener filter are longer
    expected = load("mini", segment_seconds=segment).latency_seconds
    length = round((expected + 6) * RATE)
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, length))
    wave *= 1 + np.sin(np.arange(wave.shape[1]) / 5000)
    song = tmp_path / "stdin.wav"
    audio.write(song, wave.astype(np.float32), RATE, "wav16")
    words = ["--model", "mini", "--segment", str(segment)]
    assert main([str(song), *words, "--output", str(tmp_path / "file")]) == 0
    data, live = song.read_bytes(), tmp_path / "live"
    # A program that writes to a pipe does not know the length.
    pipe = SlowPipe(data[:4] + b"\xff" * 4 + data[8:76] + b"\xff" * 4 + data[80:], live)
    stdin = SimpleNamespace(buffer=pipe, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["-", *words, "--live", "--output", str(live)]) == 0
    stems = {path.name: path.read_bytes() for path in live.rglob("*.wav")}
    whole = {
        path.name: path.read_bytes() for path in (tmp_path / "file").rglob("*.wav")
    }
    whole.pop("stdin_original.wav", None)
    assert stems == whole
    (report_path,) = live.rglob("*report.json")
    latency = json.loads(report_path.read_text("utf-8"))["latency_seconds"]
    assert segment < latency < expected + 2.5
    early = [w for read, w in pipe.seen if read >= 4 * RATE * (expected + 3)]
    behind = [r / 4 / RATE - w / RATE for r, w in pipe.seen if r < len(data)]
    assert min(early) > RATE
    assert max(behind) <= latency + 0.25


@pytest.mark.parametrize("pillar", PILLARS)
def test_the_models_of_a_pillar_are_listed(pillar, capsys):
    main = importlib.import_module(f"{pillar}.separate").main
    with pytest.raises(SystemExit) as stop:
        main(["--list"])
    assert stop.value.code == 0
    rows = capsys.readouterr().out.splitlines()
    assert {row.split()[1] for row in rows[1:]} == {pillar}
    assert "mini" in {row.split()[0] for row in rows[1:]}
