"""What `Client.events` is asked for: refused before anything is asked, where it could never be answered.

Out of scope: what is answered (`tests/integration/monitoring`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from blockyard import events
from blockyard.errors import ConfigError
from blockyard.wire import control

Follow = Callable[..., AsyncIterator[dict[str, Any]]]


def by_link(**wanted: Any) -> AsyncIterator[dict[str, Any]]:
    def ask(_: control.Question) -> Future[control.Answer]:
        raise AssertionError("it was asked")

    return events.follow(ask, **wanted)


def by_http(**wanted: Any) -> AsyncIterator[dict[str, Any]]:
    return events.follow_http(events.Where(Path("/nowhere")), patience=0.0, **wanted)


async def first(found: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    return await anext(found)


@pytest.mark.parametrize("door", [by_link, by_http])
@pytest.mark.parametrize(
    "wanted, sentence",
    [
        ({"kinds": ["Trees"]}, "kinds=Trees"),
        ({"after": 7}, "after=7; give the id of an event"),
        ({"pools": [1]}, "pools=.*names"),
        ({"runs": 3}, "runs=3; give names"),
    ],
)
def test_what_could_never_come_is_refused_by_name(door: Follow, wanted: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        asyncio.run(first(door(**wanted)))


def test_one_name_is_one_name_and_not_its_letters() -> None:
    asked: list[control.Question] = []

    def ask(question: control.Question) -> Future[control.Answer]:
        asked.append(question)
        answer: Future[control.Answer] = Future()
        answer.set_result(control.EventsAre([control.EventLine("Run", "1-1", b"{}")], "1-1"))
        return answer

    asyncio.run(first(events.follow(ask, kinds="Run", pools="default", runs="nightly")))
    (question,) = cast("list[control.Follow]", asked)
    assert (question.kinds, question.pools, question.runs) == (["Run"], ["default"], ["nightly"])
