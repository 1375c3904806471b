"""Readers of files from strangers, files to start from, and the errors they raise."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import tensorflow as tf
import yaml

from clustering.config import ClusteringConfig
from clustering.foreign import experiment_file
from clustering.presets import PRESETS
from common import audio, download
from common.audio import decoding, headers, plain_wav
from common.config import ConfigError, save
from common.corpora import fuss, scaper_output
from common.corpora.track import Channel, CorpusError, Sum, Track
from common.download import DownloadError
from common.evaluation.table import Rows
from common.records import RecordsError, roomsim, verify, write
from common.records.index import INDEX_NAME, load_index
from common.records.plan import Options, make_plan
from common.records.shards import _read_job, read_report, save_job
from common.separation import report
from common.training import network_file
from common.training.checkpoint import CheckpointError
from common.training.network_file import NetworkFileError
from common.weights import card, tf1, torch_file
from common.weights.card import Card, CardError
from common.weights.torch_file import TorchFileError
from mixit.augment import mixing_list
from mixit.yfcc import clip_list

RATE = 8000


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: Reads a file.
        seeds: Makes the content of files that it reads, in an empty folder.
        errors: What it may raise about a file that is damaged.
        name: Name that the file must have.
    """

    read: Callable[[Path], Any]
    seeds: Callable[[Path], Sequence[bytes]]
    errors: tuple[type[BaseException], ...] = ()
    name: str = "file"


def tone() -> np.ndarray:
    return (0.5 * np.sin(np.arange(60.0)))[:, np.newaxis]


def sounds(folder: Path) -> list[bytes]:
    """Short sounds of the containers that libsndfile reads."""
    found = []
    for form, subtype in (
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"),
        ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"),
    ):  # fmt: skip
        file = io.BytesIO()
        soundfile.write(file, tone(), RATE, subtype, format=form)
        found.append(file.getvalue())
    return found


def read_sound(path: Path) -> None:
    """Read a sound by libsndfile alone; ffmpeg reads in a process of its own."""

    def refuse(path: Path) -> None:
        raise audio.AudioError("not read here")

    with mock.patch.object(decoding, "_streams", refuse):
        audio.read(path, 0, 1 << 16)


def read_headers(path: Path) -> None:
    plain_wav.read(path)
    for container in ("WAV", "OGG", "MP3"):
        try:
            headers.is_whole(path, container)
        except headers.AudioError:
            continue


def torch_files(folder: Path) -> list[bytes]:
    torch_file.write(folder / "a.pth", {"weight": np.eye(2, dtype="f4"), "step": 3})
    legacy = pickle.dumps(torch_file.MAGIC, 2) + pickle.dumps(torch_file.PROTOCOL, 2)
    legacy += pickle.dumps({"little_endian": True}, 2) + pickle.dumps({"a": 1}, 2)
    return [(folder / "a.pth").read_bytes(), legacy + pickle.dumps([], 2)]


def repacked(path: Path) -> None:
    """Read the bytes as the pickle of a whole archive, past its checksums."""
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a/data.pkl", path.read_bytes())
        file.writestr("a/data/0", np.eye(2, dtype="f4").tobytes())
    torch_file.read(archive)


def pickles(folder: Path) -> list[bytes]:
    torch_file.write(folder / "a.pth", {"weight": np.eye(2, dtype="f4"), "step": 3})
    with zipfile.ZipFile(folder / "a.pth") as file:
        return [file.read("a/data.pkl")]


def safetensors(folder: Path) -> list[bytes]:
    from safetensors.numpy import save as written

    network_file.write(folder / "a", tf.Module())
    values = {"a": np.eye(2, dtype="f4"), "b": np.ones([], "f2")}
    return [(folder / "a").read_bytes(), written(values), written({})]


def checkpoints(folder: Path) -> list[bytes]:
    variable = tf.Variable(np.eye(2, dtype="f4"))
    tf.train.Checkpoint(weight=variable).write(str(folder / "a"))
    return [(folder / "a.index").read_bytes()]


def read_checkpoint(path: Path) -> None:
    data = path.with_name(f"{path.stem}.data-00000-of-00001")
    if not data.exists():
        data.write_bytes(np.eye(2, dtype="f4").tobytes() + bytes(400))
    tf1.read(path)


def cards(folder: Path) -> list[bytes]:
    card.write(Card("Small", ("a", "b"), RATE, 1), folder)
    score = {"measure": "SDR", "unit": "dB", "measured_on": "x", "recorded": True}
    values = json.loads((folder / card.NAME).read_text())
    values["scores"] = [{**score, "values": {"mean": 1.5}}]
    return [(folder / card.NAME).read_bytes(), json.dumps(values).encode()]


def configurations(folder: Path) -> list[bytes]:
    save(PRESETS["tiny"], folder / "config.json")
    return [(folder / "config.json").read_bytes()]


def read_configuration(path: Path) -> None:
    from common.config import load

    load(ClusteringConfig, path)


def experiments(folder: Path) -> list[bytes]:
    repository = Path(__file__).parents[2]
    plain = {"preset": "tiny", "lr": 0.001, "spectral": {"recurrent": {"hidden": 6}}}
    return [
        (repository / "best_model" / "config.yml").read_bytes(),
        yaml.safe_dump({**plain, "model": "mini"}).encode(),
    ]


def record_folders(folder: Path) -> Path:
    wave = np.round(tone().T * 2**15).astype("f4") / 2**15
    tracks = [Track(name, RATE, 60, {"x": wave}) for name in "ab"]
    write(tracks, folder, shards=1, jobs=1)
    return folder


def indexes(folder: Path) -> list[bytes]:
    return [(record_folders(folder) / INDEX_NAME).read_bytes()]


def shards(folder: Path) -> list[bytes]:
    return [next(record_folders(folder).glob("*.tfrecord")).read_bytes()]


def read_index(path: Path) -> None:
    beside(path)
    load_index(path.parent)


def read_shard(path: Path) -> None:
    beside(path)
    verify(path.parent)


def beside(path: Path) -> None:
    """Put the other file of a folder of records beside one of them."""
    if len(list(path.parent.iterdir())) > 1:
        return
    with tempfile.TemporaryDirectory() as folder:
        for each in record_folders(Path(folder)).iterdir():
            if each.name != path.name:
                shutil.copy(each, path.parent)


def shard_reports(folder: Path) -> list[bytes]:
    part = {"plan": "x", "shard": {"name": "a", "bytes": 3, "sha256": ""}}
    return [json.dumps({**part, "tracks": [[0]]}).encode()]


def read_shard_report(path: Path) -> None:
    from types import SimpleNamespace

    plan: Any = SimpleNamespace(shards=[(0, 1)], digest="x")
    shard = path.with_name("records-00000-of-00001.tfrecord")
    shard.write_bytes(b"abc")
    read_report(shard, plan)


def shard_jobs(folder: Path) -> list[bytes]:
    sound = np.zeros([1, 400], np.float32)
    audio.write(folder / "a.wav", sound, 8000)
    sources = {"a": folder / "a.wav", "b": Channel(folder / "a.wav", 0)}
    track = Track("a", 8000, 400, sources, Sum(tuple(sources.values())))
    options = Options("pcm16", None, None, None)
    plan = make_plan([track], options, None, 1).part(0)
    return [save_job(plan, folder / "a.tfrecord").read_bytes()]


def roomsims(folder: Path) -> list[bytes]:
    values = {
        roomsim.MIXTURE: tf.train.FloatList(value=[0.5, 0.25]),
        roomsim.SOURCES: tf.train.FloatList(value=[0.25, 0.25, 0.25, 0.0]),
    }
    features = {key: tf.train.Feature(float_list=each) for key, each in values.items()}
    message = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter(str(folder / "a")) as writer:
        writer.write(message.SerializeToString(deterministic=True))
    return [(folder / "a").read_bytes()]


def read_roomsim(path: Path) -> None:
    list(roomsim._examples(path))


def mixing_lists(folder: Path) -> list[bytes]:
    events = (
        mixing_list.Event("a.wav", 0, 10, 0, None),
        mixing_list.Event("b.wav", 0, 5, 3, 2.5),
    )
    mixing_list.write(folder / "a", [mixing_list.Mixture("train/a", events)] * 2)
    return [(folder / "a").read_bytes()]


def soundscapes(folder: Path) -> list[bytes]:
    event = {"label": "dog", "role": "foreground"}
    sandbox = {"scaper": {"isolated_events_audio_path": ["a_sources/f0.wav"]}}
    data = {"namespace": "scaper", "data": [{"value": event}], "sandbox": sandbox}
    return [json.dumps({"annotations": [data]}).encode()]


def tables(folder: Path) -> list[bytes]:
    rows = Rows(folder / "a.csv", ["song", "SDR"], "key")
    rows["one"] = {"song": "one", "SDR": 1.5}
    return [rows.part.read_bytes()]


def read_table(path: Path) -> None:
    rows = Rows(path.with_name("a.csv"), ["song", "SDR"], "key")
    rows.part.write_bytes(path.read_bytes())
    Rows(path.with_name("a.csv"), ["song", "SDR"], "key")


TARGETS = {
    "headers": Target(read_headers, sounds),
    "sound": Target(read_sound, sounds, (audio.AudioError,)),
    "pth": Target(torch_file.read, torch_files, (TorchFileError,)),
    "pickle": Target(repacked, pickles, (TorchFileError,)),
    "safetensors": Target(network_file.read, safetensors, (NetworkFileError,)),
    "tf1_index": Target(read_checkpoint, checkpoints, (CheckpointError,), "a.index"),
    "card": Target(lambda p: card.read(p.parent), cards, (CardError,), card.NAME),
    "config": Target(read_configuration, configurations, (ConfigError,)),
    "experiment": Target(experiment_file.read, experiments, (ConfigError,), "a.yml"),
    "index": Target(read_index, indexes, (RecordsError,), INDEX_NAME),
    "shard": Target(
        read_shard, shards, (RecordsError,), "records-00000-of-00001.tfrecord"
    ),
    "shard_job": Target(_read_job, shard_jobs, (RecordsError,), "a.job.json"),
    "shard_report": Target(
        read_shard_report, shard_reports, (RecordsError,), "records-00000-of-00001.json"
    ),
    "roomsim": Target(read_roomsim, roomsims, (CorpusError,)),
    "mixing_list": Target(mixing_list.read, mixing_lists, (CorpusError,)),
    "clip_list": Target(
        lambda path: clip_list.read([path], 2, seconds=10.0),
        lambda folder: [b"a.mp4,0,9,0,b.mp4,2.5,9,0.5\nc.mp4,1,5,1,d.mp4,0,3,2\n"],
        (CorpusError,),
    ),
    "fuss_list": Target(
        lambda path: fuss.read_list(path.parent, "train"),
        lambda folder: [b"train/a.wav\ttrain/a_sources/b.wav\ttrain/a_sources/c.wav\n"],
        (CorpusError,),
        fuss.list_name("train"),
    ),
    "soundscape": Target(
        lambda path: scaper_output.tracks(path.parent, None),
        soundscapes,
        (CorpusError,),
        "a.jams",
    ),
    "table": Target(read_table, tables),
    "report": Target(
        report.read, lambda folder: [b'{"format": 1, "status": "done", "stems": {}}']
    ),
    "downloads": Target(
        lambda path: download.recorded(path.with_name("a.pth")),
        lambda folder: [b'{"a.pth": {"address": "x", "size": 3, "sha256": "ab"}}'],
        (DownloadError,),
        download.RECORD,
    ),
}
"""Readers by name."""


def seeds(target: Target) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return list(target.seeds(Path(folder)))


class Reader:
    """Reads contents by a target from a file in memory.

    Args:
        target: The target.
        folder: An empty folder for the file.
    """

    def __init__(self, target: Target, folder: Path) -> None:
        self._target, self._path = target, folder / target.name

    def __call__(self, content: bytes) -> BaseException | None:
        """Return the error that the target may not raise, None where all is well."""
        self._path.write_bytes(content)
        try:
            self._target.read(self._path)
        except self._target.errors as error:
            lines = str(error).split("\n")
            return None if len(lines) == 1 else ValueError(f"{len(lines)} lines")
        except Exception as error:
            return error
        return None
