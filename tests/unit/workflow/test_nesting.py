"""Steps that are templates: what becomes of names, of what they wait for, and what is refused."""

from typing import Any

import pytest

from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.compiling import compile_run
from blockyard.workflow.expressions import rewritten
from blockyard.workflow.nesting import expanded
from blockyard.workflow.spec import Rule, Workflow

CLEAN: dict[str, Any] = {
    "parameters": [{"name": "rows"}, {"name": "least", "type": "integer", "default": 2}],
    "steps": [
        {"name": "sort", "function": "m:sort", "arguments": {"rows": "${{ params.rows }}", "n": "${{ params.least }}"}},
        {
            "name": "drop",
            "binary": ["drop", "${{ steps.sort.result.path }}", "--least=${{ params.least }}"],
            "when": "params.least > 1 && steps.sort.state == 'Succeeded' && 'params.least' != ''",
        },
    ],
}
TEMPLATES: dict[str, Any] = {
    "clean": CLEAN,
    "twice": {
        "parameters": [{"name": "from", "type": "list"}],
        "steps": [
            {"name": "one", "template": "clean", "arguments": {"rows": "${{ params.from.0 }}"}},
            {"name": "two", "template": "clean", "arguments": {"rows": "${{ steps.one.result.stdout }}"}},
        ],
    },
    "fork": {"steps": [{"name": "a", "function": "m:f"}, {"name": "b", "function": "m:f"}]},
    "spread": {
        "parameters": [{"name": "files", "type": "list"}],
        "steps": [{"name": "each", "function": "m:f", "arguments": {"x": "${{ item }}"},
                   "sweep": {"from": "${{ params.files }}"}}],
    },
    "loop": {"steps": [{"name": "again", "template": "pool"}]},
    "pool": {"steps": [{"name": "again", "template": "loop"}]},
    "exits": {"steps": [{"name": "a", "function": "m:f"}], "onExit": {"name": "b", "function": "m:f"}},
    "broken": {"steps": [{"name": "a", "function": "m"}]},
    "chained": {"templateRef": {"name": "clean"}},
    "seen": {
        "parameters": [{"name": "x", "type": "object"}],
        "steps": [{"name": "a", "function": "m:f", "when": "params.x.n > 1"}],
    },
}  # fmt: skip


def whole(*steps: dict[str, Any], **others: Any) -> Workflow:
    spec, faults = check_spec({"steps": list(steps), **others})
    assert spec is not None, faults
    found, faults = expanded(spec, TEMPLATES)
    assert found is not None, faults
    compile_run(found, "run")
    return found


LOAD = {"name": "load", "function": "m:load", "outputs": ["n"]}


def test_its_steps_stand_in_for_it_with_its_arguments() -> None:
    prep = {
        "name": "prep",
        "template": "clean",
        "arguments": {"rows": "${{ steps.load.result }}", "least": 5},
        "needs": ["other"],
        "when": "steps.load.outputs.n > 0",
        "trigger": "AnySuccess",
        "pool": "fast",
    }
    use = {"name": "use", "function": "m:use", "arguments": {"x": "${{ steps.prep.result.stdout }}"}}
    late = {"name": "late", "function": "m:f", "needs": ["prep", "prep-sort"], "when": "steps.prep.state != 'Failed'"}
    found = whole(LOAD, {"name": "other", "function": "m:f"}, prep, use, late)
    steps = {step.name: step for step in found.steps}
    assert list(steps) == ["load", "other", "prep-sort", "prep-drop", "use", "late"]
    first, second = steps["prep-sort"], steps["prep-drop"]
    assert first.arguments == {"rows": "${{ steps.load.result }}", "n": 5}
    assert (first.needs, first.trigger, first.pool) == (["other"], Rule.ANY_SUCCESS, "fast")
    assert first.when == 'steps["load"].outputs.n > 0'
    assert second.binary == ["drop", "${{ steps.prep-sort.result.path }}", "--least=5"]
    assert (second.needs, second.trigger) == ([], Rule.ALL_SUCCESS)
    assert second.when == "5 > 1 && steps[\"prep-sort\"].state == 'Succeeded' && 'params.least' != ''"
    assert steps["use"].arguments == {"x": "${{ steps.prep-drop.result.stdout }}"}
    assert (steps["late"].needs, steps["late"].when) == (
        ["prep-drop", "prep-sort"],
        "steps[\"prep-drop\"].state != 'Failed'",
    )


def test_templates_hold_templates() -> None:
    found = whole(LOAD, {"name": "all", "template": "twice", "arguments": {"from": "${{ steps.load.result.files }}"}})
    steps = {step.name: step for step in found.steps}
    assert list(steps) == ["load", "all-one-sort", "all-one-drop", "all-two-sort", "all-two-drop"]
    assert steps["all-one-sort"].arguments["rows"] == "${{ steps.load.result.files.0 }}"
    assert steps["all-two-sort"].arguments["rows"] == "${{ steps.all-one-drop.result.stdout }}"


def test_an_exit_step_may_refer_to_one() -> None:
    exits = {"name": "tidy", "function": "m:f", "arguments": {"x": "${{ steps.prep.result.code }}"}}
    found = whole({"name": "prep", "template": "clean", "arguments": {"rows": "r"}}, onExit=exits)
    assert found.on_exit is not None
    assert found.on_exit.arguments == {"x": "${{ steps.prep-drop.result.code }}"}


def test_a_sweep_in_it_is_over_a_list_or_over_what_a_step_returns() -> None:
    found = whole(
        LOAD,
        {"name": "known", "template": "spread", "arguments": {"files": ["a", "b"]}},
        {"name": "made", "template": "spread", "arguments": {"files": "${{ steps.load.result }}"}},
    )
    known, made = (step.sweep for step in found.steps[1:])
    assert known is not None
    assert made is not None
    assert (known.list_, made.from_) == (["a", "b"], "${{ steps.load.result }}")


def test_a_condition_in_it_sees_parameters_and_outputs_from_around() -> None:
    parameters = [{"name": "p", "type": "object", "default": {"n": 3}}]
    steps = [{"name": "s", "template": "seen", "arguments": {"x": "${{ params.p }}"}},
             {"name": "t", "template": "seen", "arguments": {"x": "${{ steps.load.outputs.n }}"}},
             {"name": "u", "template": "seen", "arguments": {"x": {"n": 4}}}]  # fmt: skip
    found = whole(LOAD, *steps, parameters=parameters)
    assert [step.when for step in found.steps[1:]] == [
        'params["p"].n > 1',
        'steps["load"].outputs["n"].n > 1',
        '{"n":4}.n > 1',
    ]


@pytest.mark.parametrize(
    "step, path, reason",
    [
        ({"template": "claen"}, "template", "did you mean 'clean'"),
        ({"template": "clean"}, "arguments.rows", "is required"),
        ({"template": "clean", "arguments": {"rows": 5}}, "arguments.rows", "is no string"),
        ({"template": "clean", "arguments": {"row": "r"}}, "arguments.row", "did you mean 'rows'"),
        ({"template": "loop"}, "template", "hold one another: loop → pool → loop"),
        ({"template": "exits"}, "template", "has an onExit"),
        ({"template": "broken"}, "template", "is not in order: spec.steps[0].function"),
        ({"template": "chained"}, "template", "takes its steps from another"),
        ({"template": "seen", "arguments": {"x": "${{ steps.load.result }}"}}, "arguments.x", "a condition"),
        ({"template": "twice", "arguments": {"from": []}}, "arguments.from", "has no '0'"),
        ({"name": "x" * 60, "template": "clean", "arguments": {"rows": "r"}}, "name", "65 letters"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(step: dict[str, Any], path: str, reason: str) -> None:
    spec, faults = check_spec({"steps": [LOAD, {"name": "prep", **step}]})
    assert spec is not None, faults
    found, faults = expanded(spec, TEMPLATES)
    assert found is None
    assert any(one.path == f"spec.steps[1].{path}" and reason in one.reason for one in faults), faults


@pytest.mark.parametrize(
    "step, path, reason",
    [
        ({"function": "m:f", "needs": ["fork-c"]}, "spec.steps[1].needs[0]", "there is no step 'fork-c'"),
        ({"function": "m:f", "arguments": {"x": "${{ steps.fork.result }}"}}, "spec.steps[1].arguments",
         "name one: fork-a, fork-b"),
        ({"function": "m:f", "when": "steps.fork-a.state == 'Failed'"}, "spec.steps[1].when", ""),
    ],
)  # fmt: skip
def test_what_refers_to_it_is_judged_with_its_steps(step: dict[str, Any], path: str, reason: str) -> None:
    spec, faults = check_spec({"steps": [{"name": "fork", "template": "fork"}, {"name": "use", **step}]})
    if spec is not None:
        spec, faults = expanded(spec, TEMPLATES)
    assert spec is None
    assert any(one.path == path and reason in one.reason for one in faults), faults


def test_all_of_several_last_steps_are_waited_for() -> None:
    found = whole({"name": "fork", "template": "fork"}, {"name": "use", "function": "m:f", "needs": ["fork"]})
    assert found.steps[2].needs == ["fork-a", "fork-b"]


@pytest.mark.parametrize("field, value", [("sweep", {"range": 3}), ("retry", {"limit": 1}), ("outputs", ["x"])])
def test_what_is_its_steps_to_say_is_refused(field: str, value: Any) -> None:
    _, faults = check_spec({"steps": [{"name": "prep", "template": "clean", field: value}]})
    assert any(one.path == f"spec.steps[0].{field}" and "its steps' to say" in one.reason for one in faults), faults
    _, faults = check_spec({"steps": [LOAD], "onExit": {"name": "prep", "template": "clean"}})
    assert [one.path for one in faults] == ["spec.onExit.template"]


def test_a_condition_is_rewritten_but_for_its_texts() -> None:
    found = rewritten(
        """params.a == "params.a" && steps.b.state == 'steps.b' && params["c-d"] > 1 && steps['e'].outputs.f""",
        str.upper,
        lambda name: f"x-{name}",
    )
    assert found == ("""A == "params.a" && steps["x-b"].state == 'steps.b' && C-D > 1 && steps["x-e"].outputs.f""")
