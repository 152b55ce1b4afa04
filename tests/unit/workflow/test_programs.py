"""A program as a step: its words are its own by the time that it runs."""

import msgspec

from blockyard.workflow import programs
from blockyard.workflow.plans import Plan


def test_braces_that_are_left_are_the_programs_own() -> None:
    plan = msgspec.convert({"step": "s", "run": "r"}, Plan)
    found = programs.run_program(plan, ["printf", "%s", "{{ .Name }}"], {})
    assert (found.code, found.stdout) == (0, "{{ .Name }}")
