"""Reads the Python 2 pickles of CIFAR-100 without importing or calling anything that they name.

A pickle is a program: it can call any function, and a few bytes of it can allocate gigabytes. A batch of CIFAR-100 is a
dictionary of strings, numbers, lists and one uint8 array. So this module first checks the program against limits for
each kind of opcode. Then the standard library's unpickler runs it without the pixels, which stay in the file; any name
that it looks up must be one of the two classes below.
Opcodes: https://github.com/python/cpython/blob/3.11/Lib/pickletools.py
"""

import io
import pickle
import struct
from typing import BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import ArchiveError
from lambda_src.shared.text import shortened

# The larger batch of CIFAR-100 has about 400,000 opcodes, each of which creates an object of at most 60 bytes
MAX_OPCODES = 1_000_000
# The limit for each kind of opcode. A batch is nested three levels deep and has no back references. Without a limit,
# hashing a dictionary's key of nested tuples, each of which contains the one before twice, would take 2 ** depth steps.
_LIMITS = {"container": 16, "reference": 16, "call": 16, "plain": MAX_OPCODES}
# By opcode: its kind, and the size in bytes of its argument, or of its argument's length
_OPCODES = {
    **dict.fromkeys((b"}", b"]", b")", b"t", b"\x85", b"\x86", b"\x87"), ("container", 0)),
    **dict.fromkeys((b"(", b"a", b"e", b"s", b"u", b"N", b"\x88", b"\x89"), ("plain", 0)),
    **dict.fromkeys((b"\x80", b"K", b"q", b"U"), ("plain", 1)),
    **dict.fromkeys((b"J", b"r", b"T"), ("plain", 4)),
    **dict.fromkeys((b"c", b"R", b"b"), ("call", 0)),
    b"M": ("plain", 2),
    b"h": ("reference", 1),
    b"j": ("reference", 4),
}
_LONGEST_NAME = 1024  # longer strings are pixels


def load(file: BinaryIO) -> object:
    """The object in `file`, which must be on disk: bytes, int, bool, None, list, tuple, dict, and `Array` for pixels.

    Raises ArchiveError for anything that CIFAR-100 does not contain.
    """
    program = _checked_program(file)
    try:
        return _Unpickler(program, pixels=file).load()
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"its pickle is malformed: {shortened(str(error), 200)}") from None


def _checked_program(file: BinaryIO) -> bytes:
    """The pickle without its long strings: each is replaced by its position in the file, as a persistent id."""
    program, left = bytearray(), dict(_LIMITS)
    while (opcode := file.read(1)) != b".":
        if not opcode:
            raise ArchiveError("its pickle is truncated")
        if opcode not in _OPCODES:
            raise ArchiveError(f"its pickle has opcode {opcode!r}, which CIFAR-100 does not need")
        kind, size = _OPCODES[opcode]
        left[kind] -= 1
        if left[kind] < 0:
            raise ArchiveError(f"its pickle has over {_LIMITS[kind]:,} {kind} opcodes; CIFAR-100 has fewer")
        operand = file.read(size)
        number = int.from_bytes(operand, "little")
        if opcode == b"\x80" and number != 2:
            raise ArchiveError(f"its pickle has protocol {number}; CIFAR-100 has Python 2's, protocol 2")
        if opcode == b"r" and number > MAX_OPCODES:  # the unpickler would allocate memory up to this number
            raise ArchiveError(f"its pickle numbers an object {number:,}; CIFAR-100 has fewer")
        if opcode == b"T" and number > _LONGEST_NAME:
            opcode, operand = b"", b"J%bJ%b\x86Q" % (struct.pack("<I", file.tell()), operand)
            file.seek(number, io.SEEK_CUR)
        elif opcode in {b"T", b"U"}:
            operand += file.read(number)
        elif opcode == b"c":
            operand = file.readline(_LONGEST_NAME) + file.readline(_LONGEST_NAME)
        program += opcode + operand
    return bytes(program) + b"."


class Dtype:
    """Stands for `numpy.dtype`, and accepts only uint8, whose state (the byte order) is irrelevant."""

    def __init__(self, *arguments: object) -> None:
        if arguments != (b"u1", 0, 1):
            raise pickle.UnpicklingError("only a plain uint8 array is taken")

    def __setstate__(self, _state: object) -> None:
        pass


class Array:
    """Stands for `numpy.ndarray`: `pixels` is a two-dimensional uint8 array, mapped from the pickle's file."""

    def __init__(self, *arguments: object) -> None:
        if arguments != (Array, (0,), b"b"):
            raise pickle.UnpicklingError("only a plain uint8 array is taken")
        self.pixels: NDArray[np.uint8] = np.empty((0, 0), np.uint8)

    def __setstate__(self, state: object) -> None:
        match state:
            case (1, (int(count), int(width)), Dtype(), False, np.memmap() as data) if count * width == len(data):
                self.pixels = data.reshape(count, width)
            case _:
                raise pickle.UnpicklingError("it holds something else than a whole two-dimensional uint8 array")


class _Unpickler(pickle.Unpickler):
    _NAMES: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy.core.multiarray", "_reconstruct"): Array,
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Dtype,
    }

    def __init__(self, program: bytes, *, pixels: BinaryIO) -> None:
        super().__init__(io.BytesIO(program), fix_imports=False, encoding="bytes")
        self._pixels = pixels

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self._NAMES:
            raise pickle.UnpicklingError(f"it wants to call {f'{module} {name}'!r}; only a plain uint8 array is taken")
        return self._NAMES[module, name]

    def persistent_load(self, place: tuple[int, int]) -> NDArray[np.uint8]:
        start, size = place
        return np.memmap(self._pixels, np.uint8, "r", offset=start, shape=(size,))


def dumps(value: object) -> bytes:
    """Pickle `value` as Python 2 would: bytes, int, list, dict and two-dimensional uint8 arrays."""
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
