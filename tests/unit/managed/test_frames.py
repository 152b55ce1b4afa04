"""Lines of the channel: whatever is written, however it is cut, comes out as it was, and harms nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard.managed import frames
from blockyard.managed.frames import Lines, Message, encode
from blockyard.managed.signals import Signal

CONTENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(Signal), CONTENTS, st.integers(0, 9), st.integers(0, 9)))


@settings(max_examples=30)
@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1))
def test_any_cut_gives_the_same_messages(messages: list[Message], cuts: list[int]) -> None:
    lines, found = Lines(), []
    data = b"".join(map(encode, messages))
    place = turn = 0
    while place < len(data):
        step = cuts[turn % len(cuts)]
        found += lines.feed(data[place : place + step])
        place, turn = place + step, turn + 1
    assert found + lines.finish() == messages
    assert lines.dropped == 0


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_and_the_next_line_is_read(noise: bytes) -> None:
    lines = Lines()
    lines.feed(noise)
    assert lines.feed(b"\n" + encode(Message(Signal.TASK_DONE)))[-1].signal is Signal.TASK_DONE


@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b'{"signal":"TASK_EXPLODED"}', b'{"signal":7}', b"\xff\xfe", b"[" * 5000]
)
def test_a_line_that_is_no_message_is_counted_with_its_fault(line: bytes) -> None:
    lines = Lines()
    assert lines.feed(line + b"\n") == []
    assert lines.dropped == 1
    assert lines.last_fault


def test_a_line_that_is_too_long_is_dropped_without_being_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_LINE_BYTES", 100)
    lines = Lines()
    for _ in range(5):
        assert lines.feed(b"x" * 90) == []
    assert lines.feed(b'x\n{"signal":"TASK_DONE"}\n') == [Message(Signal.TASK_DONE)]
    assert lines.dropped == 1


def test_in_text_mode_other_lines_are_log() -> None:
    lines = Lines()
    first, second = lines.feed(b'{"signal":"NO_PICKLE_MODE"}\nplain words\n')
    assert first.signal is Signal.NO_PICKLE_MODE
    assert second == Message(Signal.TASK_LOG, {"message": "plain words"})


def test_a_last_line_needs_no_newline() -> None:
    lines = Lines()
    assert lines.feed(b'{"signal":"TASK_DONE"}') == []
    assert lines.finish() == [Message(Signal.TASK_DONE)]


def test_numbers_that_are_none_are_read_as_python_writes_them() -> None:
    lines = Lines()
    (found,) = lines.feed(b'{"signal": "TASK_RESULT", "contents": [NaN, Infinity, -Infinity, "NaN"]}\n')
    assert str(found.contents) == "[nan, inf, -inf, 'NaN']"
    wrongs = [
        b"NaN",
        b'{"signal": "NaN"}',
        b"[NaN",
        b"NaN" + b"[" * 100_000,
        b'{"signal": NaN}',
        b"\xff NaN",
        b'{"signal": "TASK_LOG", "contents": [NaN, "\\ud800"]}',
    ]
    assert lines.feed(b"\n".join(wrongs) + b"\n") == []
    assert lines.dropped == len(wrongs)
