"""Draws of mixing lists: counts, order of files, onsets, levels, labels."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from common.corpora.track import CorpusError
from mixit.augment import mixing_list
from mixit.augment.mixing_list import Recipe, draw, endless
from mixit.augment.reverberation import Room, assign_rooms, reverberate

RECIPE = Recipe(train=4000, seconds=10, sample_rate=100)
FILES = {
    **{f"train/sound/long{index}.wav": 1001 + 77 * index for index in range(30)},
    **{f"train/sound/short{index}.wav": 10 + 20 * index for index in range(50)},
}


@pytest.fixture(scope="module")
def drawn():
    return draw(RECIPE, "train", FILES)


def foregrounds(mixtures):
    return [event for each in mixtures for event in each.events[1:]]


def test_usual_numbers_are_those_of_fuss():
    usual = Recipe()
    assert list(usual.counts.items()) == [
        ("eval", 0),
        ("validation", 1000),
        ("train", 20000),
    ]
    assert (usual.seed, usual.samples, usual.max_foregrounds) == (2020, 160_000, 3)


def test_as_many_foregrounds_of_each_number(drawn):
    counts = Counter(len(each.events) - 1 for each in drawn)
    assert set(counts) == {0, 1, 2, 3}
    # 4000 draws of 4: 1000 with a deviation of 27.
    assert all(abs(count - 1000) < 110 for count in counts.values())


def test_names_are_padded_to_the_digits_of_the_number(drawn):
    assert drawn[7].name == "train/example0007"
    few = draw(replace(RECIPE, train=9), "train", FILES)
    assert few[7].name == "train/example7"
    assert few[7].files[0] == "train/example7.wav"


def test_backgrounds_last_throughout_and_start_anywhere(drawn):
    behind = [each.events[0] for each in drawn]
    assert all(each.snr_db is None and each.offset == 0 for each in behind)
    assert all("long" in each.file and each.samples == 1000 for each in behind)
    assert all(0 <= each.start <= FILES[each.file] - 1000 for each in behind)
    share = [each.start / (FILES[each.file] - 1000) for each in behind]
    assert np.mean(share) == pytest.approx(0.5, abs=0.03)
    # Both ends are reached: the shortest background has only two positions.
    assert {e.start for e in behind if FILES[e.file] == 1001} == {0, 1}


def test_foregrounds_are_whole_and_end_with_the_mixture_at_the_latest(drawn):
    events = foregrounds(drawn)
    assert all("short" in each.file and each.start == 0 for each in events)
    assert all(each.samples == FILES[each.file] for each in events)
    assert all(0 <= each.offset <= 1000 - each.samples for each in events)
    # An onset too late for the sound is moved forward: of a sound of 90 % in 9 of 10.
    late = [e.offset + e.samples == 1000 for e in events if e.samples > 880]
    assert np.mean(late) == pytest.approx(0.92, abs=0.04)
    short = [e.offset for e in events if e.samples < 100]
    assert np.mean(short) == pytest.approx(0.5 * 950, abs=30)


def test_levels_are_uniform_over_30_db(drawn):
    levels = np.array([event.snr_db for event in foregrounds(drawn)])
    assert -5 <= levels.min() < -4.9
    assert 24.9 < levels.max() <= 25
    counts, _ = np.histogram(levels, 6, (-5, 25))
    assert np.all(np.abs(counts - len(levels) / 6) < 150)


def test_no_file_is_drawn_twice_before_all_were_drawn(drawn):
    behind = [each.events[0].file for each in drawn]
    before = [event.file for event in foregrounds(drawn)]
    for names, count in ((behind, 30), (before, 50)):
        turns = [names[s : s + count] for s in range(0, len(names) - count, count)]
        assert len(turns) > 50
        assert all(len(set(turn)) == count for turn in turns)
        assert len({tuple(turn) for turn in turns}) == len(turns)


def test_endless_shuffles_again_at_every_turn():
    items = list("abcdef")
    first = list(itertools.islice(endless(items, 1, 0, 2), 18))
    assert first == list(itertools.islice(endless(items, 1, 0, 2), 18))
    assert all(sorted(first[s : s + 6]) == items for s in (0, 6, 12))
    assert len({tuple(first[s : s + 6]) for s in (0, 6, 12)}) == 3
    assert first != list(itertools.islice(endless(items, 1, 1, 2), 18))


def test_a_longer_list_begins_like_a_shorter(drawn):
    shorter = draw(replace(RECIPE, train=1500), "train", FILES)
    assert [each.events for each in shorter] == [each.events for each in drawn[:1500]]


def test_splits_and_seeds_draw_different_numbers(drawn):
    other = draw(replace(RECIPE, seed=1), "train", FILES)
    valid = draw(replace(RECIPE, validation=4000), "validation", FILES)
    for mixtures in (other, valid):
        same = sum(
            one.events == two.events for one, two in zip(mixtures, drawn, strict=True)
        )
        assert same == 0


def test_labels_do_not_repeat_where_they_must_not():
    files = {
        f"train/{label}/{role}{index}.wav": length
        for label in "abcde"
        for role, length in (("long", 2000), ("short", 300))
        for index in range(4)
    }
    recipe = replace(RECIPE, train=500, unique_labels=True)

    def repeats(mixtures):
        labels = [[e.file.split("/")[1] for e in each.events] for each in mixtures]
        return sum(len(set(each)) < len(each) for each in labels)

    assert repeats(draw(recipe, "train", files)) == 0
    assert repeats(draw(replace(recipe, unique_labels=False), "train", files)) > 100
    few = {name: length for name, length in files.items() if name[6] in "abc"}
    with pytest.raises(CorpusError, match=r"have 3 labels .* too few for 3"):
        draw(recipe, "train", few)


def test_files_of_the_length_of_a_mixture_are_foregrounds():
    files = {"train/s/equal.wav": 1000, "train/s/longer.wav": 1001}
    mixtures = draw(replace(RECIPE, train=50), "train", files)
    assert {each.events[0].file for each in mixtures} == {"train/s/longer.wav"}
    assert {event.file for event in foregrounds(mixtures)} == {"train/s/equal.wav"}
    assert {event.offset for event in foregrounds(mixtures)} == {0}


def test_a_list_is_read_as_it_was_written(drawn, tmp_path):
    mixing_list.write(tmp_path / "list", drawn[:50])
    assert mixing_list.read(tmp_path / "list") == drawn[:50]
    text = (tmp_path / "list").read_text()
    (tmp_path / "cut").write_text(text[:-20])
    (tmp_path / "other").write_text('{"name": "a"}\n')
    for name in ("cut", "other", "missing"):
        with pytest.raises(CorpusError, match="is not a mixing list"):
            mixing_list.read(tmp_path / name)


def test_rooms_take_turns_and_sources_their_responses_in_order(drawn):
    rooms = {
        f"train/rirs_{n}": Room([f"{n}/b0", f"{n}/b1"], [f"{n}/f{i}" for i in range(3)])
        for n in range(7)
    }
    with_rooms = assign_rooms(drawn[:70], rooms, RECIPE, "train")
    numbers = []
    for mixture, without in zip(with_rooms, drawn, strict=False):
        responses = [event.response for event in mixture.events]
        number = responses[0].split("/")[0]
        names = ["b0", "f0", "f1", "f2"][: len(responses)]
        assert responses == [f"{number}/{name}" for name in names]
        assert [e._replace(response=None) for e in mixture.events] == list(
            without.events
        )
        numbers.append(number)
    turns = [tuple(numbers[s : s + 7]) for s in range(0, 70, 7)]
    assert all(len(set(turn)) == 7 for turn in turns)
    assert len(set(turns)) > 7


@pytest.mark.parametrize("length", [1, 3, 40, 1000])
def test_reverberation_is_the_convolution(length):
    rng = np.random.default_rng(length)
    source, response = rng.standard_normal(200), rng.standard_normal(length)
    full = np.convolve(source, response)
    np.testing.assert_allclose(reverberate(source, response), full[:200], atol=1e-12)
    peak = int(np.argmax(np.abs(response)))
    aligned = reverberate(source, response, align=True)
    np.testing.assert_allclose(aligned, full[peak : peak + 200], atol=1e-12)
