"""Published numbers stand beside ours only where both measure the same."""

from dataclasses import replace

import pytest

from clustering import published
from clustering.config import ClusteringConfig
from common.weights import bundled, card, registry

WANG = "Wang et al. 2018, quoted by AutoClip"
ISIK = "Isik et al. 2016, abstract"
ASTEROID = "recipe of asteroid 0.7"
AUTOCLIP = "Seetharaman et al. 2020 (AutoClip)"
NUSSL = "recipe of nussl 1.1, 3,000 mixtures"
CONV_TASNET = "Luo and Mesgarani 2019, table IV"
DPCL_PLUS = "Isik et al. 2016, quoted by Conv-TasNet, table IV"
DPCL = ClusteringConfig(sample_rate=8000)
MEANS = {
    "all": {"si_sdr": 9.25, "si_sdr_improvement": 9.5},
    "ideal_binary": {"si_sdr": 13.0},
}


def cells(config, means):
    """Cells of the table but its head, a row by its network and source."""
    lines = published.table(config, means).splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1], row[4]): row[3] for row in rows}


def test_numbers_without_a_run_say_so():
    actual = cells(DPCL, None)
    assert set(actual.values()) == {"not run here"}
    assert len(actual) == 21


def test_our_scores_are_listed_beside_the_same_network_loss_and_clipping():
    actual = cells(DPCL, MEANS)
    here = {row: value for row, value in actual.items() if value != "not run here"}
    assert here == {
        ("dpcl, classic", "SI-SDR", WANG): "9.25 dB",
        ("dpcl, classic", "SI-SDRi", DPCL_PLUS): "9.50 dB",
        ("dpcl, classic", "SDRi", ISIK): "not measured",
        ("dpcl, classic", "SDRi", ASTEROID): "not measured",
        ("ideal_binary", "SI-SDRi", CONV_TASNET): "not measured",
    }
    whitened = replace(
        DPCL, clip_percentile=10.0, loss=replace(DPCL.loss, clustering_kind="whitened")
    )
    here = cells(whitened, MEANS)
    assert here["dpcl, whitened, AutoClip", "SI-SDR", AUTOCLIP] == "9.25 dB"
    assert list(here.values()).count("not run here") == 19


def test_the_loss_of_embeddings_makes_no_difference_to_networks_without_any():
    config = replace(DPCL, kind="conv_tasnet")
    actual = cells(config, MEANS)
    assert actual["conv_tasnet", "SI-SDRi", CONV_TASNET] == "9.50 dB"


def test_ideal_masks_stand_beside_ideal_masks_whatever_was_trained():
    actual = cells(replace(DPCL, dataset="wham", kind="tasnet"), MEANS)
    assert actual["ideal_binary", "SI-SDR", NUSSL] == "13.00 dB"
    assert actual["ideal_ratio", "SI-SDR", NUSSL] == "not run here"


def test_tasks_and_corpora_are_kept_apart():
    noisy = replace(DPCL, dataset="wham", task="mix_both")
    assert {row.amount for row in published.rows(noisy)} == {12.0, 13.7}
    three = replace(DPCL, dataset="wsj0_3mix")
    assert [row.amount for row in published.rows(three)] == [7.1, 12.7, 13.1]
    assert published.table(replace(DPCL, dataset="musdb"), MEANS) == ""


@pytest.mark.parametrize(
    ("change", "split", "count", "same"),
    [
        ({}, "test", 3000, True),
        ({}, "valid", 3000, False),
        ({}, "test", 2999, False),
        ({"sample_rate": 16000}, "test", 3000, False),
        ({"length": "max"}, "test", 3000, False),
        ({"sources": ("s1",)}, "test", 3000, False),
    ],
)
def test_only_the_whole_test_set_compares(change, split, count, same):
    assert published.is_comparable(replace(DPCL, **change), split, count) is same


def test_the_registry_asks_for_the_models_that_come_along(tmp_path, monkeypatch):
    (tmp_path / "clustering/little").mkdir(parents=True)
    (tmp_path / "clustering/little/config.json").write_text("{}")
    about = card.read(bundled.folder_of("clustering") / "mini")
    card.write(replace(about, licence="MIT"), tmp_path / "clustering/little")
    monkeypatch.setattr(bundled, "folder_of", lambda pillar: tmp_path / pillar)
    actual = {entry.name: entry for entry in registry.entries()}
    assert (actual["little"].pillar, actual["little"].licence) == ("clustering", "MIT")
