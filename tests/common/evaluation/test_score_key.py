"""Whatever changes a score changes the key, and nothing else does."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from common.corpora.track import Channel, Sum, Track
from common.evaluation import score_key
from common.separation.separator import Separator

SEPARATOR = Separator(lambda x: np.stack([0.3 * x, 0.7 * x], 1), ["a", "b"], 800)
TRACK = Track("t", 8000, 4, {"a": Path("a.wav"), "b": np.ones([1, 4], np.float32)})


def test_another_output_or_setting_is_another_digest():
    others = [
        replace(SEPARATOR, network=lambda x: np.stack([0.3 * x, 0.700001 * x], 1)),
        replace(SEPARATOR, sources=["a", "c"]),
        replace(SEPARATOR, segment_seconds=60.0),
        replace(SEPARATOR, segment_seconds=60.0, overlap=0.5),
    ]
    digests = [score_key.digest(each) for each in (SEPARATOR, *others)]
    assert len(set(digests)) == len(digests)
    assert score_key.digest(replace(SEPARATOR)) == digests[0]


def test_functions_of_a_separator_change_no_digest():
    """Their addresses are others in the process that goes on with an evaluation."""
    one, other = (replace(SEPARATOR, digest=lambda: "same") for _ in range(2))
    assert score_key.digest(one) == score_key.digest(other)


def test_another_track_or_option_is_another_key():
    changed = [
        replace(TRACK, name="u"),
        replace(TRACK, sample_rate=16000),
        replace(TRACK, samples=5),
        replace(TRACK, mixture=Path("m.wav")),
        replace(TRACK, sources={**TRACK.sources, "a": Path("b.wav")}),
        replace(TRACK, sources={**TRACK.sources, "a": Channel(Path("a.wav"), 1)}),
        replace(TRACK, sources={**TRACK.sources, "a": Sum((Path("a.wav"),))}),
        replace(TRACK, sources={**TRACK.sources, "b": np.zeros([1, 4], np.float32)}),
    ]
    keys = [score_key.key("model", [track]) for track in (TRACK, *changed)]
    keys += [score_key.key("other", [TRACK]), score_key.key("model", [TRACK], x=1)]
    assert len(set(keys)) == len(keys)


def test_another_content_is_another_key(tmp_path):
    track = replace(TRACK, sources={"a": tmp_path / "a.wav"})
    keys = []
    for content in (b"one", b"two"):
        (tmp_path / "a.wav").write_bytes(content)
        keys.append(score_key.key("model", [track]))
    assert keys[0] != keys[1]


def test_order_and_working_folder_change_no_key(tmp_path, monkeypatch):
    tracks = [TRACK, replace(TRACK, name="u")]
    absolute = Path("a.wav").absolute()
    key = score_key.key("model", tracks, x=1, y=2)
    assert score_key.key("model", tracks[::-1], y=2, x=1) == key
    monkeypatch.chdir(tmp_path)
    named = [
        replace(track, sources={**track.sources, "a": absolute}) for track in tracks
    ]
    assert score_key.key("model", named, x=1, y=2) == key
