"""Weight files of PyTorch, read and written without it.

A ``.pth`` file is a pickle, which can call any function on loading. This reader accepts
a short list of harmless names and refuses all others before they are looked up, so
nothing from the file is ever run. It reads the zip archives of today and the sequence
of pickles from before 2020, which the first published weights have.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from common.files import replacing

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every entry: equal weights make equal files."""

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""Type of the elements by PyTorch's name of the storage."""

Order = Literal["<", ">"]
Find = Callable[["_StorageType", str, int], np.ndarray]
"""Function from type, key and number of elements to a storage."""


class TorchFileError(ValueError):
    """A weight file that is damaged, or holds more than plain tensors."""


def read(path: str | Path, inert: str | None = None) -> Any:
    """Read what ``torch.save`` wrote: numbers, texts, containers and tensors.

    Numbers of numpy and PyTorch's version, which toolkits write beside weights, are
    read as plain numbers and as a text.

    Args:
        path: The file.
        inert: Name of a package whose objects are read as the tuples of the arguments
            that they were made of, without their state; nothing of it is imported.

    Returns:
        The object, with numpy arrays instead of tensors, in the file's byte order.

    Raises:
        TorchFileError: The file is damaged, of another format, or names a class or
            function that is not part of a tensor; nothing in it was run.
        OSError: It cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        try:
            read_ = _read_zip if head == b"PK\3\4" else _read_legacy
            return read_(file, inert)
        except _RefusedError as error:
            raise TorchFileError(f"{path} {error}") from error
        # Any of these, because damaged bytes can be any pickle.
        except Exception as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            raise TorchFileError(
                f"{path} is damaged or not a weight file of PyTorch ({problem[:200]}); "
                "expected what torch.save writes, so copy or download it again"
            ) from error


def write(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write tensors so that ``torch.load`` reads them, ``weights_only`` or not.

    Args:
        path: The file, which appears whole or not at all.
        content: Arrays of the types in :data:`STORAGES`, by name, beside plain data:
            texts, numbers, truth values, None, and mappings, lists and tuples of all
            of these. Mappings are written as ordered dictionaries.

    Raises:
        TorchFileError: A value is none of these, or an array has another type.
    """
    path = Path(path)
    arrays: list[np.ndarray] = []
    pickled = b"\x80\2" + _value("the content", content, arrays) + b"."
    with replacing(path) as draft, zipfile.ZipFile(draft, "w") as archive:
        _write(archive, path.stem, pickled, arrays)


class _RefusedError(ValueError):
    """A refused file; the text continues a sentence that begins with its name."""


class _StorageType:
    """Stand-in for the class of a storage."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


def _rebuild_tensor(
    storage: np.ndarray,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: Any,
) -> np.ndarray:
    """Stand-in for PyTorch's function that makes a tensor of a storage."""
    last = offset + sum(
        (size - 1) * step for size, step in zip(shape, strides, strict=True)
    )
    numbers = [offset, *shape, *strides]
    inside = min(numbers) >= 0 and (0 in shape or last < storage.size)
    # A step of 0 would let a few bytes stand for any number of elements.
    if not inside or math.prod(shape) > storage.size:
        raise ValueError(f"tensor of shape {shape} reaches beyond its storage")
    steps = [step * storage.itemsize for step in strides]
    # Even one element is a view: the old form fills the storages afterwards.
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


def _rebuild_parameter(tensor: np.ndarray, *_: Any) -> np.ndarray:
    """Stand-in for PyTorch's function that makes a parameter of a tensor."""
    return tensor


class _Type:
    """Type of a number of numpy, whose byte order the pickle states afterwards."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *_: Any) -> None:
        if code not in (*STORAGES.values(), "b1"):
            raise ValueError(f"a number of type {code[:80]!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


def _make_type(code: str, *_: Any) -> _Type:
    """Stand-in for numpy's ``dtype``, which makes the type of a number."""
    return _Type(code)


def _scalar(number_type: _Type, content: bytes) -> Any:
    """Stand-in for numpy's function that makes a number of its bytes."""
    (number,) = np.frombuffer(content, number_type.dtype)
    return number.item()


def _encode(text: str, encoding: str) -> bytes:
    """Stand-in for the function that encodes a text, by which pickles store bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes written in {encoding[:80]!r}")
    return text.encode("latin1")


def _version() -> type[str]:
    """Make a new stand-in for PyTorch's type of a version, a text.

    It is a type, because the pickle makes its object without a call; and a new one,
    because a pickle could change it.
    """

    class Version(str):
        __slots__ = ()

        def __new__(cls, text: str) -> str:  # type: ignore[misc]
            if not isinstance(text, str):
                raise ValueError("a version that is no text")
            return text

    return Version


def _inert() -> type[tuple[Any, ...]]:
    """Make a new type for objects of which only the arguments are kept."""

    class Inert(tuple[Any, ...]):
        __slots__ = ()

        def __new__(cls, *args: Any) -> Inert:
            return super().__new__(cls, args)

        def __setstate__(self, state: Any) -> None:
            """Leave out the state."""

    return Inert


class _Unpickler(pickle.Unpickler):
    """Unpickler that accepts only the names in a file of tensors.

    The objects that it returns have no attributes that a pickle could set.
    """

    def __init__(
        self, file: BinaryIO, order: Order, find: Find, inert: str | None
    ) -> None:
        super().__init__(file, encoding="utf-8")
        self._order, self._storage, self._inert = order, find, inert

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return _StorageType(np.dtype(STORAGES[name]).newbyteorder(self._order))
        if (module, name) in FUNCTIONS:
            # A function has attributes that a pickle could set, but its call has none.
            return FUNCTIONS[module, name].__call__  # type: ignore[operator]
        if (module, name) == ("torch.torch_version", "TorchVersion"):
            return _version()
        if self._inert and f"{module}.".startswith(f"{self._inert}."):
            return _inert()
        # A name may hold anything, such as line breaks.
        shown = f"{module}.{name}"[:200].encode("unicode_escape").decode()
        raise _RefusedError(
            f"names {shown}, which is no part of a tensor; it was not run. "
            "Expected a dictionary of tensors, as torch.save(model.state_dict()) makes"
        )

    def persistent_load(self, pid: Any) -> np.ndarray:
        what, storage_type, key, _, number, *view = pid
        if what != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise ValueError(f"storage {str(pid)[:80]} is of an unknown type")
        if number < 0:
            raise ValueError(f"storage {key} of {number} elements")
        return self._storage(storage_type, key, number)


FUNCTIONS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    # Scores that toolkits write beside the weights.
    ("numpy", "dtype"): _make_type,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}
"""Stand-ins for the functions that a file may name."""


def _read_zip(file: BinaryIO, inert: str | None) -> Any:
    archive = zipfile.ZipFile(file)
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ValueError("the archive has no data.pkl")
    root = names[0].removesuffix("data.pkl")
    big = _entry(archive, f"{root}byteorder", b"little") == b"big"
    storages: dict[str, np.ndarray] = {}

    def find(storage_type: _StorageType, key: str, number: int) -> np.ndarray:
        if key not in storages:
            content = _entry(archive, f"{root}data/{key}")
            storages[key] = np.frombuffer(content, storage_type.dtype)
        if storages[key].size != number or storages[key].dtype != storage_type.dtype:
            raise ValueError(f"storage {key} has not {number} elements")
        return storages[key]

    content = _entry(archive, names[0])
    return _Unpickler(BytesIO(content), ">" if big else "<", find, inert).load()


def _entry(archive: zipfile.ZipFile, name: str, default: bytes | None = None) -> bytes:
    """Read an uncompressed entry, as all of PyTorch's are: a small file stays small."""
    if default is not None and name not in archive.namelist():
        return default
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _read_legacy(file: BufferedReader, inert: str | None) -> Any:
    left = os.fstat(file.fileno()).st_size
    storages: dict[str, np.ndarray] = {}

    def find(storage_type: _StorageType, key: str, number: int) -> np.ndarray:
        nonlocal left
        if key not in storages:
            left -= number * storage_type.dtype.itemsize
            if left < 0:
                raise ValueError(f"storage {key} is longer than the file")
            storages[key] = np.zeros(number, storage_type.dtype)
        return storages[key]

    def load(order: Order = "<") -> Any:
        return _Unpickler(file, order, find, inert).load()

    if (load(), load()) != (MAGIC, PROTOCOL):
        raise ValueError("it does not begin as one")
    order: Order = "<" if load().get("little_endian", True) else ">"
    loaded, keys = load(order), load()
    if set(keys) != set(storages):
        raise ValueError("its list of storages is not that of its tensors")
    for key in keys:
        storage = storages[key]
        (number,) = struct.unpack(f"{order}q", file.read(8))
        if number != storage.size or file.readinto(storage.data) != storage.nbytes:
            raise ValueError(f"it ends within storage {key}")
    return loaded


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.newbyteorder("=").str[1:] not in _NAMES:
        raise TorchFileError(
            f"{name} has elements of type {array.dtype}, which PyTorch's file has no "
            f"storage for; expected one of {', '.join(STORAGES.values())}"
        )
    return np.array(array, array.dtype.newbyteorder("<"), order="C")


def _write(
    archive: zipfile.ZipFile, root: str, pickled: bytes, arrays: list[np.ndarray]
) -> None:
    def entry(name: str, content: bytes) -> None:
        archive.writestr(zipfile.ZipInfo(f"{root}/{name}", EPOCH), content)

    # PyTorch takes the first entry's folder for that of all.
    entry("data.pkl", pickled)
    entry("byteorder", b"little")
    for key, array in enumerate(arrays):
        entry(f"data/{key}", array.tobytes())
    entry("version", b"3\n")


_NAMES = {np.dtype(code).str[1:]: name for name, code in STORAGES.items()}
# Opcodes of pickle protocol 2.
_EMPTY_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def _value(name: str, value: Any, arrays: list[np.ndarray]) -> bytes:
    """Pickle a value by hand: PyTorch has classes for tensors that are not here.

    Args:
        name: What the value is called, for the error.
        value: The value.
        arrays: Storages until now, which those of the value are added to.
    """
    if isinstance(value, Mapping):
        items = (
            _value(str(key), key, arrays) + _value(str(key), entry, arrays)
            for key, entry in value.items()
        )
        return _EMPTY_ORDERED_DICT + b"(" + b"".join(items) + b"u"
    if isinstance(value, list | tuple):
        content = b"".join(_value(name, item, arrays) for item in value)
        return b"](" + content + b"e" if isinstance(value, list) else b"(%bt" % content
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, str):
        return _text(value)
    if type(value) in (int, float):
        return pickle.dumps(value, 2)[2:-1]
    arrays.append(_storable(name, value))
    return _tensor(str(len(arrays) - 1), arrays[-1])


def _tensor(key: str, array: np.ndarray) -> bytes:
    storage = (
        _text("storage")
        + f"ctorch\n{_NAMES[array.dtype.str[1:]]}\n".encode()
        + _text(key)
        + _text("cpu")
        + _number(array.size)
    )
    strides = [step // array.itemsize for step in array.strides]
    arguments = (
        b"((" + storage + b"tQ" + _number(0) + _tuple(array.shape) + _tuple(strides)
        # Needs no gradient, has no hooks.
        + b"\x89" + _EMPTY_ORDERED_DICT + b"t"
    )  # fmt: skip
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _tuple(numbers: Any) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"
