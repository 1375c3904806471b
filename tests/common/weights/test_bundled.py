"""Folders of models without their training: written, read back, refused."""

import contextlib
import dataclasses
import functools
import importlib
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.config import ConfigError
from common.training import network_file, run_folder
from common.training.run_folder import RunFolderError
from common.weights import bundled, card
from common.weights.bundled import Form
from common.weights.card import Card

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folders of published models and what was printed, written once for all tests."""
    done = {}

    def publish(pillar):
        if pillar not in done:
            folder = tmp_path_factory.mktemp(pillar) / "model"
            words = [str(mini(pillar)), str(folder), "--publish", "--half"]
            convert = importlib.import_module(f"{pillar}.convert")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                assert convert.main([*words, "--licence", "MIT"]) == 0
            done[pillar] = folder, printed.getvalue()
        return done[pillar]

    return publish


def mini(pillar):
    return REPOSITORY / pillar / "bundled" / "mini"


PILLARS = [
    pytest.param("mixit", marks=pytest.mark.slow),
    pytest.param("unmix", marks=pytest.mark.slow),
    "adversarial",
    "clustering",
]


@pytest.mark.parametrize("pillar", PILLARS)
def test_a_published_run_is_loaded_in_half_the_bytes(published, pillar):
    folder, printed = published(pillar)
    # The command has loaded and compared both.
    loss = re.search(r"whose estimates differ by -([\d.]+) dB", printed)
    assert float(loss[1]) > 50
    weights = sum(path.stat().st_size for path in mini(pillar).rglob("*.data-*"))
    stored = sum(path.stat().st_size for path in folder.rglob(network_file.NAME))
    assert stored < 0.6 * weights
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert {"README.md", "card.json", "config.json"} <= names
    original = card.read(mini(pillar))
    assert card.read(folder) == dataclasses.replace(original, licence="MIT")
    text = (folder / "README.md").read_text()
    assert 'license: "mit"' in text
    assert f"python -m {pillar}.separate" in text
    assert original.score in text


def test_a_published_folder_is_not_replaced(published, capsys):
    folder, _ = published("adversarial")
    before = card.read(folder)
    convert = importlib.import_module("adversarial.convert")
    words = [str(mini("adversarial")), str(folder)]
    assert convert.main([*words, "--publish"]) == 1
    assert "is not empty; choose another" in capsys.readouterr().err
    assert card.read(folder) == before


def test_a_folder_that_is_no_bundled_model_is_not_replaced(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    convert = importlib.import_module("adversarial.convert")
    assert convert.main([str(mini("adversarial")), str(tmp_path), "--bundle"]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_bundled_model_caught_between_two_names_is_replaced(tmp_path):
    between = tmp_path / ".replaced-model"
    between.mkdir()
    card.write(Card("An earlier model", ("vocals",), 8192, 1), between)
    (between / "README.md").write_text("Kept\n", encoding="utf-8")
    convert = importlib.import_module("adversarial.convert")
    words = [str(mini("adversarial")), str(tmp_path / "model"), "--bundle"]
    assert convert.main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "README.md").read_text("utf-8") == "Kept\n"


def test_nothing_is_trained_into_the_folder_of_a_model(published):
    folder, _ = published("adversarial")
    with pytest.raises(RunFolderError, match="holds the weights of a model"):
        run_folder.prepare(folder, None)


def test_a_bundled_model_is_small():
    bundled.refuse_large("run", 1_500_000, Form())
    bundled.refuse_large("run", 3_000_000, Form(half=True))
    bundled.refuse_large("run", 9_000_000, Form(publish=True))
    with pytest.raises(ConfigError, match="at most 1500000, which is 6 MB; --half st"):
        bundled.refuse_large("run", 1_500_001, Form())
    with pytest.raises(ConfigError, match=r"at most 3000000, which is 6 MB$"):
        bundled.refuse_large("run", 3_000_001, Form(half=True))


def test_loss_is_that_of_the_worst_estimate():
    class Fake:
        sample_rate, channels = 8000, 2

        def __init__(self, error):
            self.error = error

        def __call__(self, mixture):
            return {"a": mixture, "b": mixture * (1 + self.error)}

    assert bundled.stored_sdr(Fake(0.0), Fake(0.0)) == float("inf")
    actual = bundled.stored_sdr(Fake(0.0), Fake(0.1))
    np.testing.assert_allclose(actual, 20.0, atol=1e-3)


SUMMARIES = {
    "mixit": (
        {"examples": 7, "split": "eval", "synthetic": False, "MSi": {"mean": 9.876}},
        "SI-SNRi (MSi) 9.9 dB (7 examples of the split eval)",
    ),
    "unmix": (
        {
            "tracks": 50,
            "subset": "test",
            "synthetic": False,
            "targets": {"vocals": {"SDR": 6.25}, "bass": {"SDR": None}},
        },
        "SDR vocals 6.2 dB (50 songs of the split test, medians)",
    ),
    "clustering": (
        {"all": {"count": 6000, "si_sdr_improvement": 10.0}},
        "SI-SDRi 10.0 dB (6000 sources of the test split of wsj0_2mix)",
    ),
    "adversarial": (
        {
            "bandwidth_hz": 4096.0,
            "databases": {"MUSDB18": {"vocals": {"SDR": {"median": 3.0, "count": 25}}}},
        },
        "SDR vocals 3.0 dB (25 songs of the test split, MUSDB18, medians at 8192 Hz)",
    ),
}


@pytest.mark.parametrize("pillar", SUMMARIES)
def test_a_summary_becomes_the_score_of_a_card(pillar):
    summary, text = SUMMARIES[pillar]
    convert = importlib.import_module(f"{pillar}.convert")
    make = convert.card_scores
    if pillar in ("clustering", "adversarial"):
        presets = importlib.import_module(
            {"clustering": "clustering.presets"}.get(pillar, f"{pillar}.config")
        ).PRESETS
        make = functools.partial(make, presets["tiny"])
    (score,) = make(summary)
    assert str(score) == text
    # The corpus of these presets is the miniature.
    assert score.recorded == (pillar in ("mixit", "unmix"))


def test_a_published_run_has_the_scores_of_its_evaluation(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(mini("adversarial"), run)
    (run / card.NAME).unlink()
    (run / "evaluation").mkdir()
    file = run / bundled.SUMMARY
    file.write_text(json.dumps(SUMMARIES["adversarial"][0]))
    convert = importlib.import_module("adversarial.convert")
    publish = Form(publish=True)
    made = convert.bundle(run, tmp_path / "model", publish)
    assert made.score == SUMMARIES["adversarial"][1]
    assert made.score in (tmp_path / "model" / "README.md").read_text()
    # A training that went on since has other weights.
    (run / "latest").mkdir()
    (run / "latest" / "step-2.index").touch()
    os.utime(file, (1, 1))
    assert convert.bundle(run, tmp_path / "later", publish).scores == ()


def test_bundled_models_are_found_by_name_only():
    assert {"mini", "singing"} <= set(bundled.names("unmix"))
    assert bundled.find("unmix", "mini") == bundled.folder_of("unmix") / "mini"
    for word in ("./mini", "unmix/mini", "vocals", ""):
        assert bundled.find("unmix", word) is None
    assert bundled.names("absent") == bundled.entries("absent") == []
