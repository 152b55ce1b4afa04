"""What must not be said beside a template, for its own steps say it, and what a template leaves to its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from blockyard.workflow.checking.kinds import KINDS
from blockyard.workflow.reading import Fault
from blockyard.workflow.spec import Record, Step, Workflow

_OF_TEMPLATES: Final = {"name", "arguments", "needs", "trigger", "when", "pool"}
"""What a step that is a template may say; the rest is its steps' to say."""
_OF_RUNS: Final = {"suspend": False, "suspendRunning": False, "cancel": False, "attempt": 1, "concurrencyKey": ""}
"""What a template must not say, with what is silence: it is about one run. A schema's default cannot be told from a run
that says so, and one of a suspended template could never go on."""


def beside_template_faults(spec: Workflow) -> list[Fault]:
    """What a spec says though the template that it takes its steps from does."""
    found = said(spec, Workflow())
    taken = [name for name in ("steps", "parameters", "onExit", "code") if name in found]
    return [Fault(f"spec.{name}", "comes from the template; leave it out, or templateRef") for name in taken]


def template_step_faults(path: str, step: Step) -> Iterator[Fault]:
    """What a step says though it is a template, whose steps do."""
    for name in said(step, Step(name=step.name, template=step.template)):
        if name not in _OF_TEMPLATES and name not in KINDS:
            yield Fault(f"{path}.{name}", "is its steps' to say; leave it out")


def runs_own_faults(template: Mapping[str, Any], prefix: str) -> list[Fault]:
    """What a template says that is not its own to say."""
    found = [name for name, silence in _OF_RUNS.items() if template.get(name, silence) != silence]
    return [Fault(f"{prefix}{name}", "is each run's own to say; leave it out of the template") for name in found]


def said(record: Record, silent: Record) -> list[str]:
    """Fields that say something else than those of `silent`: what an API server fills in says nothing."""
    fields = msgspec.structs.fields(type(record))
    return [one.encode_name for one in fields if getattr(record, one.name) != getattr(silent, one.name)]
