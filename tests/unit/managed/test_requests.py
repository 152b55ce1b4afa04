"""What is asked of a task, until it is taken."""

import select

from blockyard.managed.course import Request
from blockyard.managed.requests import Requests


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def test_one_that_is_asked_wakes_and_is_taken_once() -> None:
    requests = Requests()
    requests.open()
    assert not is_readable(requests.woken)
    requests.add(Request.STOP)
    assert not is_readable(requests.unwanted)
    requests.add(Request.CANCEL, "enough")
    assert (is_readable(requests.woken), is_readable(requests.unwanted)) == (True, True)
    assert requests.take() == [(Request.STOP, ""), (Request.CANCEL, "enough")]
    assert requests.take() == []
    requests.close()


def test_what_was_asked_before_anybody_can_be_woken_is_there() -> None:
    requests = Requests()
    requests.add(Request.CANCEL)
    requests.open()
    assert is_readable(requests.unwanted)
    assert requests.take() == [(Request.CANCEL, "")]
    requests.close()


def test_what_was_asked_of_a_task_that_has_ended_is_forgotten() -> None:
    requests = Requests()
    requests.open()
    requests.add(Request.STOP)
    requests.close()
    requests.open()
    assert requests.take() == []
    requests.close()
