"""A run folder holds one run, of this release or an earlier one."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from common.config import ConfigError, load
from common.files import claimed
from common.training.run_folder import (
    LOCK,
    RunFolderError,
    alone,
    divided,
    name,
    path_of,
    prepare,
    record,
)
from common.training.schedule import Schedule

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Now:
    """Configuration of this release."""

    REMOVED_CHOICES = {"added": {"old": "default"}}  # noqa: RUF012
    RENAMED = {"rate": "lr", "tower": None, "deep": "train.seed"}  # noqa: RUF012

    train: Schedule = Schedule()
    lr: float = 0.1
    batch_size: int = 4
    added: str = "default"
    records_encoding: str = "auto"
    output: str | None = None


def begun(folder, values):
    (folder / "latest").mkdir()
    (folder / "latest" / "step-1.index").touch()
    (folder / "config.json").write_text(json.dumps(values))


def test_a_configuration_without_output_has_no_run_folder(tmp_path):
    assert path_of(Now(output=str(tmp_path))) == tmp_path
    with pytest.raises(RunFolderError, match="output is not set; name the run folder"):
        path_of(Now())


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path):
    sentence = f"output={tmp_path} is being trained by another process; wait for its"
    with (
        claimed(tmp_path / LOCK),  # as another process does
        pytest.raises(RunFolderError, match=re.escape(sentence)),
        alone(tmp_path),
    ):
        pass
    with alone(tmp_path), alone(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert not list(tmp_path.iterdir())


def test_a_lock_that_a_kill_left_blocks_nobody(tmp_path):
    code = (
        "import os; from pathlib import Path; from common.training import run_folder\n"
        f"with run_folder.alone(Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert killed.returncode == -9
    assert (tmp_path / LOCK).exists()
    with alone(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_keys_of_earlier_releases_are_accepted(tmp_path):
    begun(tmp_path, {"rate": 0.3, "tower": 5, "deep": 7, "train": {"epochs": 2}})
    config = Now(Schedule(epochs=2, seed=7), lr=0.3)
    assert load(Now, tmp_path / "config.json") == config
    prepare(tmp_path, config)


def test_a_removed_choice_can_be_read_but_not_trained(tmp_path):
    begun(tmp_path, {"rate": 0.3, "added": "old"})
    assert load(Now, tmp_path / "config.json") == Now(lr=0.3)
    with pytest.raises(RunFolderError, match=r"with added='old', which this release"):
        prepare(tmp_path, Now(lr=0.3))
    assert json.loads((tmp_path / "config.json").read_text())["added"] == "old"


@pytest.mark.parametrize("change", [{"lr": 0.2}, {"added": "x"}, {"batch_size": 5}])
def test_another_configuration_raises(tmp_path, change):
    begun(tmp_path, {"rate": 0.3})
    with pytest.raises(RunFolderError, match=f"now {next(iter(change))}="):
        prepare(tmp_path, replace(Now(lr=0.3), **change))


def test_devices_and_number_of_epochs_may_change(tmp_path):
    begun(tmp_path, {})
    prepare(tmp_path, Now(Schedule(epochs=9, replicas=2, strategy="mirrored", keep=4)))
    with pytest.raises(RunFolderError, match=r"train.seed=0, now train.seed=1"):
        prepare(tmp_path, Now(Schedule(seed=1)))


def test_the_number_of_epochs_of_a_cosine_may_not_change(tmp_path):
    begun(tmp_path, {"train": {"lr_schedule": "cosine"}})
    with pytest.raises(RunFolderError, match=r"train.epochs=1, now train.epochs=9"):
        prepare(tmp_path, Now(Schedule(epochs=9, lr_schedule="cosine")))


def test_the_data_must_be_equal_but_not_their_encoding(tmp_path):
    begun(tmp_path, {})
    (tmp_path / "run.json").write_text(json.dumps({"data_digest": "0" * 64}))
    prepare(tmp_path, Now(records_encoding="pcm16"))
    with pytest.raises(RunFolderError, match="set records_encoding to what it was"):
        record(tmp_path, Now(), 1, "1" * 64)
    record(tmp_path, Now(records_encoding="pcm16"), 1, "0" * 64)
    assert load(Now, tmp_path / "config.json").records_encoding == "pcm16"


def test_the_digest_of_an_earlier_release_is_accepted_and_replaced(tmp_path):
    begun(tmp_path, {})
    (tmp_path / "run.json").write_text(json.dumps({"data_digest": "0" * 64}))
    with pytest.raises(RunFolderError, match="was trained on other data"):
        record(tmp_path, Now(), 1, "1" * 64, "2" * 64)
    record(tmp_path, Now(), 1, "1" * 64, "0" * 64)
    assert json.loads((tmp_path / "run.json").read_text())["data_digest"] == "1" * 64


def test_an_export_is_no_run(tmp_path):
    begun(tmp_path, {"format": "onnx", "package": "unmix"})
    with pytest.raises(ConfigError, match=r"export as onnx; python -m unmix.light"):
        load(Now, tmp_path / "config.json")


def test_a_later_format_raises(tmp_path):
    begun(tmp_path, {"format": 99})
    with pytest.raises(ConfigError, match="has format 99; this release reads up to"):
        load(Now, tmp_path / "config.json")
    with pytest.raises(RunFolderError, match="cannot be read"):
        prepare(tmp_path, Now())


def test_checkpoints_without_their_configuration_are_not_overwritten(tmp_path):
    begun(tmp_path, {})
    (tmp_path / "config.json").unlink()
    with pytest.raises(RunFolderError, match=r"copy its config\.json again"):
        prepare(tmp_path, Now())
    assert not (tmp_path / "config.json").exists()


def test_runs_of_earlier_releases_have_a_global_batch(tmp_path):
    begun(tmp_path, {})
    (tmp_path / "run.json").write_text(json.dumps({"starts": [{"replicas": 3}]}))
    config, total = divided(tmp_path, Now(), 2)
    assert (config.batch_size, total) == (6, 12)


def test_a_configuration_without_batch_size_is_one_sentence(tmp_path):
    @dataclass(frozen=True)
    class Own:
        train: Schedule = Schedule()
        output: str | None = None

    with pytest.raises(RunFolderError, match="Own has no key batch_size; add one"):
        divided(tmp_path, Own(), 1)


def test_a_global_batch_smaller_than_configured_is_divided(tmp_path):
    begun(tmp_path, {})
    starts = {"starts": [{"replicas": 1, "global_batch": 2}]}
    (tmp_path / "run.json").write_text(json.dumps(starts))
    config, total = divided(tmp_path, Now(), 2)
    assert (config.batch_size, total) == (1, 2)


def test_a_new_run_has_the_global_batch_of_its_replicas(tmp_path):
    config, total = divided(tmp_path, Now(Schedule(accumulate=2)), 3)
    assert (config.batch_size, total) == (4, 24)


def test_a_run_without_a_folder_is_named_by_package_preset_and_date(monkeypatch):
    monkeypatch.setenv("ROOT_DIR", "/data/runs")
    assert re.fullmatch(
        r"/data/runs/mixit/tiny/\d{4}-\d\d-\d\d_.*", name("", "mixit", "tiny")
    )
    monkeypatch.delenv("ROOT_DIR")
    assert name(None, "mixit", "tiny").startswith("runs/mixit/tiny/")
