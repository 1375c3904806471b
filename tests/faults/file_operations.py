"""Short runs of what writes files without TensorFlow."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from operation import OUT, Operation, digest

from common import audio, download
from common.errors import exit_code
from common.evaluation.table import Rows
from common.files import replacing_folder, write_json, write_text
from common.separation.command import command
from common.separation.separator import Separator
from common.weights import card, torch_file
from common.weights.card import Card

RATE = 8000


def noise(seed: int, samples: int = 900) -> np.ndarray:
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, [1, samples])
    return np.round(wave * 2**15).astype(np.float32) / 2**15


def separator(model: str, **options: Any) -> Separator:
    def halves(batch: np.ndarray) -> np.ndarray:
        return np.stack([0.75 * batch, 0.25 * batch], 1)

    sources = ["vocals", "rest"]
    return Separator(halves, sources, RATE, named=True, digest=lambda: 64 * "0")


def separate(folder: Path, *songs: str) -> int:
    words = [str(folder / song) for song in songs or ("0.wav", "1.wav")]
    words += ["--output", str(folder / OUT), "--format", "wav16", "--skip-done"]
    return command(separator, words, "Separate.", model="half")


def separated_before(folder: Path) -> None:
    """Leave the stems of one song, whose turn comes first."""
    for seed in range(2):
        audio.write(folder / f"{seed}.wav", noise(seed), RATE, "wav16")
    assert separate(folder, "0.wav") == 0


def without_times(path: Path) -> Any:
    """Read a file without the times of its making and of its input."""
    if path.suffix != ".json":
        return digest(path)
    found = json.loads(path.read_text("utf-8"))
    found["input"] = {key: found["input"][key] for key in ("bytes", "sha256")}
    times = ("elapsed_seconds", "real_time_factor")
    return {key: value for key, value in found.items() if key not in times}


def score(folder: Path) -> int:
    """Measure three songs and write what an evaluation writes."""

    def run() -> int:
        out = folder / OUT
        rows = Rows(out / "scores.csv", ["song", "SDR"], "model")
        for name, value in (("a", 1.5), ("b", -2.25), ("c", 0.125)):
            if name not in rows:
                rows[name] = {"song": name, "SDR": value}
        write_json([dict(rows[name]) for name in "abc"], out / "scores.json")
        rows.finish("abc")
        return 0

    return exit_code("evaluate", run)


def scored_before(folder: Path) -> None:
    """Leave the table of an earlier model."""
    (folder / OUT).mkdir()
    for name in ("scores.csv", "scores.json"):
        write_text(folder / OUT / name, "of an earlier model\n")


BODY = bytes(range(256)) * 40


class Answer(io.BytesIO):
    """What a server with ranges gives, in small blocks."""

    def __init__(self, start: int) -> None:
        super().__init__(BODY[start:])
        self.status = 206 if start else 200
        size = str(len(BODY) - start)
        self.headers = {"Content-Length": size, "ETag": '"1"'}

    def read(self, size: int | None = -1) -> bytes:
        return super().read(2048)


def serve(request: Any, timeout: float) -> Answer:
    return Answer(int(request.headers.get("Range", "bytes=0-")[6:-1]))


def obtain(folder: Path) -> int:
    def run() -> int:
        path = folder / OUT / "weights.pth"
        sha256 = digest(BODY)
        with mock.patch("urllib.request.urlopen", serve):
            download.obtain("http://server/weights.pth", path, sha256)
        download.verify(path, sha256)
        return 0

    return exit_code("download", run)


def write_weights(folder: Path) -> int:
    """Write the folder of a model, which replaces an earlier one."""

    def run() -> int:
        with replacing_folder(folder / OUT / "model", overwrite=True) as work:
            torch_file.write(work / "vocals.pth", {"weight": noise(1)})
            card.write(Card("A model", ("vocals",), RATE, 1), work)
        return 0

    return exit_code("convert", run)


def written_before(folder: Path) -> None:
    model = folder / OUT / "model"
    model.mkdir(parents=True)
    card.write(Card("An earlier model", ("vocals",), RATE, 1), model)


OPERATIONS = {
    "separation": Operation(separated_before, separate, content=without_times),
    "table of scores": Operation(scored_before, score),
    "download": Operation(
        lambda folder: None,
        obtain,
        unfinished=lambda name: name.endswith((".part", ".part.version")),
    ),
    "folder of weights": Operation(written_before, write_weights),
}
