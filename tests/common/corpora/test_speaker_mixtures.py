"""WSJ0-2mix and WHAM!: tasks, rates, lengths, counts and error messages."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from common.corpora import speaker_mixtures
from common.corpora.track import CorpusError

WHAM = ("mix_clean", "mix_both", "mix_single", "noise", "s1", "s2")


def lay_out(parent, folders, count=3, rate=8000):
    for folder in folders:
        (parent / folder).mkdir(parents=True)
        for number in range(count):
            name = f"01aa010{number}_1.5_01bb010{number}_-1.5.wav"
            soundfile.write(parent / folder / name, np.full(80, 0.1), rate)


@pytest.fixture
def wsj0(tmp_path):
    lay_out(tmp_path / "wsj0/2speakers/wav8k/min/tr", ("mix", "s1", "s2"))
    return tmp_path / "wsj0"


@pytest.fixture
def wham(tmp_path):
    lay_out(tmp_path / "wav16k/max/cv", WHAM, rate=16000)
    return tmp_path


def test_wsj0_2mix(wsj0, caplog):
    for root in (wsj0, wsj0 / "2speakers", wsj0.parent):
        tracks = speaker_mixtures.tracks(root, "train")
        assert tracks[0].name == "01aa0100_1.5_01bb0100_-1.5"
        assert list(tracks[0].sources) == ["s1", "s2"]
        assert tracks[0].mixture.parent.name == "mix"
    assert "WSJ0-2mix: the split 'train' has 3 tracks, the published set 20000" in (
        caplog.text
    )


@pytest.mark.parametrize(
    ("task", "noise", "sources"),
    [
        ("mix_clean", False, ["s1", "s2"]),
        ("mix_both", False, ["s1", "s2"]),
        ("mix_both", True, ["s1", "s2", "noise"]),
        ("mix_single", False, ["s1"]),
        ("mix_single", True, ["s1", "noise"]),
    ],
)
def test_tasks_of_wham(wham, task, noise, sources):
    tracks = speaker_mixtures.tracks(
        wham, "valid", task=task, noise=noise, sample_rate=16000, length="max"
    )
    assert list(tracks[0].sources) == sources
    assert tracks[0].mixture.parent.name == task
    assert (len(tracks), tracks[0].sample_rate) == (3, 16000)


def test_three_speakers(tmp_path):
    lay_out(tmp_path / "3speakers/wav8k/min/tt", ("mix", "s1", "s2", "s3"))
    tracks = speaker_mixtures.tracks(tmp_path, "test", speakers=3)
    assert list(tracks[0].sources) == ["s1", "s2", "s3"]


def test_the_most_similar_folder_is_named(wham):
    with pytest.raises(
        CorpusError, match="holds wav16k/max/cv and no wav8k/max/cv; set"
    ):
        speaker_mixtures.tracks(wham, "valid", task="mix_clean", length="max")
    lay_out(wham / "wav8k/min/tt", WHAM)
    with pytest.raises(CorpusError, match="holds wav8k/min/tt and no wav8k/min/tr"):
        speaker_mixtures.tracks(wham, "train", task="mix_clean")


def test_a_task_of_the_other_corpus_raises(wham, wsj0):
    with pytest.raises(CorpusError, match=r"holds mix_both, mix_clean.*and lacks mix;"):
        speaker_mixtures.tracks(wham, "valid", sample_rate=16000, length="max")
    with pytest.raises(CorpusError, match=r"holds mix, s1, s2 and lacks mix_both"):
        speaker_mixtures.tracks(wsj0, "train", task="mix_both")


def test_missing_sources_are_counted(wsj0, caplog):
    folder = wsj0 / "2speakers/wav8k/min/tr/s2"
    gone = sorted(folder.iterdir())[1]
    gone.unlink()
    with pytest.raises(CorpusError, match=rf"1 of 3 tracks.*first: {gone}"):
        speaker_mixtures.tracks(wsj0, "train")
    assert len(speaker_mixtures.tracks(wsj0, "train", skip=True)) == 2
    assert "1 of 3 tracks lack a file" in caplog.text


def test_another_rate_than_that_of_the_folder_raises(tmp_path):
    lay_out(tmp_path / "wav8k/min/tr", ("mix", "s1", "s2"), rate=16000)
    with pytest.raises(CorpusError, match=r"s1/01aa0100.* has 16000 Hz .*says 8000"):
        speaker_mixtures.tracks(tmp_path, "train")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": "mix_noisy"}, "task='mix_noisy'; expected mix, mix_clean"),
        ({"length": "mid"}, "length='mid'; expected min or max"),
        ({"noise": True}, "task=mix has no noise"),
    ],
)
def test_wrong_options_raise(wsj0, options, sentence):
    with pytest.raises(CorpusError, match=sentence):
        speaker_mixtures.tracks(wsj0, "train", **options)


def test_another_root_raises(tmp_path):
    (tmp_path / "audio").mkdir()
    with pytest.raises(CorpusError, match="should hold wav8k/min/tr and holds audio"):
        speaker_mixtures.tracks(tmp_path, "train")
    with pytest.raises(CorpusError, match="no split 'tr'; it has train, valid, test"):
        speaker_mixtures.tracks(tmp_path, "tr")
