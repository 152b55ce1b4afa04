"""Wait until something holds, and say what was seen last when it does not."""

import select
import time
from collections.abc import Callable

POLL_SECONDS = 0.1


def wait_until(what: str, holds: Callable[[], str | None], seconds: float, poll: float = POLL_SECONDS) -> float:
    """Call `holds` until it returns None, and return the seconds that took; any other answer says what is amiss.

    TimeoutError after `seconds` names `what` and the last answer.
    """
    started = time.monotonic()
    while True:
        amiss = holds()
        took = time.monotonic() - started
        if amiss is None:
            return took
        if took > seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s; last seen: {amiss}")
        select.select([], [], [], poll)
