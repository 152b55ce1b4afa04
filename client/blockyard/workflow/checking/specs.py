"""A spec as a whole, by itself or with the steps of its template, and the code that it brings.

What it says of its parameters is left to `parameters`, beside a template to `templates`, of its steps to `steps`.
Templates in the place of steps are filled in by `blockyard.workflow.nesting`, which asks here again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from blockyard.workflow.addresses import Stagers, file_faults, no_others
from blockyard.workflow.checking.names import are_words, pool_faults
from blockyard.workflow.checking.parameters import parameter_faults
from blockyard.workflow.checking.steps import Steps
from blockyard.workflow.checking.templates import beside_template_faults, runs_own_faults, said
from blockyard.workflow.reading import Fault, nearest, read
from blockyard.workflow.references import OPENING
from blockyard.workflow.spec import MOST_LOCAL_STEPS, MOST_STEPS, OneOfMany, Step, Workflow

_OWN: Final = (
    "suspend", "suspendRunning", "cancel", "attempt", "ttlSecondsAfterFinished", "concurrencyPolicy", "concurrencyKey",
    "pool", "activeDeadlineSeconds",
)  # fmt: skip
"""Of a run with a template these fields are its own, where it says them."""


def check_spec(
    value: object, stagers: Stagers = no_others, *, needs_arguments: bool = True
) -> tuple[Workflow | None, list[Fault]]:
    """A spec, and all that is wrong with it. `needs_arguments`: every parameter must have a value."""
    faults: list[Fault] = []
    if value is None:
        return None, [Fault("spec", "is required")]
    if isinstance(value, dict) and len(value.get("steps") or ()) > MOST_STEPS:  # no fault of a file
        steps = value["steps"]
        spec = read(value | {"steps": []}, Workflow, "spec", faults)
        read_steps = _read_many(steps, faults)
        spec = msgspec.structs.replace(spec, steps=[*read_steps]) if spec is not None and not faults else None
    else:
        spec = read(value, Workflow, "spec", faults)
    if spec is None:
        return None, sorted(faults)
    found = faults_of(spec, stagers, needs_arguments=needs_arguments)
    if not needs_arguments:
        found += runs_own_faults(msgspec.to_builtins(spec), "spec.")
    found.sort()
    return (None if found else spec), found


def _read_many(steps: list[object], faults: list[Fault]) -> Sequence[Step]:
    """Steps of plain values, or of `OneOfMany`."""
    try:
        many = msgspec.convert(steps, list[OneOfMany])
    except msgspec.ValidationError:
        many = []
    if many and are_words([step.name for step in many]):
        return many
    plain = msgspec.to_builtins(steps)
    found = [read(step, Step, f"spec.steps[{place}]", faults) for place, step in enumerate(plain)]
    return [step for step in found if step is not None]


def faults_of(spec: Workflow, stagers: Stagers = no_others, *, needs_arguments: bool = True) -> list[Fault]:
    """What is wrong with a spec whose fields have the right types."""
    if spec.template_ref is not None:
        return beside_template_faults(spec)
    if not spec.steps:
        return [Fault("spec.steps", "is empty; a workflow has at least one step, or a templateRef")]
    if len(spec.steps) > MOST_LOCAL_STEPS:
        return [Fault("spec.steps", f"has {len(spec.steps)} steps, at most {MOST_LOCAL_STEPS} are taken; use a sweep")]
    return [
        *pool_faults("spec.pool", spec.pool),
        *parameter_faults(spec, needs_arguments=needs_arguments),
        *_code_faults(spec, stagers),
        *Steps(spec, stagers).faults(),
    ]


def merged(
    spec: Workflow, templates: Mapping[str, Mapping[str, Any]], stagers: Stagers = no_others
) -> tuple[Workflow | None, list[Fault]]:
    """A spec with the steps of its template, and what is wrong with the two together. `templates`: name to spec."""
    name = spec.template_ref.name if spec.template_ref is not None else ""
    if name not in templates:
        return None, [Fault("spec.templateRef.name", f"there is no template {name!r}{nearest(name, templates)}")]
    own = msgspec.to_builtins(spec)
    taken = {name: own[name] for name in said(spec, Workflow()) if name in _OWN}
    found = templates[name]
    if own := runs_own_faults(found, f"template {name!r}: "):
        return None, [Fault("spec.templateRef.name", str(one)) for one in own]
    arguments = {**found.get("arguments", {}), **spec.arguments}
    whole, faults = check_spec({**found, **taken, "arguments": arguments}, stagers)
    if whole is not None and whole.template_ref is not None:
        return None, [Fault("spec.templateRef.name", f"template {name!r} takes its steps from another; name that")]
    return whole, faults


def _code_faults(spec: Workflow, stagers: Stagers) -> Iterator[Fault]:
    for place, one in enumerate(spec.code):
        path = f"spec.code[{place}]"
        name = one.file.partition("?")[0].rpartition("/")[2]
        if "://" not in one.file:
            yield Fault(f"{path}.file", f"{one.file!r} is no address; write file:///path, or another scheme's")
        elif not name.endswith((".whl", ".zip")):
            yield Fault(f"{path}.file", f"{name!r} is no wheel")
        elif name.endswith(".whl") and not name.endswith("-none-any.whl"):
            yield Fault(f"{path}.file", f"{name!r} holds compiled code; put that into the image of the workers")
        elif OPENING.decode() in one.file:
            yield Fault(
                f"{path}.file", f"{one.file!r:.80}: what stands in ${{{{ }}}} is not filled in here; write it out"
            )
        yield from file_faults({"file": one.file}, path, stagers)
    without = [place for place, one in enumerate(spec.code) if not one.sha256]
    if without and any(step.cache for step in spec.steps):
        yield Fault(f"spec.code[{without[0]}].sha256", "is required: results of steps with cache: true are known by it")
