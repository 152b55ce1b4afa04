"""The small parts between a manager and a worker: frames, tokens, page. Proofs are in their docstrings."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockyard.wire.records import Assigned, Outcome, Status, TaskSpec
from blockyard_worker import pipe
from blockyard_worker.page import Page, make_page
from blockyard_worker.pipe import FrameBuffer, FrameError
from blockyard_worker.records import Now, Results, Run, RunGroup
from blockyard_worker.tokens import Tokens

RUN = Run(3, [RunGroup(TaskSpec(b"f" * 16), batch=True, tries=[Assigned(1, 2, b"body")])], {"A": "b"})


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    one = Tokens()
    yield one
    one.close()


def test_tokens_are_taken_once_by_whichever_side_comes_first(tokens: Tokens) -> None:
    other = Tokens(os.dup(tokens.descriptor))
    tokens.add(5)
    assert other.take_one()
    assert tokens.take(3) == 3
    assert [other.take_one(), other.take_one()] == [True, False]
    assert tokens.take(10) == 0
    other.close()


def test_a_number_of_tokens_that_makes_no_sense_is_refused(tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="-1"):
        tokens.add(-1)


def test_a_page_shows_what_runs_to_both_sides() -> None:
    descriptor = make_page()
    worker, manager = Page(descriptor), Page(descriptor)
    os.close(descriptor)
    assert manager.read() is None
    worker.begin(7, 2, 1.5)
    assert manager.read() == Now(7, 2, 1.5, running=True)
    manager.aim(7, 1)
    assert not worker.is_target(), "an older try of the same task is not meant"
    manager.aim(7, 2)
    assert worker.is_target()
    worker.set_grace(10.0)
    assert manager.read() == Now(7, 2, 1.5, running=True, grace=10.0)
    worker.end()
    assert manager.read() == Now(7, 2, 1.5, running=False, grace=10.0)
    assert not worker.is_target()
    worker.begin(8, 1, 2.5)
    assert manager.read() == Now(8, 1, 2.5, running=True), "the grace was that of the try before"
    worker.close()
    manager.close()


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=6), st.integers(1, 7))
def test_frames_come_out_as_they_went_in_however_they_were_cut(sizes: list[int], step: int) -> None:
    sent = [Results([Outcome(number, 1, Status.DONE, b"x" * size)]) for number, size in enumerate(sizes)]
    stream = b"".join(pipe.frame(record) for record in sent)
    ours, theirs = socket.socketpair()
    buffer, received = FrameBuffer(), []
    with ours, theirs:
        for at in range(0, len(stream), len(stream) // step + 1):
            piece = memoryview(stream)[at : at + len(stream) // step + 1]
            while piece:
                piece = piece[ours.send(piece, socket.MSG_DONTWAIT) :]
                buffer.read_from(theirs)
                received += [pipe.from_worker.decode(frame) for frame in buffer.frames()]
        ours.shutdown(socket.SHUT_WR)
        while buffer.read_from(theirs):
            received += [pipe.from_worker.decode(frame) for frame in buffer.frames()]
    assert received == sent


def test_records_survive_the_way() -> None:
    assert pipe.to_worker.decode(pipe.frame(RUN)[4:]) == RUN


def test_a_length_that_no_frame_has_is_an_error_and_not_an_allocation() -> None:
    ours, theirs = socket.socketpair()
    buffer = FrameBuffer()
    with ours, theirs:
        ours.sendall(b"\xff\xff\xff\xff")
        buffer.read_from(theirs)
        with pytest.raises(FrameError, match="damaged"):
            list(buffer.frames())
