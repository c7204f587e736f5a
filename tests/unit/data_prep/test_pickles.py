import builtins
import contextlib
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data_prep import pickles
from data_prep.errors import ArchiveError

batches = st.recursive(
    st.integers(-(2**31), 2**31 - 1) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=9), inner, max_size=5),
    max_leaves=30,
)


@given(batches)
def test_what_is_written_is_read_back_by_us_and_by_pickle(value: object) -> None:
    data = pickles.dumps(value)
    assert pickles.load(io.BytesIO(data), io.BytesIO()) == value
    assert pickle.loads(data, encoding="bytes") == value  # noqa: S301 - made two lines above


@given(arrays(np.uint8, st.tuples(st.integers(5, 9), st.integers(1000, 3072))))
def test_arrays_are_read_back_row_by_row(array: Any) -> None:
    data = pickles.dumps({b"data": array})
    rows = pickles.load(io.BytesIO(data), io.BytesIO())[b"data"]  # type: ignore[index]
    assert (rows.count, rows.width) == array.shape
    assert all(np.array_equal(rows[row], array[row]) for row in reversed(range(rows.count)))
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
        pickles.load(io.BytesIO(pickle.dumps({b"data": call}, protocol)), io.BytesIO())
    assert not Path("executed").exists()


def test_a_call_is_refused_by_its_name() -> None:
    with pytest.raises(ArchiveError, match="wants to call 'posix system'"):
        pickles.load(io.BytesIO(b"\x80\x02cposix\nsystem\nU\x04true\x85R."), io.BytesIO())


OPCODES = st.sampled_from([*pickles._ACTIONS, b"c__builtin__\neval\n", b"U\x04data", b"K\x01", b"o", b"i", b"\x93"])


@given(st.binary(max_size=200) | st.lists(OPCODES, max_size=60).map(b"".join))
def test_arbitrary_opcodes_give_plain_values_or_an_archive_error(body: bytes) -> None:
    with contextlib.suppress(ArchiveError):
        pickles.load(io.BytesIO(b"\x80\x02" + body + b"."), io.BytesIO())


@given(st.floats(0, 0.9999))
def test_a_pickle_cut_anywhere_is_refused(cut: float) -> None:
    data = pickles.dumps({b"names": [b"a", b"b"], b"data": np.zeros((9, 3072), np.uint8)})
    with pytest.raises(ArchiveError):
        pickles.load(io.BytesIO(data[: int(len(data) * cut)]), io.BytesIO())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"T" + struct.pack("<I", 2**32 - 1) + b"short", "truncated"),
        (b"K\x01K\x02.", "ends with 2 objects"),
        (b"\x80\x04", "protocol 4"),
        (b"u", "malformed"),
        (b"K\x01h\x07", "malformed"),
        (b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R", "wants to call 'numpy dtype'"),
        (b"K\x01(K\x01tb", "something else than a whole two-dimensional uint8 array"),
    ],
)
def test_the_reason_is_given(body: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        pickles.load(io.BytesIO(b"\x80\x02" + body + b"."), io.BytesIO())


def test_a_pickle_that_would_fill_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_BYTES_BESIDE_PIXELS", 1 << 20)
    with pytest.raises(ArchiveError, match="over 1 MiB beside the pixels"):
        pickles.load(io.BytesIO(b"\x80\x02" + b"]" * (1 << 20)), io.BytesIO())
