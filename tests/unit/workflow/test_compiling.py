"""Steps as tasks: those of one kind are one group, each behind all that it needs."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockyard.payload import load_call, load_function
from blockyard.wire.hosted import StartRun
from blockyard.workflow import graph
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.compiling import compile_run
from blockyard.workflow.spec import Workflow

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def given_back(**arguments: Any) -> dict[str, Any]:
    return arguments


def compiled(*steps: dict[str, Any], **done: int) -> StartRun:
    spec = msgspec.convert({"steps": [{"function": "a.b:c", **step} for step in steps]}, Workflow)
    return compile_run(spec, "r", done=done or None, first=len(done))


def names(order: StartRun) -> list[list[str]]:
    """The steps of each group."""
    of = {mark.task & 0xFFFFFFFF: mark.name for mark in order.steps}
    return [[of[group.first + place] for place in range(len(group.bodies))] for group in order.groups]


def test_chains_of_like_steps_are_one_group_for_each_kind() -> None:
    rows: list[list[dict[str, Any]]] = [
        [{"name": f"load{n}"}, {"name": f"fit{n}", "function": "a.b:d", "needs": [f"load{n}"]}, {"name": f"x{n}"}]
        for n in range(3)
    ]
    order = compiled(*(step for row in rows for step in row))
    assert names(order) == [["load0", "x0", "load1", "x1", "load2", "x2"], ["fit0", "fit1", "fit2"]]
    assert [[need & 0xFFFFFFFF for need in needs] for needs in order.groups[1].needs] == [[0], [2], [4]]
    assert order.groups[0].needs == []


def test_a_step_with_options_of_its_own_has_a_group_of_its_own() -> None:
    options: list[dict[str, Any]] = [
        {"timeout": "3s"}, {"retry": {"limit": 2}}, {"priority": 1}, {"pool": "p"}, {"idempotent": False},
        {"resources": {"cpu": "1"}}, {"sweep": {"range": 2}},
        {"needs": ["s"], "when": "true"}, {"needs": ["s"], "trigger": "AnySuccess"},
    ]  # fmt: skip
    order = compiled({"name": "s"}, *({"name": f"s{place}", **one} for place, one in enumerate(options)), {"name": "t"})
    assert names(order) == [["s", "t"], *([f"s{place}"] for place in range(len(options)))]
    assert order.groups[1].spec.timeout == 3.0


@pytest.mark.parametrize("own", [{"when": "1 == 2"}, {"sweep": {"range": 2}}])
def test_a_step_behind_one_with_a_condition_or_a_sweep_has_none_of_it(own: dict[str, Any]) -> None:
    order = compiled({"name": "first", **own}, {"name": "plain"})
    assert names(order) == [["first"], ["plain"]]
    assert (order.groups[1].spec.condition, order.groups[1].spec.name) == (None, "")


def test_what_has_succeeded_is_left_out_and_needed_all_the_same() -> None:
    order = compiled({"name": "a"}, {"name": "b", "needs": ["a"]}, {"name": "c"}, a=7)
    assert [(group.first, len(group.bodies), group.needs) for group in order.groups] == [(1, 2, [[7], []])]


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 30), max_size=4, unique=True)), max_size=30))
def test_each_step_stands_once_in_a_batch_of_its_kind_behind_its_needs(drawn: list[tuple[int, list[int]]]) -> None:
    kinds = [kind for kind, _ in drawn]
    needs = [[one for one in before if one < number] for number, (_, before) in enumerate(drawn)]
    found = list(graph.batches(needs, kinds))
    order = [place for batch in found for place in batch]
    assert sorted(order) == list(range(len(needs)))
    assert all(order.index(one) < order.index(place) for place in order for one in needs[place])
    assert all(len({kinds[place] for place in batch}) == 1 for batch in found)


def test_steps_that_stand_behind_what_they_need_keep_their_order() -> None:
    needs: list[list[int]] = [[], [0], [], [2, 1]]
    assert [list(batch) for batch in graph.batches(needs, [0] * 4)] == [[0, 1, 2, 3]]


def test_steps_are_of_one_group_only_where_all_but_names_needs_and_texts_is_the_same() -> None:
    order = compiled(
        {"name": "a", "arguments": {"n": 1}},
        {"name": "b", "arguments": {"n": 2}, "needs": ["a"]},
        {"name": "c", "priority": 1},
        {"name": "d", "when": "steps.a.state == 'Succeeded'"},
        {"name": "e", "when": "steps.b.state == 'Succeeded'"},
        {"name": "f", "sweep": {"range": 2}},
        {"name": "g", "sweep": {"range": 2}},
        {"name": "h", "arguments": {"n": "${{ steps.a.result }}"}},
    )
    assert sorted(len(group.bodies) for group in order.groups) == [1, 1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    "code", [{"function": f"{__name__}:given_back"}, {"source": "def main(**arguments):\n    return arguments\n"}]
)
@given(drawn=st.lists(st.dictionaries(st.sampled_from("ab"), JSON, max_size=2), min_size=1, max_size=5))
def test_functions_with_arguments_of_their_own_share_all_else_and_are_called_with_these(
    code: dict[str, str], drawn: list[dict[str, Any]]
) -> None:
    steps = [{"name": f"s{n}", **code, "arguments": one} for n, one in enumerate(drawn)]
    spec, faults = check_spec({"steps": steps})
    assert spec is not None, faults
    order = compile_run(spec, "r")
    (function,), (group,) = order.functions, order.groups
    assert group.spec.function == function.id
    bodies = [body for body in group.bodies if isinstance(body, bytes)]
    called = [load_function(function.body)(*load_call(body)[0]) for body in bodies]
    assert called == [msgspec.json.decode(msgspec.json.encode(one)) for one in drawn]


def test_steps_of_each_source_are_a_group_that_brings_it_once() -> None:
    sources = [f"def main(n):\n    return {number}\n" for number in range(2)]
    steps = [{"name": f"s{n}", "source": sources[n % 2], "arguments": {"n": n}} for n in range(6)]
    order = compile_run(msgspec.convert({"steps": steps}, Workflow), "r")
    assert names(order) == [["s0", "s2", "s4"], ["s1", "s3", "s5"]]
    assert [msgspec.msgpack.encode(order).count(source.splitlines()[1].encode()) for source in sources] == [1, 1]


STEPS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("ab"), "needs": st.sampled_from([[], ["c"], ["d"]]), "function": st.just("a.b:c")},
        optional={"arguments": st.just({"n": 1}), "priority": st.just(1), "outputs": st.just(["n"])},
    ),
    min_size=1,
    max_size=3,
)


@given(STEPS, STEPS)
def test_what_says_something_else_has_another_digest(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    others = [{"name": name, "function": "a.b:c"} for name in "cd"]
    digests = [
        compiled(*others, *({**step, "name": f"{step['name']}{n}"} for n, step in enumerate(steps))).digest
        for steps in (one, other)
    ]
    assert (digests[0] == digests[1]) == (one == other)


def test_where_one_step_names_a_file_all_of_its_kind_bring_their_plans() -> None:
    own = compiled({"name": "a", "arguments": {"n": 1}}, {"name": "b", "arguments": {"n": {"file": "file:///x"}}})
    assert [one.name for one in own.functions] == ["blockyard.workflow.run_step"]
    assert [b'"step":"b"' in bytes(body) for body in own.groups[0].bodies if isinstance(body, bytes)] == [False, True]
