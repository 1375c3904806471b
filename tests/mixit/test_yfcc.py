"""Clip lists and videos become a corpus, records and mixtures of mixtures."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from common import beam, records
from common.corpora import fuss
from common.corpora.track import CorpusError
from mixit import data, evaluate
from mixit.config import TINY
from mixit.yfcc import __main__ as yfcc
from mixit.yfcc import clip_corpus, clip_list, video_sound

if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
    pytest.skip("videos are made with ffmpeg", allow_module_level=True)

RATE = 16000
FOLDER = "data/videos/mp4/a/b"
# Path, start, end and offset in the list; the reason why nothing is made, if any.
CLIPS = [
    (f"{FOLDER}/deep.mov", 0, 2, 0, None),
    (f"{FOLDER}/deep.mov", 0.5, 2.5, 0, None),
    (f"{FOLDER}/deep.mov", 3.9, 5.9, 0, None),
    (f"{FOLDER}/deep.mov", 1.00003, 1.50003, 1.5, None),
    (f"{FOLDER}/deep.mov", 4.2, 5.1, 0.55, None),
    (f"{FOLDER}/deep.mov", 4.2, 5.2, 0.33333, None),
    (f"{FOLDER}/deep.mov", 5.5, 6.09, 1, None),
    (f"{FOLDER}/deep.mov", 5.5, 7.5, 0, "past the end"),
    (f"{FOLDER}/deep.mov", 8, 9, 0, "past the end"),
    (f"{FOLDER}/flat.mkv", 0.25, 0.5, 0.125, None),
    (f"{FOLDER}/flat.mkv", 4.4, 5.4, 0, None),
    ("/elsewhere/half.mov", 0.1, 2.1, 0, None),
    (f"{FOLDER}/mute.mp4", 0, 2, 0, "without sound"),
    (f"{FOLDER}/junk.mp4", 0, 2, 0, "broken"),
    (f"{FOLDER}/empty.mp4", 0, 2, 0, "broken"),
    (f"{FOLDER}/cut.mov", 4, 6, 0, "broken"),
    (f"{FOLDER}/cut.mov", 0.5, 1.5, 0.75, None),
    (f"{FOLDER}/none.mp4", 0, 2, 0, "missing"),
    (f"{FOLDER}/deep.mov", 3, 2, 0, "bad row"),
    (f"{FOLDER}/deep.mov", 0, 2, 0, "repeated"),
]
COUNTS = "bad row 1, broken 3, missing 1, past the end 2, repeated 1, without sound 1"


def noise(seed, gain=0.1):
    wave = gain * np.random.default_rng(seed).standard_normal(6 * RATE)
    return np.round(32768 * wave).clip(-32768, 32767).astype(np.int16)


TRUE = {"deep": noise(0), "flat": noise(1), "half": noise(2, 0.5)}
TRUE["cut"] = TRUE["deep"]


def film(path, wave):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = path.with_suffix(".wav")
    soundfile.write(sound, wave, RATE)
    picture = ["-f", "lavfi", "-i", "testsrc=size=32x24:rate=5:duration=6"]
    words = ["-c:v", "mpeg4", "-c:a", "pcm_s16le", "-movflags", "faststart"]
    if path.suffix == ".mkv":
        words = words[:4]
    command = ["ffmpeg", "-v", "error", *picture, "-i", sound, *words, path]
    subprocess.run(command, check=True)
    sound.unlink()


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """One video as the list names it, one without leading folders, one bare."""
    folder = tmp_path_factory.mktemp("videos")
    whole = folder / FOLDER / "deep.mov"
    film(whole, TRUE["deep"])
    film(folder / "a/b/flat.mkv", TRUE["flat"])
    film(folder / "half.mov", TRUE["half"])
    (folder / "cut.mov").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "junk.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "empty.mp4").touch()
    words = ["ffmpeg", "-v", "error", "-i", whole, "-an", "-c", "copy"]
    subprocess.run([*words, folder / "mute.mp4"], check=True)
    return folder


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def command(videos, output, **lists):
    words = ["--videos", str(videos), "--output", str(output), "--seconds", "2"]
    for name, path in lists.items():
        words += [f"--{name}", str(path)]
    return words


@pytest.fixture(scope="module")
def made(videos, tmp_path_factory):
    """A corpus of the twenty clips, made by one thread."""
    folder = tmp_path_factory.mktemp("made")
    header = [("video", "start", "end", "offset")]
    path = write(folder / "clips.csv", header + [row[:4] for row in CLIPS])
    assert yfcc.main([*command(videos, folder / "out", train=path), "--jobs", "1"]) == 0
    return folder / "out"


def expected(video, start, end, offset):
    """The example that a row asks for, of the numbers that went into the video."""
    wave = TRUE[video.split("/")[-1].split(".")[0]]
    example = np.zeros(2 * RATE, np.int16)
    first, position = round(start * RATE), round(offset * RATE)
    part = wave[first : first + round((end - start) * RATE)]
    example[position : position + len(part)] = part
    return example


def content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_twenty_clips_become_the_right_samples(made):
    good = [row[:4] for row in CLIPS if row[4] is None]
    tracks = fuss.tracks(made, "train")
    assert len(tracks) == len(good) == 11
    for track, row in zip(tracks, good, strict=True):
        assert track.sample_rate == RATE
        assert list(track.sources) == ["background"]
        wave, _ = soundfile.read(track.sources["background"], dtype="int16")
        np.testing.assert_array_equal(wave, expected(*row), err_msg=str(row))
    names = [track.name for track in tracks]
    assert names[:6] == [f"deep_{t}" for t in (0, 500, 3900, 1000, 4200)] + [
        "deep_4200-2"
    ]
    assert names[-2:] == ["half_100", "cut_500"]
    lines = (made / "train_example_list.txt").read_text().splitlines()
    assert lines[0] == "train/deep_0.wav\ttrain/deep_0.wav"


def test_every_skipped_row_is_listed(made):
    with (made / "skipped_train.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    expected_rows = [
        (str(line), row[0], row[4])
        for line, row in enumerate(CLIPS, 2)
        if row[4] is not None
    ]
    assert [(row["row"], row["path"], row["reason"]) for row in listed] == expected_rows
    assert {row["list"] for row in listed} == {"clips.csv"}
    assert all(row["detail"] for row in listed)


def test_the_corpus_goes_into_records_and_back(made, tmp_path):
    config = replace(
        TINY,
        data_root=str(made),
        records=str(tmp_path),
        model=replace(TINY.model, sample_rate=RATE),
        segment_seconds=2.0,
    )
    index = data.load_records(config, data.root(config), "train")
    good = [row[:4] for row in CLIPS if row[4] is None]
    assert len(index) == len(good)
    for number, row in enumerate(good):
        actual = records.excerpt(index, number, 0, 2 * RATE)["sources"].numpy()
        np.testing.assert_array_equal(actual, expected(*row)[None, None] / 32768)
    unlabelled, _ = data.pools(config, index)
    example = data.training_example(config, unlabelled, None)(0)
    assert example["sources"].shape == (2, 1, 2 * RATE)


def test_the_result_does_not_depend_on_jobs_and_is_printed(
    videos, made, tmp_path, capsys
):
    header = [("video", "start", "end", "offset")]
    path = write(tmp_path / "clips.csv", header + [row[:4] for row in CLIPS])
    words = command(videos, tmp_path / "out", train=path)
    assert yfcc.main([*words, "--jobs", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: line 1 is a header: video,start,end,offset"
    listed = tmp_path / "out/train_example_list.txt"
    assert lines[1] == f"train: 11 of 20 clips written, {COUNTS}: {listed}"
    assert content(tmp_path / "out") == content(made)


def test_a_complete_result_is_not_made_again(videos, tmp_path, capsys, monkeypatch):
    rows = [(f"{FOLDER}/deep.mov", t, t + 0.5, 0) for t in (0, 1, 2, 3)]
    path = write(tmp_path / "clips.csv", [*rows, (f"{FOLDER}/none.mp4", 0, 1, 0)])
    words = command(videos, tmp_path / "out", eval=path)
    assert yfcc.main(words) == 0
    before = content(tmp_path / "out")
    (tmp_path / "out/eval/deep_0.wav").unlink()
    cut = tmp_path / "out/eval/deep_2000.wav"
    cut.write_bytes(cut.read_bytes()[:-2])
    starts, read = [], video_sound.read

    def recorded(path, start, *words):
        starts.append(start / RATE)
        return read(path, start, *words)

    monkeypatch.setattr(video_sound, "read", recorded)
    capsys.readouterr()
    assert yfcc.main(words) == 0
    assert sorted(starts) == [0, 2]
    assert "eval: 4 of 5 clips written (2 of them before), missing 1" in (
        capsys.readouterr().out
    )
    assert content(tmp_path / "out") == before


def test_jobs_of_a_pipeline_make_the_same_corpus(videos, made, tmp_path, monkeypatch):
    header = [("video", "start", "end", "offset")]
    path = write(tmp_path / "clips.csv", header + [row[:4] for row in CLIPS])
    words = [*command(videos, tmp_path / "out", train=path), "--beam"]
    monkeypatch.setattr(clip_corpus, "AT_A_TIME", 4)
    runs = []

    def killed(work, jobs):
        runs.append(len(jobs))
        for job in jobs[1:3]:
            work(job)
            work(job)  # as a runner may do
        raise OSError("the cluster is gone")

    def whole(work, jobs):
        runs.append(len(jobs))
        for job in reversed(jobs):
            work(job)

    for spread, code in ((killed, 1), (lambda work, jobs: None, 1), (whole, 0)):
        monkeypatch.setattr(beam, "spread", lambda options, spread=spread: spread)
        assert yfcc.main(words) == code
    assert runs == [5, 3]
    assert content(tmp_path / "out") == content(made)


def test_a_worker_without_the_shared_files_is_refused(videos, tmp_path):
    with pytest.raises(CorpusError, match=r"no\.json cannot be read .*shared disk"):
        clip_corpus.make_batch(str(tmp_path / "no.json"))
    job = {"root": str(tmp_path), "split": "train", "videos": "/no/videos"}
    (tmp_path / "a.json").write_text(json.dumps(job))
    with pytest.raises(CorpusError, match=r"/no/videos is not here; every worker"):
        clip_corpus.make_batch(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("fault", "code"), [(KeyboardInterrupt(), 130), (OSError("disk is full"), 1)]
)
def test_a_stop_leaves_no_half_file_and_no_list(
    videos, tmp_path, monkeypatch, fault, code
):
    rows = [(f"{FOLDER}/deep.mov", t, t + 0.5, 0) for t in (0, 1, 2, 3)]
    path = write(tmp_path / "clips.csv", rows)
    words = [*command(videos, tmp_path / "out", train=path), "--jobs", "1"]
    write_wav, written = clip_corpus.write_wav, []

    def stopped(path, wave, rate):
        write_wav(path, wave, rate)
        written.append(path)
        if len(written) == 3:
            path.write_bytes(path.read_bytes()[:100])
            raise fault

    with monkeypatch.context() as patch:
        patch.setattr(clip_corpus, "write_wav", stopped)
        assert yfcc.main(words) == code
    names = {name for name in content(tmp_path / "out") if "3000" not in name}
    assert names == {"recipe_train.json", "train/deep_0.wav", "train/deep_1000.wav"}
    assert yfcc.main(words) == 0
    assert len(fuss.tracks(tmp_path / "out", "train")) == 4


def test_another_list_or_recipe_is_refused(videos, made, tmp_path, capsys):
    path = write(tmp_path / "other.csv", [(f"{FOLDER}/deep.mov", 0, 1, 0)])
    before = content(made)
    assert yfcc.main(command(videos, made, train=path)) == 1
    assert "holds a split train made with another list; choose" in (
        capsys.readouterr().err
    )
    path = write(tmp_path / "clips.csv", [row[:4] for row in CLIPS])
    words = [*command(videos, made, train=path), "--sample-rate", "8000"]
    assert yfcc.main([*words, "--seconds", "3"]) == 1
    assert "made with another length and sample rate; ch" in capsys.readouterr().err
    assert content(made) == before
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    fuss.write_list(foreign, "train", ["a.wav\ta.wav"])
    assert yfcc.main(command(videos, foreign, train=path)) == 1
    assert "choose another --output" in capsys.readouterr().err


def test_mixtures_of_mixtures_have_their_clips_as_sources(videos, tmp_path, capsys):
    deep, half = f"{FOLDER}/deep.mov", "half.mov"
    rows = [
        (deep, 0, 2, 0, half, 1, 3, 0),
        (deep, 4.2, 5.2, 0.5, f"{FOLDER}/flat.mkv", 3.3, 4.3, 0.25),
        (deep, 1, 2, 0, f"{FOLDER}/none.mp4", 1, 2, 0),
        (half, 1, 3, 0, half, 1, 3, 0),
    ]
    path = write(tmp_path / "moms.csv", rows)
    assert yfcc.main(command(videos, tmp_path / "out", moms=path)) == 0
    root = tmp_path / "out/moms"
    line = f"moms: 3 of 4 mixtures of two clips written, missing 1: {root}"
    assert line in capsys.readouterr().out
    assert f"{FOLDER}/none.mp4,missing" in (root / "skipped_eval.csv").read_text()
    tracks = fuss.tracks(root, "eval")
    names = ["deep_0+half_1000", "deep_4200+flat_3300", "half_1000+half_1000"]
    assert [track.name for track in tracks] == names
    for track, row in zip(tracks, [rows[0], rows[1], rows[3]], strict=True):
        read = [
            soundfile.read(source, dtype="int16")[0].astype(int)
            for source in track.sources.values()
        ]
        mixture, _ = soundfile.read(root / f"eval/{track.name}.wav", dtype="int16")
        np.testing.assert_array_equal(sum(read), mixture)
        clips = [expected(*row[:4]).astype(float), expected(*row[4:]).astype(float)]
        peak = max(np.abs(sum(clips)).max(), np.abs(clips).max()) / 32768
        gain = min(1.0, 0.98 / peak) * 32767 / 32768
        assert (gain < 0.9) == ("half" in track.name)
        np.testing.assert_allclose(read, gain * np.stack(clips), atol=0.51)
    mixtures = [evaluate.read_mixtures(g, RATE) for g in evaluate.of_mixtures(tracks)]
    assert mixtures[0].shape == (2, 2 * RATE)


@pytest.mark.slow
def test_mixtures_of_mixtures_are_measured(videos, tmp_path):
    row = (f"{FOLDER}/deep.mov", 0, 2, 0, f"{FOLDER}/flat.mkv", 1, 2.5, 0.25)
    path = write(tmp_path / "moms.csv", [row])
    assert yfcc.main(command(videos, tmp_path / "out", moms=path)) == 0
    words = ["--model", "mini", "--data", str(tmp_path / "out/moms")]
    words += ["--moms", "sources", "--output", str(tmp_path / "scores")]
    assert evaluate.main(words) == 0
    summary = json.loads((tmp_path / "scores/summary.json").read_text())
    assert np.isfinite(summary["MoMi"]["mean"])
    assert "deep_0+flat_1000" in (tmp_path / "scores/scores.csv").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No list is named; give --train, --validation, --eval or --moms"),
        (["--train", "good.csv", "--seconds", "0"], "--seconds 0 and"),
        (["--train", "good.csv", "--seconds", "nan"], "--seconds nan and"),
        (["--train", "good.csv", "--sample-rate", "-1"], "--sample-rate -1 make no"),
        (["--train", "good.csv", "--jobs", "0"], "--jobs is 0"),
        (["--train", "good.csv", "--videos", "none"], "folder of videos none does not"),
        (
            ["--train", "good.csv", "--videos", "good.csv"],
            "csv is a file, not a folder",
        ),
        (["--train", "good.csv", "--output", "good.csv"], "good.csv is a file; choose"),
        (["--moms", "good.csv"], "4 columns, expected 8; --train, --validation and"),
        (["--train", "none.csv"], "none.csv does not exist; give a clip list"),
        (["--train", "empty.csv"], "empty.csv holds no clip: it is empty; expected"),
        (["--train", "good.csv", "--seconds", "1"], "after the 1 s of an example"),
        (["--strict", "--train", "half.csv"], "half.csv line 2: end in s is 'x', exp"),
    ],
)
def test_bad_input_is_reported_in_one_sentence(
    words, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text("a.mp4,0,2,0\n")
    (tmp_path / "half.csv").write_text("a.mp4,0,2,0\na.mp4,0,x,0\n")
    (tmp_path / "empty.csv").touch()
    assert yfcc.main(["--videos", ".", "--output", "out", *words]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "out").exists()


def test_nothing_written_is_an_error(tmp_path, capsys):
    rows = [("data/videos/x.mp4", 0, 2, 0), ("data/y.mp4", 0, 2, 0)]
    path = write(tmp_path / "clips.csv", rows)
    words = command(tmp_path, tmp_path / "out", train=path)
    assert yfcc.main(words) == 1
    error = capsys.readouterr().err
    assert "None of 2 clips could be written (missing 2); the first, line 1 of" in error
    assert f"{tmp_path}/data/videos/x.mp4 or {tmp_path}/x.mp4" in error
    assert not (tmp_path / "out/train_example_list.txt").exists()
    assert (tmp_path / "out/skipped_train.csv").read_text().count("missing") == 2
    # Nothing is there, so another list may follow.
    path = write(tmp_path / "other.csv", rows[:1])
    assert yfcc.main(command(tmp_path, tmp_path / "out", train=path)) == 1
    assert "None of 1 clips" in capsys.readouterr().err


def test_names_too_long_for_a_disk_are_missing(tmp_path):
    with pytest.raises(video_sound.ClipError, match="missing"):
        clip_corpus.find_video(tmp_path, f"data/{'x' * 300}.mp4")


def test_several_lists_make_one_split(videos, tmp_path):
    one = write(tmp_path / "1.csv", [(f"{FOLDER}/deep.mov", 0, 1, 0)])
    two = write(tmp_path / "2.csv", [("half.mov", 1, 2, 0)])
    clips = clip_list.read([one, two], 1, seconds=2)
    recipe = clip_corpus.ClipFormat(2.0, 8000)
    done = clip_corpus.make(clips, videos, tmp_path / "out", "validation", recipe)
    assert done["written"] == 2
    tracks = fuss.tracks(tmp_path / "out", "validation")
    assert [track.name for track in tracks] == ["deep_0", "half_1000"]
    assert {(track.sample_rate, track.samples) for track in tracks} == {(8000, 16000)}
