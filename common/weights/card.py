"""The card of a model: origin, licence and scores, in ``card.json`` of its folder.

Every bundled or published model has one beside its weights. The registry finds bundled
models by their folders and reads licence and scores from their cards.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import files
from common.config import ConfigError, Dataclass, from_dict, to_dict

NAME = "card.json"
NOT_MEASURED = "not measured"
UNSTATED = "not stated"


class CardError(ValueError):
    """A card that cannot be read, or lacks something."""


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of a model on sound that it was not trained on.

    Attributes:
        measure: Name of the measure, such as ``SI-SDRi``.
        unit: Its unit, empty where it has none.
        measured_on: The held-out sound.
        recorded: Whether that sound is recorded, not synthetic.
        values: Value by source, or by ``mean``.
    """

    measure: str
    unit: str
    measured_on: str
    recorded: bool
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        """Return measure, values and data in a line.

        >>> print(Score("SDR", "dB", "10 songs", True, {"vocals": 7.7, "bass": 4}))
        SDR vocals 7.7, bass 4.0 dB (10 songs)
        """
        values = ", ".join(
            f"{name} {value:.1f}".removeprefix("mean ")
            for name, value in self.values.items()
        )
        return (
            f"{self.measure} {values} {self.unit}".rstrip() + f" ({self.measured_on})"
        )


@dataclasses.dataclass(frozen=True)
class Card:
    """Description of a model: sources, size, origin and scores.

    Attributes:
        summary: Sources and size, in one line.
        sources: Names of its sources in their order.
        sample_rate: Its rate in Hz.
        channels: Number of channels that it separates together.
        licence: Licence of the weights, an SPDX name where there is one.
        trained_on: Sound that it was trained on.
        command: Command that trains it.
        scores: Held-out scores, the most telling one first.
    """

    summary: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    licence: str = UNSTATED
    trained_on: str = UNSTATED
    command: str = UNSTATED
    scores: tuple[Score, ...] = ()

    @property
    def score(self) -> str:
        """The first score in a line.

        >>> Card("Small", ("a", "b"), 8000, 1).score
        'not measured'
        """
        return str(self.scores[0]) if self.scores else NOT_MEASURED


def read(folder: Path) -> Card | None:
    """Read the card of a model, None where its folder has none.

    Args:
        folder: Folder of the model.

    Raises:
        CardError: The card is damaged, or a key is missing, unknown or of another type.
        OSError: The file of the card cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return _card(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CardError(
            f"{path} is not the card of a model ({error}); expected an object with "
            f"the keys {', '.join(_fields(Card))}"
        ) from error


def write(card: Card, folder: Path) -> None:
    """Write the card of a model into its folder, whole or not at all."""
    files.write_json(to_dict(card), folder / NAME)


def readme(card: Card, name: str, pillar: str) -> str:
    """Write a card as Markdown, with the front matter of a model card.

    Args:
        card: The card.
        name: Name of the model.
        pillar: Name of the package that reads it.

    >>> print(readme(Card("Small", ("a", "b"), 8000, 1), "tiny", "unmix").split()[2])
    "not-stated"
    """
    tags = ["audio-source-separation", pillar]
    front = {
        "license": card.licence.lower().replace(" ", "-"),
        "library_name": "tf-separation-suite",
        "pipeline_tag": "audio-to-audio",
        "tags": tags,
    }
    points = {
        "Sources": ", ".join(card.sources),
        "Sample rate": f"{card.sample_rate} Hz, {card.channels} channels together",
        "Licence": card.licence,
        "Trained on": card.trained_on,
        "Trained by": f"`{card.command}`" if card.command != UNSTATED else UNSTATED,
        "Held-out scores": "; ".join(map(str, card.scores)) or NOT_MEASURED,
    }
    # JSON is YAML too, and quotes what has to be quoted.
    matter = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
    text = "".join(f"- {key}: {value}\n" for key, value in points.items())
    return (
        f"---\n{matter}---\n\n# {name}\n\n{card.summary}.\n\n{text}\n"
        "Separate with tf-separation-suite, in the folder above this one:\n\n"
        f"    python -m {pillar}.separate mix.wav --model ./{name}\n"
    )


def _card(values: Mapping[str, Any]) -> Card:
    plain = {key: value for key, value in values.items() if key != "scores"}
    _require_all(Card, values)
    scores = tuple(_score(score) for score in values["scores"])
    return dataclasses.replace(from_dict(Card, plain), scores=scores)


def _score(values: Mapping[str, Any]) -> Score:
    _require_all(Score, values)
    numbers = {str(name): float(value) for name, value in values["values"].items()}
    if not numbers:
        raise ConfigError("values is empty, expected a number by source or by mean")
    plain = {key: value for key, value in values.items() if key != "values"}
    return dataclasses.replace(from_dict(Score, plain), values=numbers)


def _require_all(cls: type[Dataclass], values: Mapping[str, Any]) -> None:
    missing = [key for key in _fields(cls) if key not in values]
    if missing:
        raise ConfigError(f"{', '.join(missing)} missing in a {cls.__name__.lower()}")


def _fields(cls: type[Dataclass]) -> Sequence[str]:
    return [field.name for field in dataclasses.fields(cls)]
