"""The command line: folders of stems in, a table or JSON out, errors in one line."""

import json
import shutil

import numpy as np
import pytest

from common import audio
from common.evaluation import bss_eval
from common.evaluation.bss_eval.__main__ import main

RATE = 2000
SOURCES = "drums", "vocals"
REFERENCES, NOISE = 0.1 * np.random.default_rng(0).standard_normal(
    [2, 2, 1, 2 * RATE]
).astype(np.float32)
ESTIMATES = REFERENCES + 0.3 * NOISE


@pytest.fixture
def folders(tmp_path):
    """Folders of references, with their mixture, and of estimates."""
    for name, waves in (("references", REFERENCES), ("estimates", ESTIMATES)):
        (tmp_path / name).mkdir()
        for source, wave in zip(SOURCES, waves, strict=True):
            audio.write(tmp_path / name / f"{source}.wav", wave, RATE)
    mixture = tmp_path / "references" / "mixture.wav"
    audio.write(mixture, REFERENCES.sum(axis=0), RATE)
    (tmp_path / "estimates" / "report.json").write_text("{}", "utf-8")
    return tmp_path / "references", tmp_path / "estimates"


def run(capsys, *words):
    """Exit code, and what is printed."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_json_has_every_window(folders, capsys):
    code, text, _ = run(capsys, *folders, "--json")
    assert code == 0
    result = json.loads(text)
    assert (result["mode"], result["window_seconds"], result["sample_rate"]) == (
        "v4",
        1.0,
        RATE,
    )
    expected = bss_eval.seconds(REFERENCES[:, 0], ESTIMATES[:, 0], RATE)
    for number, target in enumerate(result["targets"]):
        assert target["name"] == SOURCES[number]
        assert [frame["time"] for frame in target["frames"]] == [0.0, 1.0]
        for name, values in expected.items():
            actual = [frame["metrics"][name] for frame in target["frames"]]
            np.testing.assert_allclose(actual, values[number])
            assert target["median"][name] == pytest.approx(np.median(values[number]))


def test_table_has_medians(folders, capsys):
    code, text, _ = run(capsys, *folders, "--mode", "v3", "--sources")
    expected = bss_eval.whole(REFERENCES[:, 0], ESTIMATES[:, 0])
    cells = f"{expected['SDR'][1]:.2f} | none | {expected['SIR'][1]:.2f}"
    assert code == 0
    assert f"| vocals | {cells} |" in text


def test_windows_of_half_a_second(folders, capsys):
    words = "--window", 0.5, "--hop", 0.25, "--json"
    result = json.loads(run(capsys, *folders, *words)[1])
    times = [frame["time"] for frame in result["targets"][0]["frames"]]
    assert times == [0.25 * index for index in range(7)]


def test_estimates_of_any_name_and_order(folders, capsys):
    _, estimates = folders
    (estimates / "drums.wav").rename(estimates / "z.wav")
    result = json.loads(run(capsys, *folders, "--permute", "--json")[1])
    actual = {each["name"]: each["estimates"] for each in result["targets"]}
    assert actual == {"drums": ["z"], "vocals": ["vocals"]}


@pytest.mark.parametrize("change", [-300, 300])
def test_a_small_difference_of_lengths_is_trimmed_or_filled(folders, capsys, change):
    padded = np.pad(ESTIMATES, [(0, 0), (0, 0), (0, 300)])
    write(folders[1], padded[..., : 2 * RATE + change])
    code, text, _ = run(capsys, *folders, "--json")
    assert code == 0
    fitted = ESTIMATES[:, 0].copy()
    fitted[:, 2 * RATE + min(0, change) :] = 0.0
    expected = bss_eval.seconds(REFERENCES[:, 0], fitted, RATE)["SDR"]
    for target, row in zip(json.loads(text)["targets"], expected, strict=True):
        actual = [frame["metrics"]["SDR"] for frame in target["frames"]]
        np.testing.assert_allclose(actual, row)


def test_silence_is_null_and_in_no_median(folders, capsys):
    silent = REFERENCES[0] * (np.arange(2 * RATE) < RATE)
    audio.write(folders[0] / "drums.wav", silent, RATE)
    _, target = json.loads(run(capsys, *folders, "--json")[1])["targets"]
    first, second = (frame["metrics"]["SDR"] for frame in target["frames"])
    assert target["median"]["SDR"] == first > 0
    assert second is None


def write(folder, waves, rate=RATE):
    for source, wave in zip(SOURCES, waves, strict=True):
        audio.write(folder / f"{source}.wav", wave, rate)


def empty(folder):
    for file in folder.iterdir():
        file.unlink()


UNEVEN = ESTIMATES[0], ESTIMATES[1, :, : RATE // 2]
BAD = {
    "lacks drums, which the other folder has": lambda f: (f / "drums.wav").unlink(),
    "at 2000 Hz and the estimates at 4000 Hz": lambda f: write(f, ESTIMATES, 2 * RATE),
    "vocals.wav has 1 channels at 2000 Hz and drums.wav 2": lambda f: write(
        f, (ESTIMATES[:, 0], ESTIMATES[0])
    ),
    "have 1000 samples and the references 4000": lambda f: write(
        f, ESTIMATES[..., : RATE // 2]
    ),
    "have 1000 to 4000 samples": lambda f: write(f, UNEVEN),
    "vocals.flac and vocals.wav; leave one": lambda f: audio.write(
        f / "vocals.flac", ESTIMATES[1], RATE, "flac"
    ),
    "estimates holds no stem": empty,
    "estimates is not a folder": shutil.rmtree,
}


@pytest.mark.parametrize("said", BAD)
def test_bad_folders_are_reported_in_one_sentence(folders, capsys, said):
    BAD[said](folders[1])
    code, out, error = run(capsys, *folders)
    assert (code, out) == (1, "")
    assert said in error
    assert error.count("\n") == 1


def test_bad_windows_are_reported_in_one_sentence(folders, capsys):
    bad = ["--window", -1], ["--hop", 0], ["--window", "inf"], ["--window", "nan"]
    for words in (*bad, ["--hop", "inf"], ["--hop", "nan"]):
        code, _, error = run(capsys, *folders, *words)
        assert code == 1
        assert "expected a window" in error
