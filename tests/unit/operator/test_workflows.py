"""What is done about a WorkflowRun, by what the interchange says of it."""

from typing import Any

import msgspec
import pytest

from blockyard.kube.kinds import CRON, RUN
from blockyard.wire.hosted import RunLine
from blockyard.workflow.addresses import Stagers, no_others
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.spec import Concurrency
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import Run, read_run
from blockyard_operator.core.view import FailedStep, RunView
from blockyard_operator.core.workflows import Checked, Rival, RunWorld, check, reconcile_run
from blockyard_operator.resources.run import RunStatus

NOW = 1_700_000_000.0
MOMENT = "2023-11-14T22:13:20Z"
"""`NOW`."""
SPEC: dict[str, Any] = {"pool": "cpu", "steps": [{"name": "a", "function": "m:f"}]}


def run_of(spec: dict[str, Any] | None = None, status: RunStatus | None = None, **metadata: Any) -> Run:
    meta = {"name": "flow", "namespace": "lab", "uid": "0123456789abcdef", "generation": 3, **metadata}
    raw = {"metadata": meta, "spec": SPEC if spec is None else spec}
    return read_run(raw | ({"status": msgspec.to_builtins(status)} if status is not None else {}))


def world(run: Run | None = None, view: RunView | None = None, *, connected: bool = True) -> RunWorld:
    run = run or run_of()
    return RunWorld(run=run, checked=check(run.spec, {}), connected=connected, view=view)


def line(phase: str = "Running", **counts: int) -> RunLine:
    return RunLine("lab.flow.01234567", phase, NOW - 60, 0.0, counts or {"Running": 1}, 1)


def written(plan: do.Plan) -> RunStatus:
    (found,) = [one.status for one in plan.effects if isinstance(one, do.WriteRunStatus)]
    return found


def conditions(status: RunStatus) -> dict[str, str]:
    return {one.type: str(one.status) for one in status.conditions}


def test_it_asks_before_it_starts_and_starts_what_is_not_known() -> None:
    (ask,) = reconcile_run(world(), NOW).effects
    assert ask == do.AskRun(run_of().meta, "lab.flow.01234567")
    (start,) = reconcile_run(world(view=RunView(at=NOW)), NOW).effects
    assert isinstance(start, do.StartRun)
    assert [step.name for step in start.spec.steps] == ["a"]


def test_a_run_that_goes_on_is_looked_at_once_a_second_and_written_when_it_changed() -> None:
    view = RunView(at=NOW, line=line(Running=2, Succeeded=1))
    plan = reconcile_run(world(view=view), NOW)
    status = written(plan)
    assert (status.phase, status.run, status.steps.total, status.steps.succeeded) == (
        "Running", "lab.flow.01234567", 3, 1,
    )  # fmt: skip
    assert (plan.wake_at, status.started_at) == (NOW + 1.0, "2023-11-14T22:12:20Z")
    again = reconcile_run(world(run_of(status=status), view), NOW + 0.5)
    assert (again.effects, again.wake_at) == ((), NOW + 1.5)
    (ask,) = reconcile_run(world(run_of(status=status), view), NOW + 1.0).effects
    assert isinstance(ask, do.AskRun)


@pytest.mark.parametrize(
    "phase, complete, failed",
    [("Succeeded", "True", "False"), ("Failed", "True", "True"), ("Cancelled", "True", "True")],
)
def test_an_end_completes_it_so_that_a_wait_ends(phase: str, complete: str, failed: str) -> None:
    view = RunView(at=NOW, line=line(phase, Succeeded=1), failures=(FailedStep("a", "x" * 2000),))
    status = written(reconcile_run(world(view=view), NOW))
    seen = conditions(status)
    assert (seen["Complete"], seen["Failed"], seen["Accepted"]) == (complete, failed, "True")
    assert (status.phase, len(status.failures[0].message)) == (phase, 512)
    assert reconcile_run(world(run_of(status=status), view), NOW + 100).effects == ()


def test_what_is_wrong_is_said_with_path_and_reason_and_nothing_is_started() -> None:
    bad = run_of({"steps": [{"name": "a", "function": "m:f", "needs": ["b"]}], "pool": "../other"})
    status = written(reconcile_run(world(bad, RunView(at=NOW)), NOW))
    assert conditions(status) == {"Accepted": "False", "Complete": "True", "Failed": "True", "Suspended": "False"}
    assert "spec.steps[0].needs[0]: there is no step 'b'" in status.conditions[0].message
    mended = run_of(status=status)
    assert isinstance(reconcile_run(world(mended, RunView(at=NOW)), NOW).effects[0], do.StartRun)


@pytest.mark.parametrize("pool", ["other/pool", "other.pool", "Pool"])
def test_pools_of_other_namespaces_are_out_of_reach(pool: str) -> None:
    step = {"name": "a", "function": "m:f", "pool": pool}
    for spec in ({**SPEC, "pool": pool}, {"steps": [step]}, {**SPEC, "onExit": step | {"name": "tidy"}}):
        found = check(spec, {})
        assert found.spec is None
        assert "none of this namespace" in found.faults[0].reason


def test_a_pool_in_a_template_is_told_by_the_step_that_is_the_template() -> None:
    templates = {"t": {"steps": [{"name": name, "function": "m:f", "pool": pool} for name, pool in ("ab", "bB")]}}
    spec = {"steps": [{"name": "first", "template": "t"}, {"name": "last", "function": "m:f", "pool": "C"}]}
    faults = [str(one) for one in check(spec, templates).faults]
    assert [one.partition(" is none")[0] for one in faults] == [
        "spec.steps[0].template: its step 'b': pool: 'B'",
        "spec.steps[1].pool: 'C'",
    ]


def test_addresses_of_files_are_looked_at_as_by_lint() -> None:
    def faults(url: str, stagers: Stagers = no_others) -> list[str]:
        step = {"name": "a", "binary": ["cat", "${{ arguments.x }}"], "arguments": {"x": {"file": url}}}
        _, said = check_spec({"steps": [step]}, stagers)
        assert list(check({"steps": [step]}, {}, stagers).faults) == said
        return [str(one) for one in said]

    (said,) = faults("s3a://b/c")
    assert said.startswith("spec.steps[0].arguments.x.file: 's3a://b/c': no stager for s3a://; did you mean 's3'?")
    assert faults("s3a://b/c", lambda: ["s3a"]) == faults("s3://b/c") == []


def test_a_template_of_the_namespace_gives_the_steps() -> None:
    found = check({"templateRef": {"name": "t"}, "suspend": True}, {"t": SPEC})
    assert found.spec is not None
    assert (found.spec.pool, found.spec.suspend, len(found.spec.steps)) == ("cpu", True, 1)
    other = check({"templateRef": {"name": "t"}, "pool": "gpu", "activeDeadlineSeconds": 60}, {"t": SPEC})
    assert other.spec is not None
    assert (other.spec.pool, other.spec.active_deadline_seconds) == ("gpu", 60)
    filled_in = msgspec.json.decode('{"templateRef": {"name": "t"}, "pool": "default"}')  # from the schema
    of_template = check(filled_in, {"t": SPEC}).spec
    assert of_template is not None
    assert of_template.pool == "cpu"
    assert "did you mean 't'" in check({"templateRef": {"name": "tt"}}, {"t": SPEC}).faults[0].reason
    chained = check({"templateRef": {"name": "u"}}, {"t": SPEC, "u": {"templateRef": {"name": "t"}}})
    assert "takes its steps from another" in chained.faults[0].reason


def test_a_step_that_is_a_template_has_its_steps_from_there_and_waits_for_it() -> None:
    spec = {"steps": [{"name": "a", "template": "t"}, {"name": "b", "function": "m:f", "needs": ["a"]}]}
    found = check(spec, {"t": SPEC})
    assert found.spec is not None
    assert [(one.name, one.needs) for one in found.spec.steps] == [("a-a", []), ("b", ["a-a"])]
    (fault,) = check(spec, {}).faults
    assert (fault.path, fault.reason) == ("spec.steps[0].template", "there is no template 't'; there are none")
    assert run_of(spec).has_templates
    assert not run_of().has_templates


def test_suspend_and_cancel_are_carried_on_until_they_show() -> None:
    running = RunView(at=NOW, line=line())
    held = reconcile_run(world(run_of({**SPEC, "suspend": True}), running), NOW)
    assert do.HoldRun("lab.flow.01234567", True) in held.effects
    suspended = RunView(at=NOW, line=line("Suspended"))
    assert not any(isinstance(one, do.HoldRun) for one in reconcile_run(
        world(run_of({**SPEC, "suspend": True}), suspended), NOW).effects)  # fmt: skip
    assert do.HoldRun("lab.flow.01234567", False) in reconcile_run(world(view=suspended), NOW).effects
    ended = reconcile_run(world(run_of({**SPEC, "cancel": True}), running), NOW)
    assert do.EndRun("lab.flow.01234567") in ended.effects


def test_a_raised_attempt_runs_again_what_has_not_succeeded_and_only_once() -> None:
    def plan(attempt: int, view: RunView | None, status: RunStatus, **spec: Any) -> do.Plan:
        return reconcile_run(world(run_of({**SPEC, "attempt": attempt, **spec}, status), view), NOW)

    failed, ended = RunStatus(phase="Failed"), RunView(at=NOW, line=line("Failed", Failed=1))
    assert plan(1, ended, failed).effects == ()
    (ask,) = plan(2, None, failed).effects
    assert isinstance(ask, do.AskRun)
    (again,) = plan(2, ended, failed).effects
    assert isinstance(again, do.RetryRun)
    assert (again.name, again.attempt) == ("lab.flow.01234567", 2)
    begun = msgspec.structs.replace(ended, line=line(), attempt=2)
    status = written(plan(2, begun, failed))
    assert (status.phase, status.attempt, status.completed_at) == ("Running", 2, None)
    assert conditions(status)["Complete"] == "False"
    at_once = msgspec.structs.replace(ended, attempt=2)
    status = written(plan(2, at_once, failed))
    assert (status.phase, status.attempt) == ("Failed", 2)
    assert plan(2, at_once, status).effects == ()
    refused = msgspec.structs.replace(ended, refusal="no such pool")
    waits = plan(2, refused, failed)
    assert (waits.effects, waits.wake_at) == ((), NOW + 5)
    assert plan(2, ended, RunStatus(phase="Succeeded")).effects == ()
    assert plan(2, ended, failed, cancel=True).effects == ()
    assert plan(2, RunView(at=NOW), failed).effects == (), "the interchange has forgotten it"


def test_running_programs_are_held_with_it_until_that_shows_and_the_counts_are_written() -> None:
    name, spec = "lab.flow.01234567", {**SPEC, "suspend": True, "suspendRunning": True}

    def orders(spec: dict[str, Any], phase: str, *, stops: bool) -> list[do.HoldRun]:
        seen = msgspec.structs.replace(line(phase), stops=stops)
        effects = reconcile_run(world(run_of(spec), RunView(at=NOW, line=seen)), NOW).effects
        return [one for one in effects if isinstance(one, do.HoldRun)]

    assert orders(spec, "Running", stops=False) == [do.HoldRun(name, True, True)]
    assert orders(spec, "Suspended", stops=False) == [do.HoldRun(name, True, True)]
    assert orders(spec, "Suspended", stops=True) == []
    assert orders({**SPEC, "suspend": True}, "Suspended", stops=True) == [do.HoldRun(name, True, False)]
    assert orders({**SPEC, "suspendRunning": True}, "Suspended", stops=True) == [do.HoldRun(name, False, False)]
    assert orders({**SPEC, "suspendRunning": True}, "Running", stops=False) == []
    assert orders({**spec, "cancel": True}, "Suspended", stops=True) == [], "to be ended is to go on"
    seen = msgspec.structs.replace(line("Suspended", Stopped=2, Waiting=1), stops=True, stopped=5)
    status = written(reconcile_run(world(run_of(spec), RunView(at=NOW, line=seen)), NOW))
    assert (status.steps.stopped, status.steps.total, conditions(status)["Suspended"]) == (2, 3, "True")
    assert status.conditions[-1].message.startswith("5 tasks have their programs stopped")


def test_a_refused_start_is_told_and_tried_again() -> None:
    view = RunView(at=NOW, refusal="unknown pool 'lab.cpu'")
    plan = reconcile_run(world(view=view), NOW + 1)
    status = written(plan)
    assert status.phase == "Pending"
    assert "unknown pool" in status.conditions[1].message
    assert plan.wake_at == NOW + 5
    assert isinstance(reconcile_run(world(view=view), NOW + 5).effects[0], do.StartRun)


def test_a_silent_interchange_changes_nothing_but_what_is_said() -> None:
    status = written(reconcile_run(world(connected=False), NOW))
    assert (status.phase, status.conditions[1].reason) == ("Pending", "InterchangeSilent")


def test_it_is_deleted_when_its_time_is_over() -> None:
    spec = {**SPEC, "ttlSecondsAfterFinished": 60}
    view = RunView(at=NOW, line=line("Succeeded", Succeeded=1))
    ended = reconcile_run(world(run_of(spec), view), NOW)
    status = written(ended)
    later = reconcile_run(world(run_of(spec, status), view), NOW + 10)
    assert (later.effects, later.wake_at) == ((), NOW + 60)
    (delete,) = reconcile_run(world(run_of(spec, status), view), NOW + 60).effects
    assert isinstance(delete, do.DeleteRun)
    assert reconcile_run(world(run_of(status=status)), NOW + 1e9) == do.Plan()


def test_a_templates_time_to_live_counts_for_its_runs_that_say_none() -> None:
    def kept(own: dict[str, Any]) -> float | None:
        run = run_of({"templateRef": {"name": "t"}, **own})
        checked = check(run.spec, {"t": {**SPEC, "ttlSecondsAfterFinished": 60}})
        view = RunView(at=NOW, line=line("Succeeded", Succeeded=1))
        return reconcile_run(RunWorld(run=run, checked=checked, connected=True, view=view), NOW).wake_at

    assert kept({}) == NOW + 60
    assert kept({"ttlSecondsAfterFinished": 5}) == NOW + 5


@pytest.mark.parametrize("field, value", [("suspend", True), ("cancel", True), ("attempt", 2), ("concurrencyKey", "k")])
def test_what_is_about_one_run_is_refused_in_a_template(field: str, value: object) -> None:
    template = {**SPEC, field: value}
    (fault,) = check({"templateRef": {"name": "t"}}, {"t": template}).faults
    assert str(fault) == (
        f"spec.templateRef.name: template 't': {field}: is each run's own to say; leave it out of the template"
    )
    (offline,) = check_spec(template, needs_arguments=False)[1]
    assert str(offline) == f"spec.{field}: is each run's own to say; leave it out of the template"


def test_an_invalid_run_is_deleted_when_its_time_is_over_unless_it_is_mended() -> None:
    bad = {"steps": [], "ttlSecondsAfterFinished": 60}
    first = reconcile_run(world(run_of(bad)), NOW)
    status = written(first)
    assert (status.phase, status.completed_at) == ("Invalid", MOMENT)
    later = reconcile_run(world(run_of(bad, status)), NOW + 10)
    assert (later.effects, later.wake_at) == ((), NOW + 60)
    (delete,) = reconcile_run(world(run_of(bad, status)), NOW + 60).effects
    assert isinstance(delete, do.DeleteRun)
    mended = world(run_of({**SPEC, "ttlSecondsAfterFinished": 60}, status), RunView(at=NOW, line=line()))
    assert written(reconcile_run(mended, NOW + 60)).completed_at is None


def test_one_that_is_being_deleted_is_left_alone() -> None:
    run = run_of(deletionTimestamp="2026-01-01T00:00:00Z")
    assert reconcile_run(RunWorld(run=run, checked=Checked(None), connected=True), NOW) == do.Plan()


def test_a_status_of_many_failures_stays_small() -> None:
    failures = tuple(FailedStep("s" * 63, "m" * 5000) for _ in range(10))
    view = RunView(at=NOW, line=line("Failed", Failed=100_000), failures=failures)
    status = written(reconcile_run(world(view=view), NOW))
    assert len(msgspec.json.encode(status)) < 32 * 1024


def among(policy: str, *rivals: Rival, line: RunLine | None = None) -> do.Plan:
    """What is done of a run called 'flow', made at `MOMENT`, with others of its key."""
    run = run_of({**SPEC, "concurrencyPolicy": policy, "concurrencyKey": "k"}, creationTimestamp=MOMENT)
    view = RunView(at=NOW, line=line)
    return reconcile_run(RunWorld(run=run, checked=check(run.spec, {}), connected=True, view=view, rivals=rivals), NOW)


def rival(name: str, age: float, policy: str = "Allow", *, started: bool = False) -> Rival:
    return Rival(name=name, created_at=NOW - age, policy=Concurrency(policy), started=started)


@pytest.mark.parametrize(
    "policy, other, phase",
    [
        ("Allow", rival("older", 9, started=True), "starts"),
        ("Forbid", rival("older", 9), "Skipped"),
        ("Forbid", rival("older", 9, started=True), "Skipped"),
        ("Forbid", rival("younger", -9), "starts"),
        ("Forbid", rival("a", 0), "Skipped"),  # of the same second the name says which was first
        ("Forbid", rival("z", 0), "starts"),
        ("Forbid", rival("z", 0, started=True), "Skipped"),
        ("Replace", rival("older", 9, started=True), "Pending"),
        ("Replace", rival("younger", -9), "starts"),
        ("Allow", rival("younger", -9, "Replace"), "Cancelled"),
        ("Replace", rival("younger", -9, "Replace"), "Cancelled"),
        ("Replace", rival("older", 9, "Replace"), "Pending"),
    ],
)
def test_what_has_not_started_looks_at_others_of_its_key(policy: str, other: Rival, phase: str) -> None:
    plan = among(policy, other)
    if phase == "starts":
        assert isinstance(plan.effects[0], do.StartRun)
        return
    status = written(plan)
    assert (status.phase, len(plan.effects)) == (phase, 1)
    assert other.name in status.conditions[1].message
    assert conditions(status)["Complete"] == ("False" if phase == "Pending" else "True")


def test_what_has_started_is_ended_for_one_that_waits_to_replace_it_and_for_no_other() -> None:
    for other, ends in ((rival("new", -9, "Replace"), True), (rival("new", -9, "Replace", started=True), False),
                        (rival("new", -9, "Forbid"), False), (rival("old", 9, "Replace"), True)):  # fmt: skip
        assert (do.EndRun("lab.flow.01234567") in among("Allow", other, line=line()).effects) is ends
    ended = written(among("Allow", rival("new", -9, "Replace"), line=line("Cancelled")))
    assert (ended.phase, ended.conditions[1].message) == ("Cancelled", "replaced by new")


def test_a_policy_without_anything_to_hold_a_run_against_is_a_fault() -> None:
    spec = {**SPEC, "concurrencyPolicy": "Forbid"}
    (fault,) = check(spec, {}).faults
    assert fault.path == "spec.concurrencyPolicy"
    assert check(spec, {}, owned=True).faults == check({**spec, "concurrencyKey": "k"}, {}).faults == ()
    of_template = {"templateRef": {"name": "t"}, "concurrencyPolicy": "Forbid"}
    found = check(of_template, {"t": SPEC}).spec
    assert found is not None
    assert found.concurrency_policy is Concurrency.FORBID


def test_runs_of_a_group_bring_one_another_and_their_maker_up() -> None:
    cache = Cache()

    def raw(name: str, spec: dict[str, Any] | None = None, phase: str = "", owner: str = "", version: int = 1) -> Any:
        owners = [{"uid": owner, "controller": True}] if owner else []
        meta = {"name": name, "namespace": "lab", "uid": f"u-{name}", "resourceVersion": str(version)}
        return {"metadata": meta | {"ownerReferences": owners}, "spec": spec or {}, "status": {"phase": phase}}

    of_key = {"concurrencyKey": "k"}
    cache.see(RUN, raw("a", of_key))
    cache.see(RUN, raw("over", of_key, "Succeeded"))
    cache.see(RUN, raw("other", {"templateRef": {"name": "k"}}))
    assert {key.name for key in cache.see(RUN, raw("b", of_key))} == {"a", "b"}
    assert {run.meta.name for run in cache.group_of(cache.runs[Key("run", "lab", "a")])} == {"over", "b"}
    assert {key.name for key in cache.see(RUN, raw("a", of_key, "Failed", version=2))} == {"a", "b"}
    assert {key.name for key in cache.see(RUN, raw("a", of_key), deleted=True)} == {"a", "b"}
    assert {key.name for key in cache.see(RUN, raw("b", {"concurrencyKey": "l"}, version=2))} == {"b"}
    assert cache.group_of(cache.runs[Key("run", "lab", "b")]) == ()
    cache.see(CRON, raw("clock"))
    assert Key("cron", "lab", "clock") in cache.see(RUN, raw("c", owner="u-clock"))
    (cron,) = cache.crons.values()
    assert [run.meta.name for run in cache.runs_of(cron)] == ["c"]
    assert cache.vanished(RUN, set(), 9) >= {Key("cron", "lab", "clock"), Key("run", "lab", "c")}
    assert cache.runs_of(cron) == ()
    cache.see(CRON, raw("clock"), deleted=True)
    assert cache.crons == {}
