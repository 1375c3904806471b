"""Both forms of weight files are read, PyTorch reads ours, and no code is run."""

import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from common.weights import torch_file
from common.weights.torch_file import TorchFileError

GOLDENS = Path(__file__).parents[2] / "golden"
GOLDEN = GOLDENS / "unmix" / "original_micro"
FORMS = pytest.mark.parametrize("form", ["zip", "legacy"])


def save(path, form, content, storages=(), compression=zipfile.ZIP_STORED):
    """Lay the bytes of a pickle out as PyTorch does."""
    if form == "zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
            for key, storage in enumerate(storages):
                archive.writestr(f"archive/data/{key}", storage.tobytes())
        return
    head = torch_file.MAGIC, torch_file.PROTOCOL, {"little_endian": True}
    keys = [str(key) for key in range(len(storages))]
    parts = [pickle.dumps(each, 2) for each in head] + [content, pickle.dumps(keys, 2)]
    for storage in storages:
        parts += [struct.pack("<q", storage.size), storage.tobytes()]
    path.write_bytes(b"".join(parts))


def tensor(key, number, offset, shape, strides, kind="FloatStorage"):
    """Pickle a tensor as PyTorch does."""

    def numbers(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"

    text = b"".join(
        b"X" + struct.pack("<I", len(word)) + word
        for word in (b"storage", key.encode(), b"cpu")
    )
    first, rest = text[:12], text[12:]
    storage = first + b"ctorch\n" + kind.encode() + b"\n" + rest
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + storage + b"J" + struct.pack("<i", number) + b"tQ"
        + b"J" + struct.pack("<i", offset) + numbers(shape) + numbers(strides)
        + b"\x89}tR"
    )  # fmt: skip


class Writes:
    """Object whose pickle writes a file when it is loaded."""

    def __init__(self, path, how):
        self.path, self.how = str(path), how

    def __reduce__(self):
        if self.how == "exec":
            return exec, (f"open({self.path!r}, 'w').close()",)
        if self.how == "mkdir":
            return Path.mkdir, (Path(self.path),)
        return open, (self.path, "w")


def test_both_forms_hold_the_same():
    new, old = (torch_file.read(GOLDEN / n) for n in ("vocals.pth", "legacy.pth"))
    assert isinstance(new, OrderedDict)
    assert list(new) == list(old)
    assert new["fc1.weight"].shape == (16, 104)
    assert new["fc1.weight"].dtype == np.float32
    assert old["bn1.num_batches_tracked"].shape == ()
    assert old["bn1.num_batches_tracked"] == 1
    for name, value in new.items():
        np.testing.assert_array_equal(value, old[name])
    assert float(np.std(new["lstm.weight_hh_l1"])) > 0.1


def test_numbers_of_numpy_and_versions_beside_weights_are_plain():
    folder = GOLDENS / "clustering" / "published"
    scores = torch_file.read(folder / "asteroid_noisy.pth")["infos"]["final_metrics"]
    assert scores == {"si_sdr": 9.94, "stoi_imp": pytest.approx(0.2), "tracks": 3000}
    assert {type(each) for each in scores.values()} == {float, int}
    content = torch_file.read(folder / "asteroid_causal.pth")
    version = content["infos"]["software_versions"]["torch_version"]
    assert (type(version), version) == (str, "2.13.0+cpu")


@FORMS
@pytest.mark.parametrize(
    "content",
    [
        # A type that is no number, a text in another encoding, two numbers at once,
        # and a version that is none, or is given an attribute.
        b"cnumpy\ndtype\n(X\1\0\0\0OtR.",
        b"c_codecs\nencode\n(X\1\0\0\0aX\6\0\0\0base64tR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\2\0\0\0u1tRC\2abtR.",
        b"ctorch.torch_version\nTorchVersion\n(K\1t\x81.",
        b"ctorch.torch_version\nTorchVersion\n}X\1\0\0\0aK\1sb.",
    ],
)
def test_stand_ins_take_nothing_else(tmp_path, form, content):
    save(tmp_path / "w.pth", form, b"\x80\3" + content)
    with pytest.raises(TorchFileError, match="damaged or not a weight file"):
        torch_file.read(tmp_path / "w.pth")


@pytest.mark.parametrize("code", [">f4", "<f8", ">f2"])
def test_numbers_in_either_order_of_bytes(tmp_path, code):
    numbers = np.array([-2.5], code)
    kind, data = pickle.dumps(numbers.dtype, 2)[2:-1], numbers.tobytes()
    content = b"\x80\3cnumpy.core.multiarray\nscalar\n(" + kind
    content += b"C" + bytes([len(data)]) + data + b"tR."
    save(tmp_path / "w.pth", "zip", content)
    assert torch_file.read(tmp_path / "w.pth") == -2.5


def test_tensors_are_read_as_written(tmp_path):
    written = {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "count": np.array(7, np.int64),
        "big endian": np.arange(3, dtype=">f4"),
        "flags": np.array([True, False]),
        "nothing": np.zeros([0, 4], np.float16),
        "Stöter": np.array([1], np.uint8),
    }
    path = tmp_path / "all.pth"
    torch_file.write(path, written)
    read = torch_file.read(path)
    assert list(read) == list(written)
    for name, value in written.items():
        np.testing.assert_array_equal(read[name], value)
        assert read[name].dtype == value.dtype.newbyteorder("<")
    assert [file.name for file in tmp_path.iterdir()] == ["all.pth"]
    before = path.read_bytes()
    torch_file.write(path, written)
    assert path.read_bytes() == before


PLAIN = {
    "state_dict": {"matrix": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "config": '{"name": "Stöter"}',
    "metadata": {
        "sizes": (33, -7, 2**40),
        "losses": [0.5, -1e300, [], ()],
        "flags": [True, False, None],
        3: {"empty": {}, "matrix": np.array([1, 2])},
    },
}


def test_plain_data_beside_tensors(tmp_path):
    torch_file.write(tmp_path / "m.pth", PLAIN)
    actual = torch_file.read(tmp_path / "m.pth")
    plain, expected = (dict(each["metadata"]) for each in (actual, PLAIN))
    for each, key in ((actual, "state_dict"), (plain, 3)):
        array = (PLAIN if key in PLAIN else expected)[key]["matrix"]
        np.testing.assert_array_equal(each[key]["matrix"], array)
    assert plain.pop(3)["empty"] == expected.pop(3)["empty"] == {}
    assert plain == expected
    assert [type(each) for each in plain["flags"]] == [bool, bool, type(None)]
    assert actual["config"] == PLAIN["config"]


@pytest.mark.parametrize("value", [{1}, b"bytes", object(), 1j])
def test_other_objects_are_not_written(tmp_path, value):
    with pytest.raises(TorchFileError, match="x has elements of type"):
        torch_file.write(tmp_path / "w.pth", {"metadata": {"x": value}})
    assert not list(tmp_path.iterdir())


def test_torch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = torch_file.read(GOLDEN / "vocals.pth")
    torch_file.write(tmp_path / "w.pth", tensors)
    loaded = torch.load(tmp_path / "w.pth", weights_only=True)
    for name, value in tensors.items():
        np.testing.assert_array_equal(loaded[name].numpy(), value)


@FORMS
def test_views_of_one_storage(tmp_path, form):
    storage = np.arange(12, dtype=np.float32)
    views = tensor("0", 12, 1, (2, 3), (1, 4)), tensor("0", 12, 11, (), ())
    save(tmp_path / "v.pth", form, b"\x80\2" + b"".join(views) + b"\x86.", [storage])
    matrix, number = torch_file.read(tmp_path / "v.pth")
    np.testing.assert_array_equal(matrix, [[1, 5, 9], [2, 6, 10]])
    assert number == 11.0


@FORMS
@pytest.mark.parametrize("how", ["exec", "mkdir", "open"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_foreign_functions_are_refused_and_not_run(tmp_path, form, how, protocol):
    written, path = tmp_path / "written", tmp_path / "w.pth"
    content = pickle.dumps({"fc1.weight": Writes(written, how)}, protocol)
    pickle.loads(content)
    assert written.exists()
    written.rmdir() if how == "mkdir" else written.unlink()
    save(path, form, content)
    with pytest.raises(TorchFileError, match=r"w\.pth names .* it was not run"):
        torch_file.read(path)
    assert not written.exists()


@FORMS
@pytest.mark.parametrize(
    "content",
    [
        b"\x80\2cos\nsystem\n(X\4\0\0\0truetR.",
        b"(X\4\0\0\0trueios\nsystem\n.",
        b"(cos\nsystem\nX\4\0\0\0trueo.",
        b"\x80\4\x8c\2os\x8c\6system\x93.",
        b"\x80\4\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.",
        b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n.",
        b"ctorch\nload\n.",
        b"ccommon.weights.torch_file\nread\n.",
    ],
)
def test_functions_are_refused_however_a_pickle_names_them(tmp_path, form, content):
    save(tmp_path / "w.pth", form, content)
    with pytest.raises(TorchFileError, match="which is no part of a tensor"):
        torch_file.read(tmp_path / "w.pth")


@FORMS
def test_objects_of_an_inert_package_are_the_tuples_of_their_arguments(tmp_path, form):
    made = b"\x80\2](cos.path\nStft\nK\x10K\4\x86\x81cos\nAll\n)\x81}K\1K\2sbe."
    save(tmp_path / "w.pth", form, made)
    read = torch_file.read(tmp_path / "w.pth", inert="os")
    assert read == [(16, 4), ()]
    for package in (None, "o", "os.path"):
        with pytest.raises(TorchFileError, match=r"names os.* which is no part"):
            torch_file.read(tmp_path / "w.pth", inert=package)
    changed = b"\x80\2cos\nStft\n}X\1\0\0\0aK\1sb."
    save(tmp_path / "w.pth", form, changed)
    with pytest.raises(TorchFileError, match="damaged or not a weight file"):
        torch_file.read(tmp_path / "w.pth", inert="os")


@FORMS
def test_a_pickle_cannot_change_what_it_is_given(tmp_path, form):
    content = b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n}X\1\0\0\0aK\1sb."
    save(tmp_path / "w.pth", form, content)
    with pytest.raises(TorchFileError, match="damaged or not a weight file"):
        torch_file.read(tmp_path / "w.pth")


@FORMS
@pytest.mark.parametrize(
    ("number", "offset", "shape", "strides"),
    [
        (4, 0, (5,), (1,)),
        (4, 3, (2,), (1,)),
        (4, -1, (1,), (1,)),
        (4, 0, (2, 2), (-1, 1)),
        (4, 0, (2**30,), (0,)),
        (5, 0, (5,), (1,)),
        (2**31 - 1, 0, (4,), (1,)),
        (-4, 0, (4,), (1,)),
        (4, 0, (2, 2), (2,)),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, form, number, offset, shape, strides):
    content = b"\x80\2" + tensor("0", number, offset, shape, strides) + b"."
    save(tmp_path / "w.pth", form, content, [np.ones(4, np.float32)])
    with pytest.raises(TorchFileError, match="damaged or not a weight file"):
        torch_file.read(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["vocals.pth", "legacy.pth"])
@pytest.mark.parametrize("kept", [0, 3, 100, 0.2, 0.5, 0.99])
def test_files_that_broke_off(tmp_path, name, kept):
    content = (GOLDEN / name).read_bytes()
    length = kept if isinstance(kept, int) else int(kept * len(content))
    path = tmp_path / "w.pth"
    path.write_bytes(content[:length])
    with pytest.raises(TorchFileError, match=r"w\.pth is damaged or not a weight file"):
        torch_file.read(path)


def test_damaged_bytes_are_noticed(tmp_path):
    content = bytearray((GOLDEN / "vocals.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(TorchFileError, match="damaged or not a weight file"):
        torch_file.read(tmp_path / "w.pth")


def test_compressed_archives_are_refused(tmp_path):
    save(tmp_path / "w.pth", "zip", b"\x80\2}.", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(TorchFileError, match="is compressed"):
        torch_file.read(tmp_path / "w.pth")


def test_other_files(tmp_path):
    path = tmp_path / "w.pth"
    path.write_text("<html>404 Not Found</html>")
    with pytest.raises(TorchFileError, match="copy or download it again"):
        torch_file.read(path)
    with pytest.raises(FileNotFoundError):
        torch_file.read(tmp_path / "none.pth")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TorchFileError, match="x has elements of type complex64"):
        torch_file.write(tmp_path / "w.pth", {"x": np.zeros(2, np.complex64)})
    with pytest.raises(OSError, match="No such file"):
        torch_file.write(tmp_path / "none" / "w.pth", {"x": np.zeros(2)})
    assert not list(tmp_path.iterdir())
