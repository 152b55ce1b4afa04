"""For any layout and any damage: what goes in comes out, and what was damaged is refused and not misread."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blockyard.errors import NotLoadable
from blockyard.parts import packed_bytes, packed_size
from blockyard.payload import dump_call, dump_items, dump_value, load_call, load_value
from blockyard.payload.layout import ALIGNMENT, assemble, take_apart

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.builds(lambda x: {x}, st.text())
    ),
    max_leaves=20,
)
BUFFERS = st.lists(st.tuples(st.binary(max_size=300), st.booleans()), min_size=1, max_size=6)


def views_of(buffers: list[tuple[bytes, bool]]) -> list[memoryview]:
    return [memoryview(data if read_only else bytearray(data)) for data, read_only in buffers]


@given(VALUES)
def test_values_come_back_equal(value: Any) -> None:
    assert load_value(packed_bytes(dump_value(value))) == value


@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(), VALUES, max_size=3))
def test_calls_come_back_equal(args: list[Any], kwargs: dict[str, Any]) -> None:
    packed, dependencies = dump_call(tuple(args), kwargs)
    assert load_call(packed_bytes(packed)) == (tuple(args), kwargs)
    assert not dependencies


@given(st.lists(VALUES, max_size=10))
def test_items_are_packed_like_calls_of_one_argument(items: list[Any]) -> None:
    packed, _ = dump_items(items)
    assert [packed_bytes(each) for each in packed] == [packed_bytes(dump_call((item,), {})[0]) for item in items]


@given(st.binary(min_size=1, max_size=300), BUFFERS)
def test_a_layout_is_taken_apart_into_what_it_was_assembled_from(
    pickled: bytes, buffers: list[tuple[bytes, bool]]
) -> None:
    packed = assemble(pickled, views_of(buffers))
    payload = bytearray(packed_bytes(packed))
    assert len(payload) == packed_size(packed)
    back, views = take_apart(payload)
    assert bytes(back) == pickled
    assert [bytes(view) for view in views] == [data for data, _ in buffers]
    assert [memoryview(view).readonly for view in views] == [read_only for _, read_only in buffers]


@given(st.binary(min_size=1, max_size=300), BUFFERS)
def test_every_buffer_of_a_layout_is_aligned_and_inside(pickled: bytes, buffers: list[tuple[bytes, bool]]) -> None:
    payload = bytearray(packed_bytes(assemble(pickled, views_of(buffers))))
    start = np.frombuffer(payload, dtype=np.uint8).ctypes.data
    _, views = take_apart(payload)
    for view in views:
        if len(view):
            offset = np.frombuffer(view, dtype=np.uint8).ctypes.data - start
            assert offset % ALIGNMENT == 0
            assert 0 < offset <= len(payload) - len(view)


@given(st.binary(min_size=1, max_size=100), BUFFERS, st.data())
def test_a_layout_that_was_cut_short_is_refused(
    pickled: bytes, buffers: list[tuple[bytes, bool]], data: st.DataObject
) -> None:
    buffers = [*buffers, (b"the last one is not empty", True)]
    payload = packed_bytes(assemble(pickled, views_of(buffers)))
    cut = data.draw(st.integers(0, len(payload) - 1))
    try:
        take_apart(payload[:cut])
    except NotLoadable:
        return
    raise AssertionError(f"{cut} of {len(payload)} bytes were taken for a payload")


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_taken_apart_or_refused_and_nothing_else(payload: bytes) -> None:
    try:
        pickled, buffers = take_apart(b"\x01" + payload)
    except NotLoadable:
        return
    assert len(pickled) + sum(len(buffer) for buffer in buffers) <= len(payload)


@given(st.sampled_from(["u1", "i4", "f8", "c16"]), st.lists(st.integers(0, 70), min_size=1, max_size=3), st.booleans())
def test_arrays_of_any_shape_come_back_equal(kind: str, shape: list[int], transposed: bool) -> None:
    array = np.arange(math.prod(shape)).astype(kind).reshape(shape)
    array = array.T if transposed else array
    back = load_value(packed_bytes(dump_value(array)))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert (back == array).all()
    assert back.flags.writeable
