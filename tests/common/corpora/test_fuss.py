"""FUSS: example lists, root folders and error messages."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.corpora import fuss
from common.corpora.track import Channel, CorpusError
from common.records import plan


def sound(path: Path, samples: int = 80, sample_rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, 0.25), sample_rate, subtype="PCM_16")


def example_list(root: Path, text: str, split: str = "train") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{split}_example_list.txt"
    path.write_bytes(text.encode())
    return path


def test_a_list_becomes_tracks(tmp_path):
    for name, samples in {"b.wav": 80, "f0.wav": 100, "föhn.wav": 40}.items():
        sound(tmp_path / "s" / name, samples)
    example_list(
        tmp_path,
        "\ufefftrain/example00000.wav\ts/b.wav\ts/f0.wav\ts/föhn.wav\t\t\r\n"
        "\r\n"
        "train/example00001.wav\ts/b.wav\t\r\n",
    )
    first, second = fuss.tracks(tmp_path, "train")
    assert first.name == "example00000"
    assert list(first.sources) == ["background", "foreground_1", "foreground_2"]
    assert first.sources["foreground_2"] == tmp_path / "s" / "föhn.wav"
    # The mixture is the sum of the sources: its file is not read, and here not there.
    assert first.mixture is None
    assert (first.sample_rate, first.samples) == (8000, 100)
    assert (second.name, second.samples) == ("example00001", 80)


def test_bad_examples_are_left_out_and_named_on_request(tmp_path):
    sound(tmp_path / "good.wav")
    sound(tmp_path / "empty.wav", 0)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    names = ("good", "missing", "broken", "empty")
    lines = "".join(f"{name}/mix.wav\tgood.wav\t{name}.wav\n" for name in names)
    example_list(tmp_path, lines)
    bad = []
    (track,) = fuss.tracks(tmp_path, "train", bad=bad)
    assert track.sources["foreground_1"] == tmp_path / "good.wav"
    assert [each.name for each in bad] == [f"{name}/mix" for name in names[1:]]
    for name, each in zip(names[1:], bad, strict=True):
        assert f"{name}.wav" in each.reason
    example_list(tmp_path, "a.wav\tmissing.wav\n")
    with pytest.raises(CorpusError, match=r"no example that can be read.*missing\.wav"):
        fuss.tracks(tmp_path, "train", bad=[])


@pytest.mark.parametrize("below", ["", *fuss.FOLDERS])
def test_the_root_is_found_from_its_parents(tmp_path, below):
    example_list(tmp_path / below, "m\ts\n", "eval")
    assert fuss.find_root(tmp_path) == tmp_path / below
    assert fuss.find_root(str(tmp_path / below)) == tmp_path / below


def test_the_dry_set_is_preferred_to_the_reverberant_one(tmp_path):
    example_list(tmp_path / "ssdata_reverb", "m\ts\n")
    assert fuss.find_root(tmp_path).name == "ssdata_reverb"
    example_list(tmp_path / "ssdata", "m\ts\n")
    assert fuss.find_root(tmp_path).name == "ssdata"


def test_a_missing_folder_raises(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere does not exist; pass the one"):
        fuss.find_root(tmp_path / "nowhere")


def test_an_empty_folder_raises_with_the_expected_folders(tmp_path):
    with pytest.raises(CorpusError, match=r"fuss_dev/ssdata, ssdata.*holds nothing;"):
        fuss.find_root(tmp_path)


def test_a_folder_without_lists_raises_with_its_contents(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(CorpusError, match=r"holds holiday\.jpg; fetch FUSS with"):
        fuss.tracks(tmp_path, "train")


def test_a_missing_list_raises_with_the_existing_ones(tmp_path):
    example_list(tmp_path, "m\ts\n", "train")
    with pytest.raises(
        CorpusError, match=r"has no eval_example_list.txt; it has train_example_list"
    ):
        fuss.tracks(tmp_path, "eval")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no example"),
        (" \r\n\t\n", "names no example"),
        (
            "a.wav\tthere.wav\n\nlone.wav\t\n",
            r"line 3 names only the mixture lone\.wav",
        ),
        (
            "a.wav\tthere.wav\nb.wav\tx.wav\ty.wav\n",
            r"line 2 names \S+x\.wav, which does not exist \(2 of 3 source files",
        ),
        (
            "a.wav\tthere.wav\tfast.wav\n",
            r"there\.wav has 8000 Hz but \S+fast\.wav has 16000 Hz",
        ),
    ],
)
def test_a_bad_list_raises(tmp_path, text, message):
    sound(tmp_path / "there.wav")
    sound(tmp_path / "fast.wav", sample_rate=16000)
    example_list(tmp_path, text)
    with pytest.raises(CorpusError, match=message) as caught:
        fuss.tracks(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_a_list_in_another_encoding_raises(tmp_path):
    (tmp_path / "train_example_list.txt").write_bytes("f\xf6hn.wav\tb".encode("latin1"))
    with pytest.raises(CorpusError, match="is not UTF-8 text"):
        fuss.tracks(tmp_path, "train")


def test_an_unknown_split_raises(tmp_path):
    example_list(tmp_path, "m\ts\n")
    with pytest.raises(CorpusError, match="no split 'test'; it has train, validation"):
        fuss.tracks(tmp_path, "test")


def test_a_broken_or_empty_source_raises(tmp_path):
    example_list(tmp_path, "a.wav\tbroken.wav\n")
    (tmp_path / "broken.wav").write_bytes(b"RIFF, or so it says")
    with pytest.raises(ValueError, match=r"broken\.wav"):
        fuss.tracks(tmp_path, "train")
    sound(tmp_path / "broken.wav", samples=0)
    with pytest.raises(ValueError, match=r"broken\.wav"):
        fuss.tracks(tmp_path, "train")


def test_equal_mixture_names_in_two_folders_are_made_unique(tmp_path):
    sound(tmp_path / "s.wav")
    example_list(tmp_path, "a/m.wav\ts.wav\nb/m.wav\ts.wav\nb/n.wav\ts.wav\n")
    names = [track.name for track in fuss.tracks(tmp_path, "train")]
    assert names == ["a/m", "b/m", "n"]


def test_a_mixture_that_is_named_again_is_numbered(tmp_path):
    for name in ("s", "t", "u"):
        sound(tmp_path / f"{name}.wav")
    # The first field is not read, so that lists may repeat it.
    lines = "m.wav\ts.wav\nm.wav\tt.wav\nm-2.wav\tu.wav\nm.wav\tu.wav\n"
    example_list(tmp_path, lines)
    tracks = fuss.tracks(tmp_path, "train")
    assert [track.name for track in tracks] == ["m", "m-2", "m-2-2", "m-3"]
    sources = [track.sources["background"].stem for track in tracks]
    assert sources == ["s", "t", "u", "u"]
    example_list(tmp_path, "a/m.wav\ts.wav\na/m.wav\tt.wav\nb/m.wav\tu.wav\n")
    names = [track.name for track in fuss.tracks(tmp_path, "train")]
    assert names == ["a/m", "a/m-2", "b/m"]


def test_the_first_channel_is_taken_on_request(tmp_path):
    sound(tmp_path / "mono.wav")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((80, 2)), 8000)
    example_list(tmp_path, "m.wav\tmono.wav\tstereo.wav\n")
    (whole,) = fuss.tracks(tmp_path, "train")
    (first,) = fuss.tracks(tmp_path, "train", first_channel=True)
    assert whole.sources["foreground_1"] == tmp_path / "stereo.wav"
    assert first.sources["foreground_1"] == Channel(tmp_path / "stereo.wav", 0)
    # Records of mono files stay those of earlier releases.
    assert first.sources["background"] == whole.sources["background"]


def test_a_part_of_the_published_set_warns(tmp_path, caplog):
    root = tmp_path / "fuss_dev" / "ssdata"
    sound(root / "s.wav")
    example_list(root, "m.wav\ts.wav\n", "eval")
    with caplog.at_level(logging.WARNING):
        fuss.tracks(tmp_path, "eval")
    assert "names 1 examples; the published eval split has 1000" in caplog.text


def test_the_mixture_of_an_example_is_the_exact_sum(tmp_path):
    rng = np.random.default_rng(0)
    sources = rng.normal(0, 0.8, (3, 500))
    line = fuss.write_example(tmp_path, "eval", 7, sources, 16000)
    fuss.write_list(tmp_path, "eval", [line])
    (track,) = fuss.tracks(tmp_path, "eval")
    assert track.name == "example00007"
    assert [path.name for path in track.sources.values()] == [
        "background0_sound.wav",
        "foreground0_sound.wav",
        "foreground1_sound.wav",
    ]
    written = [
        soundfile.read(path, dtype="int16")[0] for path in track.sources.values()
    ]
    mixture, rate = soundfile.read(tmp_path / "eval/example00007.wav", dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(mixture, np.sum(written, axis=0, dtype=np.int64))
    assert np.abs(mixture.astype(int)).max() < 32767
    gains = [np.dot(a, b) / np.dot(b, b) for a, b in zip(written, sources, strict=True)]
    np.testing.assert_allclose(gains, gains[0], rtol=1e-4)


def test_plain_wav_files_are_probed_without_a_decoder(tmp_path, monkeypatch):
    sources = np.full((2, 800), 0.25, np.float32)
    fuss.write_list(
        tmp_path, "train", [fuss.write_example(tmp_path, "train", 0, sources, 8000)]
    )

    def refuse(path):
        raise AssertionError(f"{path} went to the decoder")

    monkeypatch.setattr("common.audio.probe", refuse)
    (track,) = fuss.tracks(tmp_path, "train")
    assert (track.sample_rate, track.samples) == (8000, 800)
    options = plan.Options("pcm16", None, None, 1)
    assert plan.make_plan([track], options, None, 1).samples == (800,)


def test_sizes_are_those_of_the_published_set():
    assert fuss.SIZES == {"train": 20000, "validation": 1000, "eval": 1000}


def test_a_list_is_checked_for_missing_files_unless_asked_otherwise(tmp_path):
    example_list(tmp_path, "a.wav\tmissing.wav\n")
    with pytest.raises(CorpusError, match=r"missing\.wav, which does not exist"):
        fuss.read_list(tmp_path, "train")
    assert len(fuss.read_list(tmp_path, "train", check_files=False)) == 1
