"""What the duels measure, and what their page says of it."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def duels(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module("duels")


def side(score, steps, same=(1.0, 2.0)):
    curve = [(0.0, 1, -3.0), (30.0, steps, score)]
    return {"curve": curve, "same": list(same)}


def test_the_table_has_the_scores_of_the_end_and_their_means(duels):
    results = [
        duels.Result(0, side(4.0, 100), side(3.0, 50)),
        duels.Result(1, side(5.0, 102), side(5.5, 52)),
    ]
    lines = list(duels.table(results, "peer"))
    assert lines[2] == "| 0 | 4.00 dB | 3.00 dB | +1.00 dB | 100 | 50 |"
    assert lines[4] == "| mean | 4.50 dB | 4.25 dB | +0.25 dB | 101 | 51 |"


def test_a_seed_below_the_peer_and_unequal_losses_are_faults(duels):
    fine = duels.Result(0, side(3.9, 1), side(4.0, 1))
    below = duels.Result(1, side(3.7, 1), side(4.0, 1))
    other = duels.Result(2, side(4.0, 1, (1.0, 2.001)), side(4.0, 1))
    unknown = duels.Result(3, side(float("nan"), 1), side(4.0, 1))
    assert duels.faults("open_unmix", [fine]) == []
    lines = duels.faults("open_unmix", [fine, below, other, unknown])
    assert [line.partition(":")[0][-1] for line in lines] == ["1", "2", "3"]
    assert "**Not as expected:** open_unmix, seed 1: -0.30 dB" in duels.section(
        "open_unmix", [fine, below]
    )


def test_losses_may_differ_by_the_rounding_of_the_peer(duels):
    ours, theirs = side(4.0, 1, (1.0, 2.0008)), side(4.0, 1, (1.0, 2.0))
    assert duels.faults("conv_tasnet", [duels.Result(0, ours, theirs)])
    far, near = {"same": [1.0, 2.0002]}, {"same": [1.0, 2.00001]}
    assert duels.faults("conv_tasnet", [duels.Result(0, ours, theirs, near)])
    result = duels.Result(0, ours, theirs, far)
    assert duels.faults("conv_tasnet", [result]) == []
    sentence = duels.equality(duels.DUELS["conv_tasnet"], [result])
    assert "by seed: 3.0e-04; of asteroid in float32: 1.0e-04;" in sentence


def test_only_the_first_steps_are_taken(duels):
    data, seen = duels.data, []
    learner = data.Learner(
        lambda batch: seen.append(batch) or 1.0, None, iter(range(99))
    )
    assert data.first_steps(learner) == {"same": [1.0] * data.FIRST}
    assert seen == list(range(data.FIRST))


def test_the_clock_stops_in_the_first_step_and_in_evaluations(duels):
    data = duels.data

    def work(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    def step(batch):
        work(0.2 if batch[0] == 0 else 0.001)
        return float(batch[0])

    def score():
        work(0.01)
        return 1.0

    batches = (np.array([number]) for number in range(1000))
    result = data.race(data.Learner(step, score, batches), 0.05)
    assert result["same"] == list(range(20))
    assert result["curve"][0] == (0.0, 1, 1.0)
    assert len(result["curve"]) == 1 + data.MARKS
    spent, steps, _ = result["curve"][-1]
    assert 0.05 <= spent < 0.1
    assert 20 < steps < 60


def test_clusters_of_an_ideal_embedding_separate_two_tones(duels):
    data = duels.data
    seconds = np.arange(8000) / data.RATE
    tones = np.stack([np.sin(2 * np.pi * hertz * seconds) for hertz in (500, 2500)])
    sources = tones[np.newaxis].astype(np.float32)
    frames, bins = 8000 // 64 + 1, np.arange(129)
    owner = np.tile(bins < 48, frames)
    points = np.eye(2)[owner.astype(int)][np.newaxis]
    estimates = data.clustered(points, sources.sum(1))
    assert data.improvement(estimates, sources) > 20


def test_the_page_has_the_curves_of_its_duels(duels):
    text = (REPOSITORY / "benchmarks" / "duels.md").read_text("utf-8")
    written = {name for name, duel in duels.DUELS.items() if duel.title in text}
    pictures = {path.stem for path in (REPOSITORY / "benchmarks/duels").glob("*.png")}
    assert written
    assert written == pictures
    assert all(f"duels/{name}.png" in text for name in written)
