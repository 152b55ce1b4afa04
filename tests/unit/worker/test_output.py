"""Whose output is whose: marks in the stream, and what the page says while there is none."""

import os
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockyard_worker.records import Now
from blockyard_worker.shell.output import Outputs, Stream

NONCE = bytes(range(200, 216))


def mark(task: int) -> bytes:
    return struct.pack("<16sQQ", NONCE, task, 1)


def running(task: int) -> Callable[[], Now]:
    return lambda: Now(task, 1, 0.0, running=True)


@pytest.fixture
def outputs() -> Outputs:
    return Outputs(100, 10)


@pytest.fixture
def stream(outputs: Outputs) -> Iterator[Stream]:
    one = Stream(outputs, NONCE)
    yield one
    one.close()
    os.close(one.writer)


def test_all_that_is_dropped_is_counted_and_stays_so(outputs: Outputs) -> None:
    outputs.add((1, 1), b"x" * 130)
    outputs.add((2, 1), b"x" * 99)
    for task in range(3, 20):
        outputs.add((task, 1), b"x")
    assert outputs.tail(1, 1) == "", "it made room for others"
    assert outputs.dropped_bytes == 30


def test_each_try_that_prints_is_told_once(outputs: Outputs) -> None:
    told: list[tuple[int, int]] = []
    outputs.on_first = told.append
    for name, data in (((1, 1), b"one"), ((2, 1), b""), ((1, 1), b"more"), ((1, 2), b"again")):
        outputs.add(name, data)
    assert told == [(1, 1), (1, 2)]


def test_what_stands_before_a_mark_belongs_to_its_task(outputs: Outputs, stream: Stream) -> None:
    os.write(stream.writer, b"one\n" + mark(1) + b"two\n" + mark(2) + b"begun")
    stream.read(running(3))
    assert [outputs.tail(task, 1) for task in (1, 2, 3)] == ["one\n", "two\n", "begun"]


def test_output_without_a_mark_waits_while_the_worker_goes_from_one_try_to_the_next(
    outputs: Outputs, stream: Stream
) -> None:
    os.write(stream.writer, b"whose?")
    pages = iter([Now(1, 1, 0.0, running=True), Now(2, 1, 0.0, running=True)])
    stream.read(lambda: next(pages, None))
    assert outputs.tail(1, 1) == outputs.tail(2, 1) == ""
    os.write(stream.writer, mark(1))
    stream.read(running(2))
    assert outputs.tail(1, 1) == "whose?"


@given(st.integers(1, 60))
def test_a_mark_that_comes_in_two_pieces_is_a_mark(cut: int) -> None:
    outputs = Outputs(100, 10)
    stream = Stream(outputs, NONCE)
    data = b"mine" + mark(1) + b"yours" + mark(2)
    for piece in (data[:cut], data[cut:]):
        os.write(stream.writer, piece)
        stream.read(lambda: None)
    stream.finish(None)
    assert [outputs.tail(task, 1) for task in (1, 2)] == ["mine", "yours"]
    stream.close()
    os.close(stream.writer)


def test_only_the_end_is_kept_and_the_rest_is_counted(outputs: Outputs) -> None:
    for _ in range(10):
        outputs.add((1, 1), b"0123456789" * 3)
    assert outputs.tail(1, 1) == "[200 bytes before this were dropped]\n" + "0123456789" * 10
    assert outputs.tail(1, 1, 4).endswith("\n6789")


def test_the_oldest_tasks_are_forgotten(outputs: Outputs) -> None:
    for task in range(20):
        outputs.add((task, 1), b"text")
    assert outputs.tail(9, 1) == ""
    assert outputs.tail(10, 1) == "text"


def test_all_tries_of_a_task_can_be_read(outputs: Outputs) -> None:
    outputs.add((5, 1), b"first")
    outputs.add((5, 2), b"second")
    assert outputs.of_task(5) == {1: "first", 2: "second"}
