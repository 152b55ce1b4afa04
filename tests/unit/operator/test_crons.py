"""When a CronWorkflowRun makes runs, in virtual time; and what becomes of the runs of one group."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from blockyard.workflow.spec import Cron
from blockyard_operator.core import plan as do
from blockyard_operator.core.crons import CronWorld, due, read_cron_spec, reconcile_cron
from blockyard_operator.core.objects import CronRun, Run, read_cron, read_run
from blockyard_operator.resources.cron import CronStatus

STEPS = [{"name": "a", "function": "m:f"}]


def at(text: str) -> float:
    """'2026-03-29 01:00', in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def spec_of(**fields: Any) -> dict[str, Any]:
    return {"schedule": "0 * * * *", "runTemplate": {"spec": {"steps": STEPS}}, **fields}


class House:
    """A CronWorkflowRun and its runs, as an API server would keep them; time goes on by `until`."""

    def __init__(self, now: str, **fields: Any) -> None:
        self.now = at(now)
        self.created = now
        self.spec = spec_of(**fields)
        self.status = CronStatus()
        self.runs: dict[str, dict[str, Any]] = {}
        self.told: list[str] = []
        self.made: list[str] = []

    def cron(self) -> CronRun:
        meta = {"name": "nightly", "namespace": "lab", "uid": "c-1", "generation": 1}
        meta["creationTimestamp"] = datetime.fromtimestamp(at(self.created), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return read_cron({"metadata": meta, "spec": self.spec, "status": msgspec.to_builtins(self.status)})

    def look(self) -> do.Plan:
        """Reconcile until there is nothing to do."""
        for _ in range(5):
            runs: Sequence[Run] = [read_run(one) for one in self.runs.values()]
            world = CronWorld(cron=self.cron(), checked=read_cron_spec(self.spec), runs=tuple(runs))
            plan = reconcile_cron(world, self.now)
            for effect in plan.effects:
                self.carry_out(effect)
            if all(isinstance(one, do.Tell) for one in plan.effects):
                return plan
        raise AssertionError("it never comes to rest")

    def carry_out(self, effect: do.Effect) -> None:
        match effect:
            case do.CreateRun(manifest=made):
                name = made["metadata"]["name"]
                made["metadata"]["uid"] = f"u-{name}"
                self.runs.setdefault(name, made)
                self.made.append(made["metadata"]["annotations"]["blockyard.dev/scheduled-at"])
            case do.DeleteRun(run=run):
                del self.runs[run.name]
            case do.WriteCronStatus(status=status):
                self.status = status
            case do.Tell(reason=reason):
                self.told.append(reason)

    def end(self, name: str, phase: str = "Succeeded") -> None:
        moment = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.runs[name]["status"] = {"phase": phase, "completedAt": moment}

    def until(self, when: str, *, ends: bool = True) -> None:
        """Go on to an instant, looking only when a plan says so; each run ends at once if `ends`."""
        while True:
            plan = self.look()
            for name in [name for name, run in self.runs.items() if ends and "status" not in run]:
                self.end(name)
                plan = self.look()
            if plan.wake_at is None or plan.wake_at > at(when):
                self.now = at(when)
                return
            assert plan.wake_at > self.now
            self.now = plan.wake_at


def conditions(house: House) -> dict[str, tuple[str, str]]:
    return {one.type: (str(one.status), one.reason) for one in house.status.conditions}


def test_each_time_makes_one_run_that_it_owns_and_a_few_are_kept() -> None:
    house = House("2026-01-01 00:10", successfulRunsHistoryLimit=2)
    house.until("2026-01-01 05:30")
    assert house.made == [f"2026-01-01T0{hour}:00:00Z" for hour in range(1, 6)]
    house.look()
    assert list(house.runs) == [f"nightly-{int(at(f'2026-01-01 0{hour}:00')) // 60}" for hour in (4, 5)]
    run = house.runs[list(house.runs)[-1]]
    assert run["metadata"]["ownerReferences"][0]["uid"] == "c-1"
    assert run["metadata"]["labels"] == {"blockyard.dev/cron": "nightly"}
    assert (run["spec"]["steps"], run["spec"]["concurrencyPolicy"]) == (STEPS, "Allow")
    status = house.status
    assert (status.last_schedule_time, status.next_schedule_time) == ("2026-01-01T05:00:00Z", "2026-01-01T06:00:00Z")
    assert (status.last_successful_time, status.active) == ("2026-01-01T05:00:00Z", [])


def test_of_what_was_missed_only_the_latest_is_made_up_for() -> None:
    house = House("2026-01-01 00:10")
    house.until("2026-01-01 01:30")
    house.now = at("2026-01-03 07:45")  # nobody looked for two days
    house.until("2026-01-03 07:50")
    assert house.made[1:] == ["2026-01-03T07:00:00Z"]
    minutely = Cron(schedule="* * * * *", run_template=read_cron_spec(house.spec).spec.run_template)  # type: ignore[union-attr]
    assert due(minutely, at("2020-01-01 00:00"), at("2026-01-01 00:00")).missed == 100


def test_what_cannot_be_started_in_time_is_left_out() -> None:
    house = House("2026-01-01 00:10", startingDeadlineSeconds=600)
    house.now = at("2026-01-01 03:10") + 1
    house.look()
    assert (house.made, set(house.told)) == ([], {"MissedDeadline"})
    assert conditions(house)["OnTime"] == ("False", "MissedDeadline")
    house.until("2026-01-01 04:30")
    assert house.made == ["2026-01-01T04:00:00Z"]
    assert conditions(house)["OnTime"] == ("True", "OnTime")
    house.now = at("2026-01-01 05:10")
    house.look()
    assert house.made[1:] == ["2026-01-01T05:00:00Z"], "at its deadline it is still in time"


def test_while_suspended_nothing_starts_and_afterwards_the_latest_does() -> None:
    house = House("2026-01-01 00:10", suspend=True)
    house.now = at("2026-01-01 04:30")
    plan = house.look()
    assert (house.made, plan.wake_at, house.status.next_schedule_time) == ([], None, None)
    assert conditions(house)["Suspended"] == ("True", "Suspended")
    house.spec = spec_of()
    house.look()
    assert house.made == ["2026-01-01T04:00:00Z"]


def test_forbid_waits_for_what_goes_on_and_then_makes_up_for_the_latest() -> None:
    house = House("2026-01-01 00:10", concurrencyPolicy="Forbid")
    house.until("2026-01-01 03:30", ends=False)
    assert house.made == ["2026-01-01T01:00:00Z"]
    assert conditions(house)["OnTime"] == ("False", "StillActive")
    house.end(next(iter(house.runs)))
    house.look()
    assert house.made[1:] == ["2026-01-01T03:00:00Z"]


def test_forbid_with_a_deadline_lets_it_pass() -> None:
    house = House("2026-01-01 00:10", concurrencyPolicy="Forbid", startingDeadlineSeconds=60)
    house.until("2026-01-01 02:30", ends=False)
    house.end(next(iter(house.runs)))
    house.look()
    assert (house.made, conditions(house)["OnTime"]) == (["2026-01-01T01:00:00Z"], ("False", "MissedDeadline"))


@pytest.mark.parametrize("policy", ["Allow", "Replace"])
def test_other_policies_make_each_run_and_hand_the_policy_on(policy: str) -> None:
    house = House("2026-01-01 00:10", concurrencyPolicy=policy)
    house.until("2026-01-01 03:30", ends=False)
    assert len(house.made) == 3
    assert len(house.status.active) == 3
    assert {run["spec"]["concurrencyPolicy"] for run in house.runs.values()} == {policy}


def test_a_death_before_the_status_was_written_makes_no_second_run() -> None:
    house = House("2026-01-01 00:10")
    house.now = at("2026-01-01 01:00")
    house.look()
    house.status = CronStatus()
    house.look()
    assert (house.made, house.status.last_schedule_time) == (["2026-01-01T01:00:00Z"], "2026-01-01T01:00:00Z")


def test_one_that_failed_is_kept_beside_those_that_succeeded() -> None:
    house = House("2026-01-01 00:10", successfulRunsHistoryLimit=1, failedRunsHistoryLimit=1)
    for hour, phase in enumerate(["Failed", "Cancelled", "Succeeded", "Succeeded"], 1):
        house.now = at(f"2026-01-01 0{hour}:00")
        house.look()
        house.end(f"nightly-{int(house.now) // 60}", phase)
        house.look()
    assert [run["status"]["phase"] for run in house.runs.values()] == ["Cancelled", "Succeeded"]


@pytest.mark.parametrize(
    "schedule, zone, since, until, times",
    [
        # at 02:00 it became 03:00: what has a fixed hour in between runs at once, and once
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-30 12:00", ["29T01:00", "30T00:30"]),
        # at 03:00 it became 02:00: a fixed hour does not come twice
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-26 12:00", ["25T00:30", "26T01:30"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-28 23:30", "2026-03-29 03:30", ["29T00", "29T01", "29T02", "29T03"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-24 23:30", "2026-10-25 03:30", ["25T00", "25T01", "25T02", "25T03"]),
        ("0 9 * * MON-FRI", "America/New_York", "2026-11-26 00:00", "2026-12-01 00:00", ["26T14", "27T14", "30T14"]),
        ("@daily", "Asia/Kolkata", "2026-01-01 00:00", "2026-01-02 23:00", ["01T18:30", "02T18:30"]),
        ("0 0 29 2 *", "UTC", "2026-01-01 00:00", "2028-03-01 00:00", ["29T00:00"]),
    ],
)
def test_clocks_that_are_changed(schedule: str, zone: str, since: str, until: str, times: list[str]) -> None:
    house = House(since, schedule=schedule, timeZone=zone)
    house.until(until)
    assert [one[8 : 8 + len(times[0])] for one in house.made] == times


def test_one_who_looks_late_in_an_hour_that_comes_twice_misses_nothing() -> None:
    house = House("2026-10-24 12:00", schedule="30 2 * * *", timeZone="Europe/Berlin")
    house.now = at("2026-10-25 01:10")  # 02:10 for the second time
    plan = house.look()
    assert house.made == ["2026-10-25T00:30:00Z"]
    assert plan.wake_at == at("2026-10-26 01:30")


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"schedule": "61 * * * *"}, "spec.schedule"),
        ({"schedule": "* * * *"}, "spec.schedule"),
        ({"schedule": "0 0 * * * *"}, "spec.schedule"),
        ({"schedule": "@often"}, "spec.schedule"),
        ({"timeZone": "Europe/Berlim"}, "spec.timeZone"),
        ({"timeZone": "../../etc/passwd"}, "spec.timeZone"),
        ({"concurrencyPolicy": "Sometimes"}, "spec.concurrencyPolicy"),
        ({"runTemplate": {"spec": {"steps": [{"name": "a"}]}}}, "spec.runTemplate.spec.steps[0]"),
        ({"runTemplate": {}}, "spec.runTemplate.spec"),
        ({"shedule": "0 * * * *"}, "spec.shedule"),
    ],
)
def test_what_is_wrong_is_said_with_its_path_and_nothing_is_made(fields: dict[str, Any], path: str) -> None:
    house = House("2026-01-01 00:10", **fields)
    house.now = at("2026-01-02 00:00")
    house.look()
    (said,) = house.status.conditions
    assert (said.type, str(said.status), said.reason, house.made) == ("Accepted", "False", "Invalid", [])
    assert f"{path}: " in said.message
