"""Files of published numbers: what they hold, and which are refused."""

import csv
from pathlib import Path

import pytest

from common.evaluation import published
from common.evaluation.published import Number, PublishedError

REPOSITORY = Path(published.__file__).resolve().parents[2]
GOOD = ["wham", "dpcl", "", "mix_clean", "SI-SDR", "10.74", "dB", "read", "a recipe"]


def write(folder, line, head=Number._fields):
    with (folder / published.NAME).open("w", newline="") as file:
        csv.writer(file).writerows([head, line])
    return folder


@pytest.mark.parametrize("pillar", ["mixit", "unmix", "adversarial", "clustering"])
def test_numbers_of_a_pillar_have_sources_and_stand_once(pillar):
    numbers = published.read(REPOSITORY / pillar)
    assert numbers
    assert all(each.source and each.unit and each.measure for each in numbers)
    assert len(set(numbers)) == len(numbers)


def test_a_number_is_read_with_its_unit(tmp_path):
    (number,) = published.read(write(tmp_path, GOOD))
    assert (number.amount, number.text) == (10.74, "10.74 dB")
    bound = number._replace(value="> 13")
    assert (bound.amount, bound.text) == (None, "> 13 dB")


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        (7, "remembered", "status 'remembered' is unknown"),
        (7, "unread", "unread numbers have none"),
        (5, "", "unread numbers have none"),
    ],
)
def test_numbers_of_unknown_origin_are_refused(tmp_path, column, cell, words):
    line = [*GOOD[:column], cell, *GOOD[column + 1 :]]
    with pytest.raises(PublishedError, match=words):
        published.read(write(tmp_path, line))


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(PublishedError, match="columns value, row"):
        published.read(write(tmp_path, GOOD, ["value", "row"]))
    with pytest.raises(PublishedError, match="has 8 cells; expected 9"):
        published.read(write(tmp_path, GOOD[:-1]))
