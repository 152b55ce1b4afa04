"""Workflows that `blockyard lint` refuses are refused in a cluster, by the same path: at once, or as a condition."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from blockyard.kube.api import Api, ApiSettings, Object
from blockyard.kube.faults import ApiError
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
    refused, problems = asyncio.run(_submit(release)), []
    for number, (where, value, path, reason) in enumerate(OF_THE_SPEC):
        said = refused[number]
        if said is not None:
            if not _names(said, path):
                problems.append(f"{where}={value!r}: refused, not by {path}: {said}")
            continue
        message = _judged(release, f"m-{number}")
        if not (message and path in message and reason in message):
            problems.append(f"{where}={value!r}: not {path}: {reason!r}, but {message!r}")
    assert not problems, "\n".join(problems)
    assert None in refused, "the operator was asked nothing"
    assert any(refused), "the schema was asked nothing"
    assert operator.process.poll() is None, "it never ended"


async def _submit(release: Release) -> list[str | None]:
    """Make each as kubectl would, which refuses unknown fields; why not, if not."""
    async with await Api.connect(ApiSettings(kubeconfig=str(release.kubeconfig))) as api:

        async def one(number: int, manifest: Any) -> str | None:
            manifest["metadata"] = {"name": f"m-{number}", "namespace": release.namespace}
            try:
                await api.create(RUN, manifest, dry_run=True)
                await api.create(RUN, manifest)
            except ApiError as error:
                if error.code not in (400, 422):
                    raise
                return error.message
            return None

        made = (mutant(where, value) for where, value, _, _ in OF_THE_SPEC)
        return await asyncio.gather(*(one(*each) for each in enumerate(made)))


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
