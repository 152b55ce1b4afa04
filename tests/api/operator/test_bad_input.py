"""Mutated resources: refused with the field's name, or accepted and reported; nobody else notices."""

import re
from collections import Counter
from typing import Any

import pytest

from blockyard.kube.api import Object
from blockyard.kube.faults import ApiError
from blockyard.kube.kinds import BLOCK, POOL
from tests.api.operator.mutants import Mutant, mutants
from tests.api.operator.pod_runner import PodRunner
from tests.api.operator.release import Release
from tests.machine import Size

pytestmark = [pytest.mark.needs_api_server, pytest.mark.timeout(1200)]

KINDS = {kind.name: kind for kind in (POOL, BLOCK)}
SEED = 4
BATCH = 50
ELSEWHERE = {
    "drain": "walltime", "drainTimeout": "walltime", "worker": "workersPerNode", "min": "blocks.init",
    "blocks": "min|init|warm", "max": "min|init|warm", "init": "min", "warm": "max",
}  # fmt: skip
"""Where a rule between two fields is named, when the other one was changed."""


@pytest.mark.scale
def test_mutated_resources_are_refused_by_field_or_reported(release: Release, runner: PodRunner, size: Size) -> None:
    runner.fate = lambda pod: "runs" if pod["metadata"]["labels"]["blockyard.dev/pool"] == "witness" else "waits"
    operator = release.operator()
    release.interchange()
    release.apply("WorkerPool", "witness", blocks={"max": 1}, drain={"timeout": "1s"})
    release.until("the witness is well", lambda: release.condition("witness", "Ready"), lambda seen: seen[1] == "Idle")
    witness = release.client().options(pool=f"{release.namespace}.witness")
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    everyone = list(mutants(500 if size is Size.FULL else BATCH, release.namespace, SEED))
    for start in range(0, len(everyone), BATCH):
        accepted = []
        some = everyone[start : start + BATCH]
        refusals = release.refusals((KINDS[mutant.manifest["kind"]], mutant.manifest) for mutant in some)
        for mutant, refusal in zip(some, refusals, strict=True):
            if refusal is None:
                accepted.append(mutant)
            else:
                outcomes["refused"] += 1
                if not _is_named(mutant, refusal):
                    problems.append(f"{mutant.field} {mutant.change}: {refusal}")
        assert witness.submit(abs, -start).result(60) == start, "others go on"
        outcomes.update(_reports(release, accepted, problems))
        release.run("delete", "workerpools,workerblocks", "--field-selector=metadata.name!=witness", "--wait=false")
    assert operator.process.poll() is None, "it never ended"
    broke = [line for line in operator.said() if line["message"].startswith("a reconcile broke")]
    assert not broke, broke[0]
    assert not problems, "\n".join(problems)
    assert outcomes["refused"], outcomes
    assert outcomes["reported"], outcomes
    assert sum(outcomes.values()) == len(everyone)


def _is_named(mutant: Mutant, refusal: ApiError) -> bool:
    """Whether a refusal names the field, one within it, or the other half of a rule between two."""
    names = [re.escape(str(step)) for step in mutant.path if isinstance(step, str)]
    others = [ELSEWHERE[str(step)] for step in mutant.path if step in ELSEWHERE]
    return any(re.search(rf"\b({name})\b", refusal.message) for name in (names[-1], *others))


def _reports(release: Release, accepted: list[Mutant], problems: list[str]) -> Counter[str]:
    """Wait until each is reported on: what is wrong with it, or that nothing is; how many there were of either."""
    found: Counter[str] = Counter()
    for mutant in accepted:
        kind, name = mutant.manifest["kind"], mutant.manifest["metadata"]["name"]
        try:
            reason, message = release.until(
                "it is reported on",
                lambda kind=kind, name=name: _report(release.get(kind, name)),  # type: ignore[misc]
            )
        except AssertionError:
            problems.append(f"{mutant.field} {mutant.change}: no word: {release.get(kind, name).get('status')}")
            continue
        found["reported" if reason else "harmless"] += 1
        steps = [str(step) for step in mutant.path if isinstance(step, str)]
        if reason and not any(step in message for step in steps[1:]):
            problems.append(f"{mutant.field} {mutant.change}: {reason}: {message}")
    return found


def _report(raw: Object) -> tuple[str, str] | None:
    """Reason and message of what is wrong, ('', '') when nothing is; None while the operator has not said."""
    status: dict[str, Any] = raw.get("status", {})
    if status.get("observedGeneration") != raw["metadata"]["generation"]:
        return None
    if raw["kind"] == "WorkerBlock":
        job = status["jobStatus"]
        return (job["reason"], job["message"]) if job["state"] == "FAILED" else ("", "")
    conditions = {one["type"]: one for one in status["conditions"]}
    if conditions["Accepted"]["status"] == "False":
        return conditions["Accepted"]["reason"], conditions["Accepted"]["message"]
    checked = conditions["TemplateValid"]
    if checked["status"] == "False":
        return checked["reason"], checked["message"]
    return ("", "") if checked["status"] == "True" else None
