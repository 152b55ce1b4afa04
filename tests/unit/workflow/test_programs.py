"""A program as a step: its words are its own by the time that it runs."""

import msgspec

from blockyard.payload import load_call
from blockyard.workflow import programs
from blockyard.workflow.compiling import compile_run
from blockyard.workflow.plans import Plan
from blockyard.workflow.spec import Workflow


def test_braces_that_are_left_are_the_programs_own() -> None:
    plan = msgspec.convert({"step": "s", "run": "r"}, Plan)
    found = programs.run_program(plan, ["printf", "%s", "{{ .Name }}"], {})
    assert (found.code, found.stdout) == (0, "{{ .Name }}")


def test_a_parameter_that_is_a_whole_word_becomes_text_whatever_its_type() -> None:
    parameters = [{"name": "x", "type": "number", "default": 2.5}, {"name": "xs", "type": "list", "default": [1]}]
    step = {"name": "s", "binary": ["printf", "${{ params.x }}"], "environment": {"XS": "${{ params.xs }}"}}
    spec = msgspec.convert({"parameters": parameters, "steps": [step]}, Workflow)
    (group,) = compile_run(spec, "r").groups
    (body,) = group.bodies
    assert isinstance(body, bytes)
    (encoded, *_), _ = load_call(body)
    plan = msgspec.json.decode(encoded, type=Plan)
    assert (plan.binary, plan.environment) == (["printf", "2.5"], {"XS": "[1]"})
