"""The card of a model: read, written, refused, and as Markdown."""

import json

import pytest

from common.weights import card
from common.weights.card import Card, CardError, Score

SCORES = (
    Score("SI-SDRi", "dB", "40 mixtures", True, {"mean": 8.04}),
    Score("STOI", "", "40 mixtures", True, {"vocals": 0.9, "rest": 0.8}),
)
CARD = Card("Small", ("vocals", "rest"), 8000, 1, "MIT", "noise", "./run.sh", SCORES)


def test_a_card_is_read_as_it_was_written(tmp_path):
    assert card.read(tmp_path) is None
    card.write(CARD, tmp_path)
    assert card.read(tmp_path) == CARD
    assert CARD.score == "SI-SDRi 8.0 dB (40 mixtures)"
    assert str(SCORES[1]) == "STOI vocals 0.9, rest 0.8 (40 mixtures)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": None}, "licence missing in a card"),
        ({"colour": "red"}, "unknown configuration key 'colour'"),
        ({"sample_rate": "fast"}, "sample_rate='fast': expected a whole number"),
        ({"scores": [{"measure": "SDR"}]}, "unit, measured_on, recorded, values miss"),
        ({"scores": 3}, "not iterable"),
    ],
)
def test_other_cards_are_refused_in_one_sentence(tmp_path, change, words):
    card.write(CARD, tmp_path)
    values = json.loads((tmp_path / card.NAME).read_text()) | change
    values = {key: value for key, value in values.items() if value is not None}
    (tmp_path / card.NAME).write_text(json.dumps(values))
    with pytest.raises(CardError, match="is not the card of a model") as error:
        card.read(tmp_path)
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_a_missing_card(tmp_path, text):
    (tmp_path / card.NAME).write_text(text)
    with pytest.raises(CardError, match="expected an object with the keys summary"):
        card.read(tmp_path)


def test_markdown_has_the_front_matter_of_a_model_card():
    yaml = pytest.importorskip("yaml")
    text = card.readme(CARD, "small", "unmix")
    _, matter, body = text.split("---\n", 2)
    assert yaml.safe_load(matter) == {
        "license": "mit",
        "library_name": "tf-separation-suite",
        "pipeline_tag": "audio-to-audio",
        "tags": ["audio-source-separation", "unmix"],
    }
    assert "- Sources: vocals, rest\n" in body
    assert "SI-SDRi 8.0 dB (40 mixtures); STOI" in body
    assert "python -m unmix.separate mix.wav --model ./small" in body
