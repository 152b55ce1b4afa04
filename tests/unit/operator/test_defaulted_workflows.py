"""An API server fills the CRDs' defaults in before the operator reads a workflow: that must change nothing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from blockyard_operator.core.workflows import check
from tests.fixtures.malformed_workflows import BASE

CRDS = Path(__file__).parents[3] / "crds"
TEMPLATE: dict[str, Any] = {
    "parameters": [{"name": "n", "type": "integer"}],
    "steps": [{"name": "a", "binary": ["echo", "${{ params.n }}"]}, {"name": "b", "function": "m:f", "needs": ["a"]}],
}
NESTED = {"name": "prep", "template": "t", "arguments": {"n": 3}}
SPECS: dict[str, dict[str, Any]] = {
    "steps": BASE["spec"],
    "a template step": {"steps": [NESTED, {"name": "end", "function": "m:f", "needs": ["prep"]}]},
    "a templateRef": {"templateRef": {"name": "t"}, "arguments": {"n": 3}, "pool": "mine"},
    "a templateRef without a pool": {"templateRef": {"name": "t"}, "arguments": {"n": 3}},
}


def schema_of(plural: str) -> dict[str, Any]:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """What an API server makes of a value: defaults of absent fields, of those they bring as well."""
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), one) for one in value]
    if not isinstance(value, dict):
        return value
    known: dict[str, dict[str, Any]] = schema.get("properties", {})
    fresh = {name: copy.deepcopy(one["default"]) for name, one in known.items() if "default" in one}
    return {name: defaulted(known.get(name, {}), one) for name, one in {**fresh, **value}.items()}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_the_api_server_fills_in_changes_nothing(spec: dict[str, Any]) -> None:
    plain = check(spec, {"t": TEMPLATE})
    assert plain.faults == ()
    of_run, of_template = schema_of("workflowruns"), schema_of("workflowtemplates")
    filled = defaulted(of_run, spec)
    assert filled != spec, "the CRD has defaults"
    assert check(filled, {"t": defaulted(of_template, TEMPLATE)}) == plain
