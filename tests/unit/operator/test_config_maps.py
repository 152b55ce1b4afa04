"""Code of runs in ConfigMaps: read once when a run starts, again with back-off while something is not in order."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import CONFIG_MAP, RUN
from blockyard.wire.hosted import RunLine
from blockyard.workflow.sources import ConfigMap, unread
from blockyard_operator.applier import Applier, Rim
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core import plan as do
from blockyard_operator.core.manifests import Terms
from blockyard_operator.core.objects import read_run
from blockyard_operator.core.view import MapsRead, RunView
from blockyard_operator.core.workflows import RunWorld, check, reconcile_run
from blockyard_operator.metrics import Metrics
from blockyard_operator.observe import Observer
from blockyard_operator.resources.run import RunStatus
from tests.unit.operator.shelf import Shelf

NOW = 1_700_000_000.0
CODE = "def main(): return 1"
SPEC: dict[str, Any] = {"steps": [{"name": "a", "source": {"configMap": {"name": "code", "key": "main.py"}}}]}
RAW: dict[str, Any] = {
    "metadata": {
        "name": "flow",
        "namespace": "lab",
        "uid": "0123456789abcdef",
        "generation": 1,
        "resourceVersion": "1",
    },
    "spec": SPEC,
}
KEY = Key("run", "lab", "flow")
GONE = MapsRead(maps={"code": ConfigMap(problem="there is no ConfigMap 'code' in namespace 'lab'")}, at=NOW)
THERE = MapsRead(maps={"code": ConfigMap({"main.py": CODE})}, at=NOW)


def world(maps: MapsRead | None, view: RunView | None, status: RunStatus | None = None, **spec: Any) -> RunWorld:
    raw = {**RAW, "spec": {**SPEC, **spec}}
    run = read_run(raw | ({"status": msgspec.to_builtins(status)} if status is not None else {}))
    checked = check(run.spec, {}, look=maps.maps.get if maps is not None else unread)
    return RunWorld(run=run, checked=checked, connected=True, view=view, maps=maps)


def read(plan: do.Plan) -> list[tuple[str, ...]]:
    return [one.names for one in plan.effects if isinstance(one, do.ReadConfigMaps)]


def test_it_is_read_only_for_what_is_to_be_started_and_then_started_by_its_text() -> None:
    assert [type(one) for one in reconcile_run(world(None, None), NOW).effects] == [do.AskRun]
    assert read(reconcile_run(world(None, RunView(at=NOW)), NOW)) == [("code",)]
    (start,) = reconcile_run(world(THERE, RunView(at=NOW)), NOW).effects
    assert isinstance(start, do.StartRun)
    assert start.spec.steps[0].source == CODE
    line = RunLine("lab.flow.01234567", "Running", NOW, 0.0, {"Running": 1}, 1)
    assert not read(reconcile_run(world(None, RunView(at=NOW, line=line)), NOW)), "it goes on without"


def test_what_is_missing_is_said_and_looked_for_again_ever_more_seldom() -> None:
    plan = reconcile_run(world(GONE, RunView(at=NOW)), NOW)
    (written,) = [one.status for one in plan.effects if isinstance(one, do.WriteRunStatus)]
    accepted = written.conditions[0]
    assert (str(accepted.status), accepted.reason, written.phase) == ("False", "Invalid", "Invalid")
    assert accepted.message == ("spec.steps[0].source.configMap.name: there is no ConfigMap 'code' in namespace 'lab'")
    assert (read(plan), plan.wake_at) == ([], NOW + 5)
    again = reconcile_run(world(GONE, RunView(at=NOW), written), NOW + 5)
    assert [type(one) for one in again.effects] == [do.ReadConfigMaps], "nothing is written when nothing changed"
    for tries, pause in ((2, 10), (3, 20), (50, 300)):
        later = msgspec.structs.replace(GONE, tries=tries)
        assert reconcile_run(world(later, RunView(at=NOW), written), NOW).wake_at == NOW + pause
    (start,) = reconcile_run(world(THERE, RunView(at=NOW), written), NOW).effects
    assert isinstance(start, do.StartRun)


def test_another_attempt_reads_it_again_and_waits_for_it() -> None:
    status = RunStatus(phase="Failed", attempt=1)
    line = RunLine("lab.flow.01234567", "Failed", NOW, 0.0, {"Failed": 1}, 1)
    view = RunView(at=NOW, line=line, attempt=1)
    assert read(reconcile_run(world(None, view, status, attempt=2), NOW)) == [("code",)]
    assert reconcile_run(world(GONE, view, status, attempt=2), NOW).wake_at == NOW + 5
    assert isinstance(reconcile_run(world(THERE, view, status, attempt=2), NOW).effects[0], do.RetryRun)


class Line:
    """What the interchange says of the run."""

    connected = True

    def __init__(self) -> None:
        self.said: RunView | None = RunView(at=NOW)
        self.runs = self

    def view(self, _: str) -> RunView | None:
        return self.said

    def is_starting(self, _: str) -> bool:
        return False


def test_each_answer_is_kept_for_its_run_until_that_has_started() -> None:
    shelf, cache, line = Shelf(), Cache(), Line()
    rim = Rim(
        api=cast("Any", shelf), cache=cache, observer=cast("Any", None), interchange=cast("Any", None),
        metrics=Metrics(), terms=Terms(image="w"), server_key=b"", managers="", reporter="me", namespace="n",
    )  # fmt: skip
    told: list[set[Key]] = []
    applier = Applier(rim, told.append, lambda key, seconds: None)
    observer = Observer(cache, cast("Any", line), Terms(image="w"), pod_groups=False)
    cache.see(RUN, RAW)

    def again() -> RunWorld:
        seen = observer.run(KEY)
        assert seen is not None
        asyncio.run(applier.carry_out(KEY, do.Plan(effects=(do.ReadConfigMaps(seen.run.meta, ("code",)),))))
        seen = observer.run(KEY)
        assert seen is not None
        return seen

    first = observer.run(KEY)
    assert first is not None
    assert first.checked.unread == ("code",)
    assert "there is no ConfigMap 'code' in namespace 'lab'" in str(again().checked.faults[0])
    made = {"metadata": {"name": "code", "namespace": "lab"}, "data": {"main.py": CODE}}
    asyncio.run(shelf.create(CONFIG_MAP, made))
    found = again()
    assert (found.maps is not None and found.maps.tries, found.checked.unread) == (2, ())
    assert found.checked.spec is not None
    assert (found.checked.spec.steps[0].source, told) == (CODE, [{KEY}, {KEY}])
    line.said = RunView(at=NOW, line=RunLine("lab.flow.01234567", "Running", NOW, 0.0, {"Running": 1}, 1))
    assert observer.run(KEY) is not None
    assert cache.maps == {}
    line.said = RunView(at=NOW)
    again()
    cache.see(RUN, RAW, deleted=True)
    assert cache.maps == {}


@pytest.mark.parametrize("code, said", [(403, "cannot be read: no"), (503, "")])
def test_a_refusal_is_said_and_what_passes_is_tried_again(code: int, said: str) -> None:
    class Refusing(Shelf):
        async def get(self, *_: Any) -> Any:
            raise ApiError("get configmaps", code, "Some", "no")

    cache = Cache()
    cache.see(RUN, RAW)
    rim = Rim(
        api=cast("Any", Refusing()), cache=cache, observer=cast("Any", None), interchange=cast("Any", None),
        metrics=Metrics(), terms=Terms(image="w"), server_key=b"", managers="", reporter="me", namespace="n",
    )  # fmt: skip
    applier = Applier(rim, lambda keys: None, lambda key, seconds: None)
    wanted = do.Plan(effects=(do.ReadConfigMaps(cache.runs[KEY].meta, ("code",)),))
    if not said:
        with pytest.raises(ApiError):
            asyncio.run(applier.carry_out(KEY, wanted))
        assert cache.maps == {}
        return
    asyncio.run(applier.carry_out(KEY, wanted))
    assert said in cache.maps["0123456789abcdef"].maps["code"].problem
