"""Transfers are tried again after growing pauses, and what will not change is not."""

import pytest

from blockyard.errors import StagingError
from blockyard.files.port import Refused
from blockyard.files.transfers import LONGEST_PAUSE, pause_before, persistently

URL = "https://me:secret@host/x?sig=secret"


def test_pauses_double_up_to_a_bound_and_are_spread() -> None:
    assert [pause_before(attempt, 0.5, 0.0) for attempt in (2, 3, 4)] == [0.5, 1.0, 2.0]
    assert pause_before(3, 0.5, 1.0) == 0.5
    assert pause_before(1000, 0.5, 0.0) == LONGEST_PAUSE


def test_it_is_done_until_it_works() -> None:
    errors = [OSError("1"), ValueError("2")]

    def act() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert persistently("stage in", URL, 3, 0.0, act) == "done"


@pytest.mark.parametrize(
    "error, attempts",
    [(OSError("of secret"), 3), (FileNotFoundError("of secret"), 1), (Refused("of secret"), 1), (PermissionError(), 1)],
)
def test_what_does_not_work_is_told_without_secrets_and_without_its_cause(error: Exception, attempts: int) -> None:
    tried: list[int] = []

    def act() -> None:
        tried.append(1)
        raise error

    with pytest.raises(StagingError, match=r"stage in https://me:\*\*\*@host/x\?…") as caught:
        persistently("stage in", URL, 3, 0.0, act)
    assert len(tried) == attempts
    assert "secret" not in f"{caught.value}{caught.value.url}"
    assert caught.value.__suppress_context__, "a traceback of the cause may show the URL as it is"


def test_an_interruption_is_let_through_at_once() -> None:
    def act() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        persistently("stage in", URL, 3, 0.0, act)
