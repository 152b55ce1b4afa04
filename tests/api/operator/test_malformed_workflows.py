"""Workflows that `blockyard lint` refuses are refused in a cluster, by the same path: at once, or as a condition."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from blockyard.kube.api import Object
from blockyard.kube.kinds import RUN
from tests.api.operator.release import Release
from tests.fixtures.malformed_workflows import MUTANTS, mutant

pytestmark = [pytest.mark.needs_api_server, pytest.mark.timeout(600)]

ELSE = {("spec.pool", "None"), ("spec.steps.3.trigger", "None"), ("spec.steps.0.arguments", "{1: 1}")}
"""In an object of Kubernetes null is a field's default where it has one, and a key of JSON is always a text."""
OF_THE_SPEC = [one for one in MUTANTS if one[0].startswith("spec.") and (one[0], repr(one[1])) not in ELSE]
"""What is wrong with kind, version or name never becomes a WorkflowRun."""


def test_each_is_refused_by_its_path_or_says_so_in_a_condition(release: Release) -> None:
    assert len(OF_THE_SPEC) >= 200
    operator = release.operator()
    release.interchange()
    wanted = [_made(number, one[0], one[1], release.namespace) for number, one in enumerate(OF_THE_SPEC)]
    refused, problems = release.refusals((RUN, manifest) for manifest in wanted), []
    for number, (where, value, path, reason) in enumerate(OF_THE_SPEC):
        said = refused[number]
        if said is not None:
            if not _names(said.message, path):
                problems.append(f"{where}={value!r}: refused, not by {path}: {said}")
            continue
        message = _judged(release, f"m-{number}")
        if not (message and path in message and reason in message):
            problems.append(f"{where}={value!r}: not {path}: {reason!r}, but {message!r}")
    assert not problems, "\n".join(problems)
    assert None in refused, "the operator was asked nothing"
    assert any(refused), "the schema was asked nothing"
    assert operator.process.poll() is None, "it never ended"


def _made(number: int, where: str, value: Any, namespace: str) -> Object:
    return {**mutant(where, value), "metadata": {"name": f"m-{number}", "namespace": namespace}}


def _names(refusal: str, path: str) -> bool:
    """Whether it names the last part of the path, or what that is part of: a rule may stand one level above."""
    last = [name for name in _parts(path) if name != "spec"][-2:]
    return any(re.search(rf"\b{re.escape(name)}\b", refusal) for name in last)


def _parts(path: str) -> Iterator[str]:
    return (part for part in re.split(r"[.\[\]]+", path) if part and not part.isdecimal())


def _judged(release: Release, name: str) -> str:
    def look() -> str | None:
        return _verdict(release.get("wfr", name))

    return str(release.until(f"{name} is judged", look, lambda seen: seen is not None))


def _verdict(raw: Object) -> str | None:
    """What the operator has against it, '' for nothing; None while it has not said."""
    status: dict[str, Any] = raw.get("status", {})
    if status.get("observedGeneration") != raw["metadata"]["generation"]:
        return None
    (accepted,) = (one for one in status["conditions"] if one["type"] == "Accepted")
    return str(accepted["message"])
