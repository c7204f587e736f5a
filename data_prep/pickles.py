"""The Python 2 pickles of CIFAR-100, read without running any of them.

`pickle.loads` calls whatever its input names, and even one restricted to numpy holds the 154 MB of pixels twice.
A batch of CIFAR-100 is a dictionary of strings, numbers, lists and one uint8 array, so this reads just the opcodes
of those (pickle protocol 2, see CPython's Lib/pickletools.py). Nothing is ever imported or called, memory is
bounded, and the array's bytes go to an unnamed file from which single rows are read.
"""

import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import ArchiveError

# CIFAR-100's larger batch needs 1.6 MB for everything but its pixels. An opcode is at least one byte and makes
# an object of some 60 bytes, so this also bounds what a hostile pickle can make of our memory.
MAX_BYTES_BESIDE_PIXELS = 8 << 20
_LONGEST_NAME = 4096  # a longer string is pixels
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Rows:
    """A uint8 array of `count` x `width` that lies in a file."""

    file: BinaryIO
    count: int
    width: int

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """One row, of shape (width,)."""
        self.file.seek(row * self.width)
        return np.frombuffer(self.file.read(self.width), np.uint8)


@dataclass
class _Bytes:
    """A string too long to be a name."""

    file: BinaryIO
    size: int


@dataclass(frozen=True)
class _Name:
    """What a GLOBAL opcode names. It stays a name."""

    text: bytes


_RECONSTRUCT, _NDARRAY, _DTYPE = (
    _Name(text) for text in (b"numpy.core.multiarray _reconstruct", b"numpy ndarray", b"numpy dtype")
)
_UINT8 = object()
_EMPTY_ARRAY = object()
_MARK = object()


def load(stream: BinaryIO, scratch: Path) -> object:
    """The dictionary in `stream`: bytes, int, bool, None, list, tuple and dict, and `Rows` for an array.

    `scratch` is a folder with room for the array. Raises ArchiveError for anything that CIFAR-100 does not hold.
    """
    return _Machine(stream, scratch).run()


class _Machine:
    """The part of the pickle machine that CIFAR-100 needs."""

    def __init__(self, stream: BinaryIO, scratch: Path) -> None:
        self._stream = stream
        self._scratch = scratch
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._budget = MAX_BYTES_BESIDE_PIXELS

    def run(self) -> object:
        while (opcode := self._read(1)) != b".":
            action = _ACTIONS.get(opcode)
            if action is None:
                raise ArchiveError(f"its pickle has opcode {opcode!r}, which CIFAR-100 does not need")
            try:
                action(self)
            except (IndexError, KeyError, ValueError, TypeError) as error:
                raise ArchiveError(f"its pickle is malformed at opcode {opcode!r}: {error!r}") from None
        if len(self._stack) != 1:
            raise ArchiveError(f"its pickle ends with {len(self._stack)} objects instead of one")
        return self._stack[0]

    def _read(self, size: int) -> bytes:
        self._budget -= size
        if self._budget < 0:
            raise ArchiveError(f"its pickle has over {MAX_BYTES_BESIDE_PIXELS >> 20} MiB beside the pixels")
        data = self._stream.read(size)
        if len(data) != size:
            raise ArchiveError("its pickle is truncated")
        return data

    def _line(self) -> bytes:
        line = self._stream.readline(_LONGEST_NAME)
        self._budget -= len(line)
        return line.rstrip(b"\n")

    def _push_uint(self, size: int) -> None:
        self._stack.append(int.from_bytes(self._read(size), "little"))

    def _int(self) -> None:
        self._stack.append(struct.unpack("<i", self._read(4))[0])

    def _short_string(self) -> None:
        self._stack.append(self._read(self._read(1)[0]))

    def _string(self) -> None:
        size = int.from_bytes(self._read(4), "little")
        self._stack.append(self._read(size) if size <= _LONGEST_NAME else self._spool(size))

    def _spool(self, size: int) -> _Bytes:
        # Unnamed, so nothing is left behind whatever happens
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._scratch))  # noqa: SIM115 - lives as long as its rows
        left = size
        while left:
            chunk = self._stream.read(min(left, _CHUNK))
            if not chunk:
                raise ArchiveError("its pickle is truncated")
            file.write(chunk)
            left -= len(chunk)
        return _Bytes(file, size)

    def _pop_to_mark(self) -> list[object]:
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise IndexError("no mark")
        items = self._stack[start + 1 :]
        del self._stack[start:]
        return items

    def _tuple(self, size: int) -> None:
        if size > len(self._stack):
            raise IndexError("too few objects for a tuple")
        items = tuple(self._stack[-size:])
        self._stack[-size:] = [items]

    def _marked_tuple(self) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _appends(self) -> None:
        items = self._pop_to_mark()
        cast(list[object], _of_type(self._stack[-1], list)).extend(items)

    def _append(self) -> None:
        item = self._stack.pop()
        cast(list[object], _of_type(self._stack[-1], list)).append(item)

    def _set_items(self) -> None:
        items = self._pop_to_mark()
        target = cast(dict[object, object], _of_type(self._stack[-1], dict))
        target.update(zip(items[::2], items[1::2], strict=True))

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        cast(dict[object, object], _of_type(self._stack[-1], dict))[key] = value

    def _put(self, size: int) -> None:
        self._memo[int.from_bytes(self._read(size), "little")] = self._stack[-1]

    def _get(self, size: int) -> None:
        self._stack.append(self._memo[int.from_bytes(self._read(size), "little")])

    def _protocol(self) -> None:
        if (version := self._read(1)[0]) != 2:
            raise ArchiveError(f"its pickle has protocol {version}; CIFAR-100 has Python 2's, protocol 2")

    def _global(self) -> None:
        self._stack.append(_Name(self._line() + b" " + self._line()))

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if function == _DTYPE and arguments == (b"u1", 0, 1):
            self._stack.append(_UINT8)
        elif function == _RECONSTRUCT and arguments == (_NDARRAY, (0,), b"b"):
            self._stack.append(_EMPTY_ARRAY)
        else:
            name = function.text.decode("latin-1") if isinstance(function, _Name) else repr(function)
            raise ArchiveError(f"its pickle wants to call {name!r}; only a plain uint8 array is taken")

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack.pop()
        if target is _UINT8:  # its state repeats the byte order of a single byte
            self._stack.append(_UINT8)
            return
        match state:
            case (1, (int(count), int(width)), dtype, False, _Bytes(file, size)) if (
                target is _EMPTY_ARRAY and dtype is _UINT8 and count > 0 and width > 0 and count * width == size
            ):
                self._stack.append(Rows(file, count, width))
            case _:
                raise ArchiveError("its pickle holds something else than a whole two-dimensional uint8 array")


def _of_type(value: object, kind: type) -> object:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected")
    return value


_ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"K": lambda m: m._push_uint(1),
    b"U": _Machine._short_string,
    b"q": lambda m: m._put(1),
    b"r": lambda m: m._put(4),
    b"M": lambda m: m._push_uint(2),
    b"J": _Machine._int,
    b"T": _Machine._string,
    b"h": lambda m: m._get(1),
    b"j": lambda m: m._get(4),
    b"(": lambda m: m._stack.append(_MARK),
    b"]": lambda m: m._stack.append([]),
    b"}": lambda m: m._stack.append({}),
    b")": lambda m: m._stack.append(()),
    b"N": lambda m: m._stack.append(None),
    b"\x88": lambda m: m._stack.append(True),
    b"\x89": lambda m: m._stack.append(False),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"t": _Machine._marked_tuple,
    b"e": _Machine._appends,
    b"a": _Machine._append,
    b"u": _Machine._set_items,
    b"s": _Machine._set_item,
    b"c": _Machine._global,
    b"R": _Machine._reduce,
    b"b": _Machine._build,
    b"\x80": _Machine._protocol,
}


def dumps(value: object) -> bytes:
    """`value` as Python 2 pickles it: bytes, int, list, dict and two-dimensional uint8 arrays."""
    return b"\x80\x02" + _dumped(value) + b"."


def _dumped(value: object) -> bytes:
    match value:
        case int():
            return b"J" + struct.pack("<i", value)
        case bytes() if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        case bytes():
            return b"T" + struct.pack("<I", len(value)) + value
        case list():
            return b"](" + b"".join(map(_dumped, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_dumped(key) + _dumped(item) for key, item in value.items()) + b"u"
        case np.ndarray(dtype=np.uint8, ndim=2):
            count, width = value.shape
            dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            shape = _dumped(count) + _dumped(width) + b"\x86"
            array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            return array + b"(K\x01" + shape + dtype + b"\x89" + _dumped(value.tobytes()) + b"tb"
    raise TypeError(f"{type(value).__name__} is not part of CIFAR-100")
