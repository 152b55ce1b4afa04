"""The states of a block: numbers that people know, moves that are legal, evidence that is kept."""

import pickle
from itertools import product
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard.blocks import states_page
from blockyard.blocks.faults import IllegalTransition
from blockyard.blocks.states import (
    LOG_TAIL_BYTES,
    MEANINGS_OF_ENDS,
    MEANINGS_OF_LIVING,
    MOVES,
    JobState,
    JobStatus,
    advance,
    is_legal,
)

ENDS = frozenset(MEANINGS_OF_ENDS)


def test_names_and_numbers_are_those_of_parsl() -> None:
    assert [(state.value, str(state)) for state in JobState] == list(
        enumerate(
            [
                "UNKNOWN",
                "PENDING",
                "RUNNING",
                "CANCELLED",
                "COMPLETED",
                "FAILED",
                "TIMEOUT",
                "HELD",
                "MISSING",
                "SCALED_IN",
            ]
        )
    )


def test_every_state_is_living_or_an_end_and_has_a_meaning() -> None:
    assert set(MEANINGS_OF_LIVING) | ENDS == set(JobState)
    assert not set(MEANINGS_OF_LIVING) & ENDS
    assert all(state.terminal == (state in ENDS) for state in JobState)


def test_moves_are_between_living_states_and_never_back_from_running_to_pending() -> None:
    assert all(not old.terminal and not new.terminal and old is not new for old, new in MOVES)
    assert (JobState.RUNNING, JobState.PENDING) not in MOVES


@pytest.mark.parametrize("old, new", list(product(JobState, JobState)))
def test_a_move_is_legal_exactly_when_the_table_says_so(old: JobState, new: JobState) -> None:
    legal = old is new or (not old.terminal and (new.terminal or (old, new) in MOVES))
    assert is_legal(old, new) == legal
    if legal:
        assert advance(JobStatus(state=old), JobStatus(state=new)).state is new
        return
    with pytest.raises(IllegalTransition) as raised:
        advance(JobStatus(state=old), JobStatus(state=new))
    assert str(old) in str(raised.value)
    assert str(new) in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_what_has_started_cannot_be_pending_again_even_after_unknown() -> None:
    lost = advance(JobStatus(state=JobState.RUNNING, started_at=5.0), JobStatus(state=JobState.UNKNOWN))
    with pytest.raises(IllegalTransition, match="had started"):
        advance(lost, JobStatus(state=JobState.PENDING))
    assert advance(lost, JobStatus(state=JobState.RUNNING)).started_at == 5.0


def test_an_end_keeps_the_start_and_the_node() -> None:
    running = JobStatus(state=JobState.RUNNING, reason="Started", message="process 7", started_at=5.0, node="n1")
    end = advance(running, JobStatus(state=JobState.FAILED, reason="ExitCode", exit_code=3, ended_at=9.0))
    assert end == JobStatus(
        state=JobState.FAILED, reason="ExitCode", exit_code=3, started_at=5.0, ended_at=9.0, node="n1"
    )


def test_a_later_report_of_the_same_end_fills_gaps_and_rewrites_nothing() -> None:
    first = JobStatus(state=JobState.FAILED, reason="ExitCode", exit_code=3, ended_at=9.0)
    later = JobStatus(state=JobState.FAILED, reason="Other", signal=9, ended_at=11.0, log_tail="words", node="n1")
    assert advance(first, later) == msgspec.structs.replace(first, log_tail="words", node="n1")


def test_a_program_ends_by_its_own_code_or_by_a_signal() -> None:
    with pytest.raises(ValueError, match="exit_code=1 and signal=9"):
        JobStatus(state=JobState.FAILED, exit_code=1, signal=9)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=5000))
def test_a_log_tail_is_bounded_and_is_the_end_of_the_log(text: str) -> None:
    tail = JobStatus(state=JobState.FAILED, log_tail=text).log_tail
    assert len(tail.encode()) <= LOG_TAIL_BYTES
    assert text.endswith(tail)
    assert len(tail.encode()) > LOG_TAIL_BYTES - 4 or tail == text


def test_an_end_in_words_has_the_last_line_of_its_log() -> None:
    log = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'\n\n"
    told = JobStatus(state=JobState.FAILED, reason="Exited", message="exit code 3", log_tail=log).in_words
    assert told == "exit code 3; its log ends with: ModuleNotFoundError: No module named 'x'"
    assert JobStatus(state=JobState.FAILED, reason="Exited", message="exit code 3").in_words == "exit code 3"


def test_a_status_survives_the_wire() -> None:
    status = JobStatus(state=JobState.TIMEOUT, reason="Walltime", message="m", exit_code=0, ended_at=2.5, log_tail="x")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(status), type=JobStatus) == status


def test_the_page_of_states_is_the_generated_one() -> None:
    page = Path(__file__).parents[3] / "docs" / "states.md"
    assert page.read_text() == states_page.write_into(page.read_text()), (
        "run `python -m blockyard.blocks.states_page docs/states.md`"
    )
