"""The API server alone, and the injector between it and a client."""

import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from http.client import HTTPException, IncompleteRead

import pytest

from tests.cluster.api_server import ApiServer
from tests.cluster.faults import (
    CONFLICT,
    INTERNAL,
    TOO_MANY,
    CutWatch,
    ExpireWatch,
    Fault,
    Hang,
    Late,
    LoseAnswer,
    Stale,
)
from tests.cluster.injector import Injector
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed

pytestmark = pytest.mark.needs_api_server

MAPS = "/api/v1/namespaces/default/configmaps"


def ask(injector: Injector, target: str, method: str = "GET", body: Json = None, seconds: float = 30.0) -> Json:
    """One request through the injector; HTTPError when the answer is an error."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(injector.url + target, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise


def new_map(injector: Injector, **data: str) -> str:
    name = f"map-{uuid.uuid4().hex[:8]}"
    ask(injector, MAPS, "POST", {"metadata": {"name": name}, "data": data})
    return name


def names(listed: Json) -> set[str]:
    return {item["metadata"]["name"] for item in listed["items"]}


def test_it_validates_as_the_real_one(api_server: ApiServer) -> None:
    with pytest.raises(CommandFailed, match=r"spec\.containers: Required value"):
        api_server.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": []}})


def test_without_faults_everything_passes(injector: Injector) -> None:
    name = new_map(injector, key="value")
    assert ask(injector, f"{MAPS}/{name}")["data"] == {"key": "value"}
    assert [(seen.call.verb, seen.effect) for seen in injector.seen] == [("create", None), ("get", None)]


def test_a_429_says_when_to_come_back_and_the_next_passes(injector: Injector) -> None:
    injector.inject(Fault(TOO_MANY, "list", "configmaps"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(injector, MAPS)
    assert refused.value.code == 429
    assert refused.value.headers["Retry-After"] == "1"
    assert ask(injector, MAPS)["kind"] == "ConfigMapList"


@pytest.mark.parametrize("effect", [INTERNAL, CONFLICT], ids=["500", "409"])
def test_a_refused_write_does_not_reach_the_server(injector: Injector, effect: object) -> None:
    name = new_map(injector, key="old")
    assert effect in {INTERNAL, CONFLICT}
    injector.inject(Fault(INTERNAL if effect == INTERNAL else CONFLICT, "write"))
    with pytest.raises(urllib.error.HTTPError):
        ask(injector, f"{MAPS}/{name}", "PUT", {"metadata": {"name": name}, "data": {"key": "new"}})
    assert ask(injector, f"{MAPS}/{name}")["data"] == {"key": "old"}


def test_a_lost_answer_leaves_the_write_done(injector: Injector) -> None:
    name = new_map(injector, key="old")
    injector.inject(Fault(LoseAnswer(), "update"))
    with pytest.raises((OSError, HTTPException)):
        ask(injector, f"{MAPS}/{name}", "PUT", {"metadata": {"name": name}, "data": {"key": "new"}})
    assert ask(injector, f"{MAPS}/{name}")["data"] == {"key": "new"}


def test_a_request_that_hangs_is_the_clients_to_give_up(injector: Injector) -> None:
    injector.inject(Fault(Hang(), "list"))
    with pytest.raises(TimeoutError):
        ask(injector, MAPS, seconds=0.5)
    assert ask(injector, MAPS)["kind"] == "ConfigMapList"


def test_a_late_answer_is_late(injector: Injector) -> None:
    injector.inject(Fault(Late(0.3), "list"))
    started = time.monotonic()
    assert ask(injector, MAPS)["kind"] == "ConfigMapList"
    assert time.monotonic() - started >= 0.3


def test_a_stale_list_does_not_know_what_is_new(injector: Injector) -> None:
    ask(injector, MAPS)
    name = new_map(injector)
    injector.inject(Fault(Stale(), "list"))
    assert name not in names(ask(injector, MAPS))
    assert name in names(ask(injector, MAPS))


def watch(injector: Injector) -> list[Json]:
    """Events of a watch from now on until its connection ends."""
    version = ask(injector, MAPS)["metadata"]["resourceVersion"]
    new_map(injector)
    new_map(injector)
    target = f"{injector.url}{MAPS}?watch=true&resourceVersion={version}"
    with urllib.request.urlopen(target, timeout=30) as answer:
        try:
            content, end = answer.read(), []
        except IncompleteRead as error:
            content, end = error.partial, [{"type": "CUT"}]
    return [json.loads(line) for line in content.splitlines()] + end


def test_a_watch_that_is_cut_ends_after_so_many_events(injector: Injector) -> None:
    injector.inject(Fault(CutWatch(events=1), "watch"))
    assert [event["type"] for event in watch(injector)] == ["ADDED", "CUT"]


def test_a_watch_that_expires_says_so(injector: Injector) -> None:
    injector.inject(Fault(ExpireWatch(events=1), "watch"))
    events = watch(injector)
    assert [event["type"] for event in events] == ["ADDED", "ERROR"]
    assert events[1]["object"]["code"] == 410


def test_open_watches_can_be_dropped_at_any_time(injector: Injector) -> None:
    found: list[Json] = []
    thread = threading.Thread(target=lambda: found.extend(watch(injector)))
    thread.start()
    deadline = time.monotonic() + 30
    while not injector.drop_watches():
        assert time.monotonic() < deadline, f"no watch came: {injector.seen}"
    thread.join(30)
    assert found[-1]["type"] == "CUT"
