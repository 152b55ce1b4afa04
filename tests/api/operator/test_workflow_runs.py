"""WorkflowRuns at a real API server, with a real interchange and real workers as pods."""

import signal
from typing import Any

import pytest

from tests.api.operator.pod_runner import PodRunner
from tests.api.operator.release import Release
from tests.cluster.shell import CommandFailed

pytestmark = [pytest.mark.needs_api_server, pytest.mark.timeout(300)]

STEPS: list[dict[str, Any]] = [
    {"name": "load", "source": "def main(n): return {'numbers': list(range(n)), 'count': n}",
     "arguments": {"n": "${{ params.n }}"}, "outputs": ["count"]},
    {"name": "square", "source": "def main(x): return x * x", "arguments": {"x": "${{ item }}"},
     "sweep": {"from": "${{ steps.load.result.numbers }}"}},
    {"name": "total", "source": "def main(xs): return {'sum': sum(xs)}", "outputs": ["sum"],
     "arguments": {"xs": "${{ steps.square.result }}"}, "when": "steps.load.outputs.count > 2"},
]  # fmt: skip
BROKEN = {"name": "broken", "source": "def main(): raise ValueError('as asked')"}
PARAMETERS = [{"name": "n", "type": "integer", "default": 4}]


def phase(release: Release, name: str) -> str:
    found = release.find("wfr", name)
    return "" if found is None else found.get("status", {}).get("phase", "")


def ready(release: Release) -> None:
    release.operator()
    release.interchange()
    release.apply("WorkerPool", "cpu", blocks={"max": 1})
    release.until("the pool is well", lambda: release.condition("cpu", "Ready"), lambda seen: seen[1] == "Idle")


def test_runs_complete_fail_wait_and_go(release: Release, runner: PodRunner) -> None:
    ready(release)
    release.apply("WorkflowTemplate", "sums", pool="cpu", parameters=PARAMETERS, steps=STEPS)
    release.apply("WorkflowRun", "good", templateRef={"name": "sums"}, arguments={"n": 5})
    release.apply("WorkflowRun", "bad", pool="cpu", steps=[BROKEN, {**STEPS[0], "arguments": {"n": 1}}])
    release.apply("WorkflowRun", "wrong", pool="cpu", steps=[{**BROKEN, "needs": ["brokn"]}])
    release.apply("WorkflowRun", "held", pool="cpu", suspend=True, steps=[{**BROKEN, "source": "def main(): return 1"}])
    release.completes("good", "bad", "wrong")
    good = release.get("wfr", "good")["status"]
    assert (good["phase"], good["steps"]["succeeded"], good["steps"]["total"]) == ("Succeeded", 3, 3)
    bad = release.get("wfr", "bad")["status"]
    assert bad["phase"] == "Failed"
    assert bad["failures"] == [{"step": "broken", "message": "ValueError: as asked"}]
    wrong = {one["type"]: one for one in release.get("wfr", "wrong")["status"]["conditions"]}
    assert wrong["Accepted"]["status"] == "False"
    assert "spec.steps[0].needs[0]: there is no step 'brokn'; did you mean 'broken'?" in wrong["Accepted"]["message"]
    release.until("it is held", lambda: phase(release, "held"), lambda seen: seen == "Suspended")
    release.patch("wfr", "held", suspend=False)
    release.completes("held")
    assert phase(release, "held") == "Succeeded"
    release.patch("wfr", "held", ttlSecondsAfterFinished=1)
    release.until("its time is over", lambda: release.find("wfr", "held"), lambda seen: seen is None)
    release.patch("wfr", "wrong", ttlSecondsAfterFinished=1)
    release.until("so is that of one that never began", lambda: release.find("wfr", "wrong"), lambda seen: seen is None)
    release.apply(
        "WorkflowTemplate", "brief", pool="cpu", ttlSecondsAfterFinished=1, parameters=PARAMETERS, steps=STEPS
    )
    release.apply("WorkflowRun", "brief", templateRef={"name": "brief"})
    release.until("its template's, too", lambda: release.find("wfr", "brief"), lambda seen: seen is None, within=60.0)
    release.apply("WorkflowTemplate", "brief", pool="cpu", suspend=True, steps=[BROKEN])
    release.apply("WorkflowRun", "never", templateRef={"name": "brief"})
    release.until("it is refused", lambda: phase(release, "never"), lambda seen: seen == "Invalid")


def test_a_run_goes_on_with_the_operator_stopped_and_can_be_cancelled(release: Release, runner: PodRunner) -> None:
    operator = release.operator("operator-1")
    release.interchange()
    release.apply("WorkerPool", "cpu", blocks={"min": 1, "max": 1})
    slow = {"name": "slow", "source": "import time\ndef main(): time.sleep(5); return {'n': 3}", "outputs": ["n"]}
    either = {"name": "either", "source": "def main(): return 1", "needs": ["slow", "broken"], "trigger": "AnySuccess"}
    then = {"name": "then", "source": "def main(): return 2", "needs": ["either"], "when": "steps.slow.outputs.n == 3"}
    release.apply("WorkflowRun", "alone", pool="cpu", steps=[slow, BROKEN, either, then])
    release.until("it runs", lambda: phase(release, "alone"), lambda seen: seen == "Running")
    operator.end(signal.SIGKILL)
    client = release.client()
    name = release.get("wfr", "alone")["status"]["run"]
    from blockyard.remote import RemoteEngine
    from blockyard.workflow.running import WorkflowRun

    assert isinstance(client._engine, RemoteEngine)
    assert WorkflowRun(client._engine, name).wait(60) == "Succeeded"
    release.operator("operator-2")
    release.completes("alone")
    assert phase(release, "alone") == "Succeeded"
    long = {"name": "long", "source": "import time\ndef main(): time.sleep(600)"}
    tidy = {"name": "tidy", "source": "def main(): return 0"}
    release.apply("WorkflowRun", "stopped", pool="cpu", steps=[long], onExit=tidy)
    release.until("it runs", lambda: phase(release, "stopped"), lambda seen: seen == "Running")
    release.patch("wfr", "stopped", cancel=True)
    release.completes("stopped")
    status = release.get("wfr", "stopped")["status"]
    assert (status["phase"], status["steps"]["succeeded"], status["steps"]["cancelled"]) == ("Cancelled", 1, 1)


def test_code_in_a_config_map_is_read_when_the_run_starts_and_waited_for(release: Release, runner: PodRunner) -> None:
    ready(release)

    def run(name: str, config_map: str, key: str = "main.py") -> None:
        source = {"configMap": {"name": config_map, "key": key}}
        step = {"name": "a", "source": source, "arguments": {"n": 3}, "outputs": ["n"]}
        release.apply("WorkflowRun", name, pool="cpu", steps=[step])

    def accepted(name: str) -> tuple[str, str]:
        found = (release.find("wfr", name) or {}).get("status", {}).get("conditions", [])
        return next(((one["status"], one.get("message", "")) for one in found if one["type"] == "Accepted"), ("", ""))

    run("early", "code")
    missing = "spec.steps[0].source.configMap.name: there is no ConfigMap 'code'"
    release.until("it waits", lambda: accepted("early"), lambda seen: seen[0] == "False" and missing in seen[1])
    release.run("create", "configmap", "code", "--from-literal=main.py=def main(n): return {'n': n * 2}")
    run("late", "code")
    run("keyless", "code", "mian.py")
    release.completes("late")
    assert (phase(release, "late"), accepted("late")[0]) == ("Succeeded", "True")
    wanted = "spec.steps[0].source.configMap.key: ConfigMap 'code' has no key 'mian.py'; did you mean 'main.py'?"
    release.until("it says which keys there are", lambda: accepted("keyless"), lambda seen: wanted in seen[1])
    release.until("it is found", lambda: phase(release, "early"), lambda seen: seen == "Succeeded", within=120.0)
    with pytest.raises(CommandFailed, match="say exactly one of function"):
        release.apply("WorkflowRun", "x", steps=[{"name": "a", "binary": ["x"], "task": "y"}])


def test_a_schedule_makes_runs_and_those_of_one_key_replace_one_another(release: Release, runner: PodRunner) -> None:
    """The only wait is for the turn of a minute; what a schedule says otherwise is seen in virtual time."""
    ready(release)
    quick = {"name": "quick", "source": "def main(): return 1"}
    release.apply(
        "CronWorkflowRun", "often", schedule="* * * * *", timeZone="Europe/Berlin", successfulRunsHistoryLimit=1,
        runTemplate={"metadata": {"labels": {"team": "data"}}, "spec": {"pool": "cpu", "steps": [quick]}},
    )  # fmt: skip
    release.apply("CronWorkflowRun", "wrong", schedule="61 * * * *", runTemplate={"spec": {"steps": [quick]}})
    long = {"name": "long", "source": "import time\ndef main(): time.sleep(600)"}
    of_key = {"pool": "cpu", "concurrencyKey": "nightly"}
    release.apply("WorkflowRun", "first", steps=[long], **of_key)
    release.until("it runs", lambda: phase(release, "first"), lambda seen: seen == "Running")
    release.apply("WorkflowRun", "kept-out", steps=[quick], concurrencyPolicy="Forbid", **of_key)
    release.until("it is skipped", lambda: phase(release, "kept-out"), lambda seen: seen == "Skipped")
    release.apply("WorkflowRun", "second", steps=[quick], concurrencyPolicy="Replace", **of_key)
    release.completes("first", "second")
    assert (phase(release, "first"), phase(release, "second")) == ("Cancelled", "Succeeded")
    wrong = release.get("cwfr", "wrong")["status"]["conditions"][0]
    assert (wrong["reason"], "spec.schedule: '61 * * * *'" in wrong["message"]) == ("Invalid", True)
    status = release.until(
        "a run of the schedule has succeeded",
        lambda: release.get("cwfr", "often").get("status", {}),
        lambda seen: "lastSuccessfulTime" in seen,
        within=120.0,
    )
    made = next(one for one in release.get("wfr")["items"] if one["metadata"]["name"].startswith("often-"))
    assert made["metadata"]["labels"]["team"] == "data"
    assert made["metadata"]["annotations"]["blockyard.dev/scheduled-at"] <= status["lastScheduleTime"]
    assert [one["name"] for one in made["metadata"]["ownerReferences"]] == ["often"]


def test_the_api_server_refuses_what_the_schema_forbids(release: Release) -> None:
    for steps, wanted in [
        ([{"name": "a", "function": "m:f", "binary": ["x"]}], "say exactly one of function"),
        ([{"name": "a b", "function": "m:f"}], "should match"),
        ([{"name": "a", "function": "m:f", "trigger": "any"}], "Unsupported value"),
    ]:
        with pytest.raises(CommandFailed, match=wanted):
            release.apply("WorkflowRun", "x", steps=steps)
