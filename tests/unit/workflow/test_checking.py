"""Malformed workflows: each is refused with the path and the reason, and all faults are said at once."""

import copy
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockyard.workflow import files
from blockyard.workflow.checking.documents import check_document
from blockyard.workflow.checking.kinds import KINDS
from blockyard.workflow.checking.names import are_words
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.checking.steps import Steps
from blockyard.workflow.reading import Fault
from blockyard.workflow.schema import json_schema
from blockyard.workflow.spec import MOST_LETTERS, NAME, Workflow
from tests.fixtures.malformed_workflows import BASE, MUTANTS, mutant


def test_the_base_is_in_order() -> None:
    document, faults = check_document(copy.deepcopy(BASE))
    assert faults == []
    assert document is not None
    assert len(document.spec.steps) == 4


def test_what_stands_in_a_text_of_a_condition_is_no_name() -> None:
    assert check_document(mutant("spec.steps.1.when", "params.mode != 'params.m steps.laod.outputs.x'"))[1] == []


@pytest.mark.parametrize(
    "where, value",
    [
        ("spec.steps.1.when", "steps.load.state == 'Failed' || params.n > 2"),
        ("spec.steps.1.when", "steps.load.state != 'Failed'"),
        ("spec.onExit.when", "steps.fit.state == 'Failed'"),
        ("spec.steps.3", {"name": "done", "function": "m:f", "needs": ["fit"], "trigger": "AllSkipped"}),
        (
            "spec.steps.3",
            {
                "name": "x",
                "function": "m:f",
                "needs": ["say"],
                "trigger": "Always",
                "when": "steps.say.state == 'Failed'",
            },
        ),
    ],
)
def test_what_may_come_true_is_in_order(where: str, value: Any) -> None:
    assert check_document(mutant(where, value))[1] == []


def test_there_are_enough_mutants_and_no_two_are_the_same() -> None:
    assert len(MUTANTS) >= 200
    assert len({(where, repr(value)) for where, value, _, _ in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("where, value, path, reason", MUTANTS, ids=[f"{n}-{m[0]}" for n, m in enumerate(MUTANTS)])
def test_a_mutant_is_refused_with_path_and_reason(where: str, value: Any, path: str, reason: str) -> None:
    document, faults = check_document(mutant(where, value))
    assert document is None
    assert any(fault.path == path and reason in fault.reason for fault in faults), faults


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_that_json_would_make_nothing_of_is_refused(number: float) -> None:
    faults = check_document(mutant("spec.steps.0.arguments.n", [1, {"x": number}]))[1]
    assert faults == [Fault("spec.steps[0].arguments.n[1].x", f"{number} is nothing that JSON can say")]


@pytest.mark.parametrize(
    "where, value",
    [
        ("metadata", {"generateName": "grid-"}),
        ("metadata.name", "a.b-1.c"),
        ("spec.steps.1.source", "def main(x, **more): ..."),
        ("spec.steps.1.source", "def main(x, *, a, b=2, c=3): ..."),
        ("spec.steps.1.source", "@click.command\ndef main(): ..."),
        ("spec.steps.1.source", "def main(): ...\nmain = functools.partial(fit)"),
        ("spec.steps.1.retry.causes", ["ExitCode", "ExitCode75", "SIGSEGV", "mylab.Späte", "TaskTimeoutError"]),
        ("spec.steps.1.sweep", {"list": [{"a": 1, "b": 2}, "${{ params.n }}"]}),
        ("spec.steps.1.when", "steps.load.outputs['count'] > 1"),
    ],
)
def test_what_only_looks_wrong_is_in_order(where: str, value: Any) -> None:
    assert check_document(mutant(where, value))[1] == []


@pytest.mark.parametrize(
    "where, key, value, wrong",
    [
        ("labels", "a b", "c", "'a b'"),
        ("labels", "a", "c d", "'c d'"),
        ("labels", "a", "-c", "'-c'"),
        ("labels", "/a", "c", "'/a'"),
        ("labels", "lab.example.org/", "c", "'lab.example.org/'"),
        ("annotations", "a b", "anything at all", "'a b'"),
        ("labels", "lab.example.org/team_1", "", ""),
        ("labels", "a", "B.c_d-1", ""),
        ("annotations", "a", "anything at all", ""),
    ],
)
def test_what_no_object_can_bear_is_no_label_of_a_schedules_runs(where: str, key: str, value: str, wrong: str) -> None:
    template = {"metadata": {where: {key: value}}, "spec": {"steps": [{"name": "a", "function": "m:f"}]}}
    cron = {**BASE, "kind": "CronWorkflowRun", "spec": {"schedule": "@daily", "runTemplate": template}}
    faults = check_document(cron)[1]
    assert [one.path for one in faults] == [f"spec.runTemplate.metadata.{where}.{key}"] * bool(wrong)
    assert all(one.reason.startswith(f"{wrong} ") for one in faults)


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_what_is_no_object_is_refused(document: object) -> None:
    assert check_document(document)[1]


def test_all_faults_are_said_at_once() -> None:
    changed = copy.deepcopy(BASE)
    changed["kind"] = "Job"
    changed["spec"]["steps"][0]["function"] = 5
    changed["spec"]["steps"][1]["retry"]["limit"] = "x"
    changed["spec"]["steps"][2]["nmae"] = "x"
    _, faults = check_document(changed)
    assert [fault.path for fault in faults] == [
        "kind",
        "spec.steps[0].function",
        "spec.steps[1].retry.limit",
        "spec.steps[2].nmae",
    ]


def test_a_template_needs_no_arguments_and_a_run_takes_its_steps(tmp_path: Path) -> None:
    template = {**copy.deepcopy(BASE), "kind": "WorkflowTemplate", "metadata": {"name": "t"}}
    del template["spec"]["parameters"][0]["default"]
    run = {**BASE, "spec": {"templateRef": {"name": "t"}, "arguments": {"n": 7}}}
    path = tmp_path / "both.json"

    def faults(*objects: object) -> list[Fault]:
        found = []
        for one in objects:
            path.write_bytes(msgspec.json.encode(one))
            found += files.check(path)[1]
        return found

    assert faults(template) == []
    assert "there is no template 't'" in faults(run)[0].reason
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump_all([template, run]))
    document = files.read_run(path)
    assert (document.spec.arguments, len(document.spec.steps)) == ({"n": 7}, 4)
    template["spec"]["steps"][0]["function"] = "load"
    path.write_text(yaml.safe_dump_all([template, {**run, "spec": {"steps": [{"name": "x", "template": "t"}]}}]))
    said = [str(fault) for fault in files.check(path)[1]]
    assert said[0].startswith("[0] spec.steps[0].function: ")
    assert said[1].startswith("spec.steps[0].template: template 't' is not in order: spec.steps[0].function: ")
    assert len(said) == 2
    template["spec"]["steps"][0]["function"] = "a.b:load"
    path.write_text(yaml.safe_dump_all([template, {**run, "spec": {"templateRef": {"name": "t"}}}]))
    with pytest.raises(files.Invalid, match=r"spec\.arguments\.n: is required"):
        files.read_run(path)


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("a.yaml", "a: [", "is no YAML"),
        ("a.yaml", "a: &x [*x]\nb: !!python/object:os.system ls", "is no YAML"),
        ("a.json", "{", "is no JSON"),
        ("a.yaml", "\x00", "is no YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=reason):
        files.check(tmp_path / name)


def test_a_file_without_an_object_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    assert [str(fault) for fault in files.check(tmp_path / "a.yaml")[1]] == ["there is no object in it"]


def test_thousands_of_steps_are_checked_in_one_go() -> None:
    steps = [{"name": f"s{n}", "function": "a.b:c", "needs": [f"s{n - 1}"] if n else []} for n in range(5000)]
    spec, faults = check_spec({"steps": steps})
    assert (faults, spec is not None) == ([], True)
    steps[0]["needs"] = ["s4999"]
    assert "wait for one another" in check_spec({"steps": steps})[1][0].reason


@given(st.lists(st.text("aZ_-0é \n", max_size=3) | st.just("a" * 63) | st.just("a" * 64), max_size=3))
def test_names_that_are_looked_at_together_are_words_each(names: list[str]) -> None:
    one = re.compile(NAME.strip("^$"))
    assert are_words(names) == all(one.fullmatch(name) and len(name) <= MOST_LETTERS for name in names)


@pytest.mark.parametrize("wrong, path", [({"name": "0"}, "name"), ({"needs": ["0"]}, "needs[0]")])
def test_of_thousands_of_steps_the_wrong_one_is_named(wrong: dict[str, Any], path: str) -> None:
    steps = [{"name": f"s{n}", "function": "a.b:c"} | (wrong if n == 3000 else {}) for n in range(5000)]
    assert [one.path for one in check_spec({"steps": steps})[1]] == [f"spec.steps[3000].{path}"]


OPTIONS: list[dict[str, Any]] = [
    {}, {"function": "no path"}, {"arguments": {"n": 1}}, {"arguments": {"no name": 1}},
    {"arguments": {"n": {"file": "nowhere://x"}}}, {"arguments": {"n": "${{ steps.s0.result }}"}},
    {"arguments": {"n": "${{ params.n }}"}}, {"timeout": "0s"}, {"timeout": "1s"}, {"retry": {"backoff": "1s"}},
    {"trigger": "AnyFailed"}, {"when": "params.n"}, {"outputs": ["n"]},
    *({"function": None, "source": one} for one in ("def main(): ...", "def man(): ...", "def", {"inline": "1"})),
    {"source": "def main(): ..."}, {"function": None, "source": "def main(m, n=1): ..."},
    {"function": None, "source": "def main(n): ...", "arguments": {"n": 1}}, {"timeout": "999999999h"}, {"pool": "a b"},
    {"retry": {"limit": 1, "causes": ["tasktimeout"]}}, {"retry": {"limit": 1, "backoff": "999999999h"}},
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), st.lists(st.integers(0, 7), max_size=3)), min_size=1, max_size=6))
def test_steps_that_are_looked_at_together_have_the_faults_that_each_alone_has(
    drawn: list[tuple[dict[str, Any], list[int]]],
) -> None:
    steps = [
        {"name": f"s{min(n, 4)}", "function": "a.b:c", "needs": [f"s{one}" for one in needs], **said}
        for n, (said, needs) in enumerate(drawn)
    ]
    together = check_spec({"steps": steps})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "_others", lambda self, is_sorted: range(len(steps)))
        assert check_spec({"steps": steps}) == together


def test_the_schema_has_each_field_of_a_workflow() -> None:
    schema = json_schema()
    assert set(schema["$defs"]["Workflow"]["properties"]) == {
        field.encode_name for field in msgspec.structs.fields(Workflow)
    }
    assert [one["required"] for one in schema["$defs"]["Step"]["oneOf"]] == [[kind] for kind in KINDS]
    kinds = [one["then"]["properties"]["default"]["type"][0] for one in schema["$defs"]["Parameter"]["allOf"]]
    assert kinds == ["string", "integer", "number", "boolean", "array", "object"]
    assert "required" not in schema["$defs"]["Parameter"]["allOf"][0]["if"], "a text is what it is when it says nothing"
    assert schema["$defs"]["Workflow"]["anyOf"][1]["properties"]["steps"] == {"minItems": 1}
    assert re.fullmatch(schema["properties"]["metadata"]["properties"]["name"]["pattern"], "grid-2")
    assert set(schema["$defs"]["Sweep"]["properties"]) == {"list", "product", "zip", "range", "from"}
