"""Both spellings of a command line, and Sacred's record of the run."""

import json
from dataclasses import dataclass, replace

import pytest

from common import experiment as e
from common.files import claimed
from common.training.run_folder import LOCK


@dataclass(frozen=True)
class Model:
    layers: int = 3
    width: int = 8


@dataclass(frozen=True)
class Filter:
    width: int = 8


@dataclass(frozen=True)
class Config:
    RENAMED = {"rate": "lr"}  # noqa: RUF012

    model: Model = Model()
    filter: Filter = Filter()
    lr: float = 0.1
    seed: int = 0
    seq_dur: float = 6.0
    flag: bool = False
    switch: bool | None = None
    names: tuple[str, ...] = ()
    output: str | None = None


def command(main):
    presets = {"small": Config(), "large": Config(lr=0.5)}
    return e.Command("pillar.train", presets, "small", main, aliases={"-md": "output"})


@pytest.mark.parametrize(
    "line",
    [
        "with large model.layers=7 seq_dur=2 flag=true",
        "--check with large layers=7 seq_dur=2 flag=True",
        "--preset large --model.layers 7 --seq-dur 2.0 --flag",
        "--preset=large --layers=7 --seq_dur=2 --flag true --no-flag --flag",
    ],
)
def test_spellings_mean_the_same(line):
    cmd = command(None)
    request = e.parse(cmd, line.split())
    config = e.configure(cmd, request)
    assert config == Config(Model(7), lr=0.5, seq_dur=2.0, flag=True)
    assert request.check == ("--check" in line)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("with lrr=1", "unknown configuration key 'lrr'; did you mean 'lr'?"),
        ("--lrr 1", "unknown configuration key '--lrr'; did you mean 'lr'?"),
        ("with lr=abc", "lr='abc': expected a number"),
        ("with large small", "two presets, 'large' and 'small'"),
        ("width=4", "key 'width' could be model.width or filter.width"),
        ("--no-flag=true", "unknown configuration key '--no-flag=true'"),
        ("bogus", "'bogus' is neither a preset (small, large)"),
        ("names=a b", "several values of a key are separated by commas, key=a,b"),
        ("--lr", "--lr needs a value after it"),
        ("--output --check", "--output needs a value after it, not --check"),
        ("with lr=nan", "lr='nan': expected a number"),
        (f"with lr=1{'0' * 400}", "expected a number"),
    ],
)
def test_bad_lines_are_reported_in_one_sentence(line, sentence, capsys):
    assert e.run(command(None), line.split()) == 1
    text = capsys.readouterr().err
    assert sentence in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("large with large", Config(lr=0.5)),
        ("--names a b lr=3", Config(names=("a", "b"), lr=3)),
        ("--names a b --flag", Config(names=("a", "b"), flag=True)),
        ("--names a b large", Config(names=("a", "b"), lr=0.5)),
        ("--names a,b", Config(names=("a", "b"))),
        ("--switch", Config(switch=True)),
        ("--no-switch", Config(switch=False)),
    ],
)
def test_words_and_flags(line, expected):
    cmd = command(None)
    assert e.configure(cmd, e.parse(cmd, line.split())) == expected


def test_files_may_have_keys_of_earlier_releases(tmp_path):
    (tmp_path / "a.yml").write_text("rate: 0.25\nmodel: {layers: 2}")
    cmd = command(None)
    request = e.parse(cmd, [str(tmp_path / "a.yml")])
    assert e.configure(cmd, request) == Config(Model(2), lr=0.25)


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_only_tiny_presets_train_without_a_corpus(more, tmp_path, capsys):
    seen = []
    cmd = replace(
        command(lambda config, check: seen.append(check) or 0),
        presets={"small": Config(), "large": Config(), "tiny": Config()},
        without_corpus=lambda config: "root is not set",
    )
    line = [f"output={tmp_path}", *more]
    assert e.run(cmd, ["large", *line]) == 1
    assert capsys.readouterr().err == "pillar.train: root is not set\n"
    assert e.run(cmd, ["tiny", *line]) == 0
    assert seen == [bool(more)]


def test_workers_leave_the_run_folder_to_the_chief(tmp_path, monkeypatch):
    task = {"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    folder = tmp_path / "run"
    assert e.run(command(lambda config, check: 0), [f"output={folder}"]) == 0
    assert not folder.exists()


def test_a_pillar_may_name_the_run_folder(tmp_path):
    seen = []
    cmd = replace(
        command(lambda config, check: seen.append(config.output) or 0),
        folder=lambda config: str(tmp_path / f"lr{config.lr}"),
    )
    assert e.run(cmd, ["large"]) == 0
    assert e.run(cmd, ["large", f"output={tmp_path / 'own'}"]) == 0
    assert seen == [str(tmp_path / "lr0.5"), str(tmp_path / "own")]


def test_run_is_recorded(tmp_path):
    seen = []

    def main(config, check):
        seen.append((config, check))
        return 0

    line = ["with", "large", "seed=3", "-md", str(tmp_path / "räum 1")]
    assert e.run(command(main), line) == 0
    expected = Config(lr=0.5, seed=3, output=str(tmp_path / "räum 1"))
    assert seen == [(expected, False)]
    record = tmp_path / "räum 1" / "sacred" / "1"
    assert json.loads((record / "config.json").read_text())["lr"] == 0.5
    assert json.loads((record / "run.json").read_text())["status"] == "COMPLETED"


def test_a_failure_is_recorded_and_reported(tmp_path, capsys):
    def main(config, check):
        raise ValueError("nothing to train on; name a folder")

    assert e.run(command(main), [f"output={tmp_path}"]) == 1
    assert capsys.readouterr().err.endswith("nothing to train on; name a folder\n")
    record = json.loads((tmp_path / "sacred" / "1" / "run.json").read_text())
    assert record["status"] == "FAILED"


def test_exit_code_of_main_is_kept(tmp_path):
    assert e.run(command(lambda config, check: 3), [f"output={tmp_path}"]) == 3


def test_output_is_named_by_date(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOT_DIR", str(tmp_path))
    seen = []
    assert (
        e.run(command(lambda c, _: seen.append(c.output) or 0), ["with", "large"]) == 0
    )
    assert seen[0].startswith(str(tmp_path / "pillar" / "large" / "20"))


def test_unwritable_output(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = [f"output={tmp_path / 'file' / 'run'}"]
    assert e.run(command(lambda c, _: 0), line) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_usage_and_configuration_are_shown(capsys):
    assert e.run(command(None), ["--help"]) == 0
    text = capsys.readouterr().out
    assert "model.layers=3: a whole number" in text
    assert e.run(command(None), ["print_config", "with", "large", "seed=3"]) == 0
    text = capsys.readouterr().out
    for line in ("lr = 0.5", "seed = 3", "layers = 3"):
        assert line in text
    assert "\x1b" not in text  # colours are for terminals


def test_colours_of_the_configuration_reach_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert e.run(command(None), ["print_config", "seed=3"]) == 0
    assert "\x1b[" in capsys.readouterr().out


def test_the_seed_of_sacred_is_that_of_the_training(tmp_path, capsys):
    @dataclass(frozen=True)
    class Train:
        seed: int = 42

    @dataclass(frozen=True)
    class Trained:
        train: Train = Train()
        output: str | None = None

    trained = e.Command("a.train", {"a": Trained()}, "a", lambda config, check: 0)
    assert e.run(trained, ["print_config"]) == 0
    assert capsys.readouterr().out.count("seed = 42") == 2
    assert e.run(trained, [f"output={tmp_path}", "seed=7"]) == 0
    record = json.loads((tmp_path / "sacred" / "1" / "config.json").read_text())
    assert (record["seed"], record["train"]) == (7, {"seed": 7})


def test_a_run_that_another_process_trains_is_not_touched(tmp_path, capsys):
    with claimed(tmp_path / LOCK):
        assert e.run(command(None), [f"output={tmp_path}"]) == 1
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert "is being trained by another process" in capsys.readouterr().err


def test_a_run_folder_may_have_letters_of_patterns(tmp_path):
    folder = tmp_path / "run [1] *?"
    assert e.run(command(lambda config, check: 0), [f"output={folder}"]) == 0
    record = json.loads((folder / "sacred" / "1" / "run.json").read_text())
    assert record["status"] == "COMPLETED"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
