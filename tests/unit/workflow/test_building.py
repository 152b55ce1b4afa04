"""`Workflow` in Python says what a file says, and refuses what none could."""

import datetime as dt
import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from blockyard import File, Output
from blockyard.errors import ConfigError, NotSendable
from blockyard.workflow.building import (
    Workflow,
    argument,
    each,
    item,
    mpi,
    param,
    product,
    task,
    zipped,
)
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.files import Invalid
from blockyard.workflow.running import checked
from blockyard.workflow.spec import Kind, OneOfMany, Parameter


def scaled(rows: list[float], alpha: float = 1.0) -> float:
    return sum(rows) * alpha


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"rows": [1], "alhpa": 2}, "scaled takes no argument 'alhpa'; did you mean 'alpha'?"),
        ({"alpha": 2}, "scaled needs an argument 'rows'"),
    ],
)
def test_a_function_is_given_what_it_takes(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^step 'scaled': {re.escape(reason)}$"):
        Workflow("one").step(scaled, **arguments)
    with pytest.raises(ConfigError, match=re.escape(reason)):
        Workflow("one").on_exit(scaled, **arguments)
    Workflow("one").step(scaled, rows=[1])
    Workflow("one").step(max, key=3)  # whose arguments cannot be known


FILE = """
pool: cpu
activeDeadlineSeconds: 60
parameters: [{name: n, type: integer, default: 4}]
steps:
  - {name: getsource, function: "inspect:getsource", arguments: {object: "${{ params.n }}"}, outputs: [count]}
  - name: fit
    function: mylab.fit:main
    arguments: {rows: "${{ steps.getsource.result }}", alpha: "${{ item.alpha }}"}
    sweep: {product: {alpha: [0.1, 1.0]}}
    retry: {limit: 2, causes: [OutOfMemory]}
  - {name: pairs, function: "mylab.fit:pair", arguments: {both: "${{ item }}"}, sweep: {zip: {a: [1, 2], b: [3, 4]}}}
  - {name: all, function: "mylab.fit:one", arguments: {x: "${{ item }}"}, sweep: {from: "${{ steps.fit.result }}"}}
  - name: sort
    binary: [sort, "${{ arguments.table }}", "-o", "${{ arguments.out }}"]
    arguments: {table: {file: "s3://b/t.csv"}, out: {output: "s3://b/o.csv"}}
    needs: [all]
    when: steps.getsource.outputs.count > 2
    trigger: AnySuccess
  - {name: find-peaks, task: find-peaks, arguments: {depth: [1, {deep: null}]}}
  - {name: solver, mpi: {command: [./solver, "${{ steps.fit.result }}"], ranks: 8, nodes: 2}}
onExit: {name: on-exit, function: "mylab.fit:tidy"}
"""


def the_same() -> Workflow:
    flow = Workflow(
        "grid",
        pool="cpu",
        parameters=[Parameter(name="n", type=Kind.INTEGER, default=4)],
        active_deadline_seconds=60,
    )
    load = flow.step(inspect.getsource, object=param("n"), options={"outputs": ["count"]})
    options: dict[str, Any] = {"sweep": product(alpha=(0.1, 1.0)), "retry": {"limit": 2, "causes": ["OutOfMemory"]}}
    fit = flow.step("mylab.fit:main", step="fit", rows=load, alpha=item("alpha"), options=options)
    flow.step("mylab.fit:pair", step="pairs", both=item(), options={"sweep": zipped(a=[1, 2], b=[3, 4])})
    every = flow.step("mylab.fit:one", step="all", x=item(), options={"sweep": each(fit)})
    flow.step(
        ["sort", argument("table"), "-o", argument("out")],
        table=File("s3://b/t.csv"),
        out=Output("s3://b/o.csv"),
        options={"needs": [every], "when": "steps.getsource.outputs.count > 2", "trigger": "AnySuccess"},
    )
    flow.step(task("find-peaks"), depth=(1, {"deep": None}))
    flow.step(mpi(["./solver", fit], ranks=8, nodes=2))
    flow.on_exit("mylab.fit:tidy")
    return flow


def test_it_is_the_spec_of_a_file() -> None:
    of_file, faults = check_spec(yaml.safe_load(FILE))
    assert faults == []
    found, faults = check_spec(msgspec.to_builtins(the_same().spec))
    assert (found, faults) == (of_file, [])


def negative(value: int) -> int:
    return -value


def many(**odd: Any) -> Workflow:
    """A workflow of very many steps, with one that has other options."""
    flow = Workflow("w")
    for number in range(2000):
        said = {"needs": ["s9"]} | (odd if number == 1500 else {}) if number > 9 else {}
        flow.step("m:f" if number % 2 else negative, step=f"s{number}", options=said, value=number)
    return flow


def test_very_many_steps_are_read_as_a_file_would_be() -> None:
    spec = many().spec
    found, of_file = checked(spec, "w", None), checked(msgspec.to_builtins(spec), "w", None)
    assert msgspec.to_builtins(found) == msgspec.to_builtins(of_file)
    assert {type(step) for step in spec.steps} == {OneOfMany}


@pytest.mark.parametrize(
    "odd, path",
    [
        ({"priority": "high"}, "priority"),
        ({"needs": [1]}, "needs[0]"),
        ({"needs": ["s9 "]}, "needs[0]"),
        ({"trigger": "Never"}, "trigger"),
    ],
)
def test_of_very_many_steps_the_odd_one_is_refused(odd: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked(many(**odd).spec, "w", None)
    assert [fault.path for fault in caught.value.faults] == [f"spec.steps[1500].{path}"]


@pytest.mark.parametrize("name", ["0", "", "a b", "a\nb", "é", "a" * 64])
def test_of_very_many_steps_one_of_a_bad_name_is_refused(name: str) -> None:
    flow = many()
    flow._steps.append(msgspec.structs.replace(flow._steps[-1], name=name))
    with pytest.raises(Invalid) as caught:
        checked(flow.spec, "w", None)
    assert [fault.path for fault in caught.value.faults] == ["spec.steps[2000].name"]


@pytest.mark.parametrize(
    "value, reason",
    [
        ({1, 2}, "argument x: a set cannot"),
        ([1, {"deep": b"x"}], r"argument x\[1\]\.deep: a bytes cannot"),
        (dt.date(2020, 1, 1), "argument x: a date cannot"),
        (Path("x"), "argument x: a PosixPath cannot"),
        (float("nan"), "argument x: nan cannot"),
        ({1: 2}, "argument x: a dict with keys that are no texts"),
        (print, "argument x: a builtin_function_or_method cannot"),
    ],
)
def test_what_no_file_could_say_is_refused_where_it_stands(value: object, reason: str) -> None:
    with pytest.raises(NotSendable, match=f"^step 's': {reason}"):
        Workflow("w").step("m:f", step="s", x=value)


def test_unknown_fields_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^step 's': there is no field 'outptus'; did you mean 'outputs'\?"):
        Workflow("w").step("m:f", step="s", options={"outptus": ["n"]})
    with pytest.raises(ConfigError, match=r"^workflow 'w': there is no field 'sspend'; did you mean 'suspend'\?"):
        Workflow("w", sspend=True)
    with pytest.raises(NotSendable, match="at least one word"):
        Workflow("w").step([])
