import builtins
import contextlib
import os
import pickle
import pickletools
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_prep import pickles
from data_prep.errors import ArchiveError


def load(data: bytes) -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return pickles.load(file)


plain = st.integers(-(2**31), 2**31 - 1) | st.binary(max_size=300)
batches = st.dictionaries(st.binary(max_size=9), plain | st.lists(plain), max_size=9)


@given(batches)
def test_a_written_batch_is_read_back_by_this_project_and_by_pickle(value: object) -> None:
    data = pickles.dumps(value)
    assert load(data) == value
    assert pickle.loads(data, encoding="bytes") == value  # noqa: S301 - made two lines above


@given(arrays(np.uint8, st.tuples(st.integers(5, 9), st.integers(1000, 3072))))
def test_arrays_are_read_back(array: Any) -> None:
    data = pickles.dumps({b"data": array})
    assert np.array_equal(load(data)[b"data"].pixels, array)
    assert np.array_equal(pickle.loads(data, encoding="bytes")[b"data"], array)  # noqa: S301 - made above


class _Calls:
    """Pickles to a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, Any]:
        return self._call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call",
    [
        _Calls(os.system, "touch executed"),
        _Calls(builtins.eval, "open('executed', 'w')"),
        _Calls(np.fromfile, "executed"),
        _Calls(os.mkdir, "executed"),
    ],
)
def test_a_hostile_pickle_is_refused_and_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: _Calls, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArchiveError):
        load(pickle.dumps({b"data": call}, protocol))
    assert not Path("executed").exists()


def test_a_call_is_refused_by_its_name() -> None:
    with pytest.raises(ArchiveError, match="wants to call 'posix system'"):
        load(b"\x80\x02cposix\nsystem\nU\x04true\x85R.")


OPCODES = st.sampled_from(
    [opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.arg is None]
    + [b"c__builtin__\neval\n", b"U\x04data", b"K\x01", b"o", b"i", b"q\x00", b"h\x00"]
)


@given(st.binary(max_size=200) | st.lists(OPCODES, max_size=60).map(b"".join))
def test_arbitrary_opcodes_give_plain_values_or_an_archive_error(body: bytes) -> None:
    with contextlib.suppress(ArchiveError):
        load(b"\x80\x02" + body + b".")


@given(st.floats(0, 0.9999))
def test_a_pickle_cut_anywhere_is_refused(cut: float) -> None:
    data = pickles.dumps({b"names": [b"a", b"b"], b"data": np.zeros((9, 3072), np.uint8)})
    with pytest.raises(ArchiveError):
        load(data[: int(len(data) * cut)])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"T" + struct.pack("<I", 2**32 - 1) + b"short", "truncated"),
        (b"\x80\x04", "protocol 4"),
        (b"u", "malformed"),
        (b"K\x01h\x07", "malformed"),
        (b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R", "only a plain uint8 array is taken"),
        (b"K\x01(K\x01tb", "malformed"),
        (
            pickles.dumps({b"data": np.zeros((2, 3), np.uint8)})[2:]
            .replace(b"K\x03U\x01|", b"K\x03U\x01<")
            .replace(b"\x00" * 6 + b"tb", b"\x00" * 6 + b"Ntb"),
            "something else than a whole two-dimensional uint8 array",
        ),
    ],
)
def test_the_reason_is_given(body: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        load(b"\x80\x02" + body + b".")


def doubled(depth: int) -> bytes:
    """A dictionary whose key is a tuple of the same tuple twice, and so on: 2 ** depth steps to look it up."""
    return b"}" + b")q\x00" + b"h\x00\x86q\x00" * depth + b"Ns."


# The smallest pickles that took seconds, gigabytes or the whole process
HOSTILE = {
    "keys of doubled tuples": doubled(40),
    "a key 300,000 tuples deep": b"}" + b")" + b"\x85" * 300_000 + b"Ns.",
    "nested lists": b"]" * 300_000 + b"a" * 299_999 + b".",
    "a memo of 2 ** 31": b"Nr\xff\xff\xff\x7f.",
    "millions of objects": b"(" + b"N" * 2_000_000 + b"t.",
    "a string of 4 GB": b"T\xff\xff\xff\xff.",
    "an array of 2 ** 40": b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R.",
    "attributes of a class": b"cnumpy\ndtype\n}U\x08__init__Nsb.",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_pickle_that_would_take_time_or_memory_is_refused(body: bytes) -> None:
    with pytest.raises(ArchiveError):
        load(b"\x80\x02" + body)


@pytest.mark.parametrize("limit", ["container", "reference", "call", "plain"])
def test_refused_pickles_exceed_what_a_batch_needs(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The largest batch of CIFAR-100 passes with room to spare; a quarter of that room would do."""
    rows = 50_000
    batch = {
        b"filenames": [b"name_s_%06d.png" % row for row in range(rows)],
        b"fine_labels": list(range(rows)),
        b"coarse_labels": list(range(rows)),
        b"data": np.zeros((rows, 8), np.uint8),
    }
    monkeypatch.setitem(pickles._LIMITS, limit, pickles._LIMITS[limit] * 3 // 4)
    assert load(pickles.dumps(batch))
