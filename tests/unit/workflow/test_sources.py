"""Python of steps that stands in ConfigMaps: read into the spec before anything is made of a run, or refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.errors import ConfigError
from blockyard.wire.hosted import StartRun
from blockyard.workflow import files, running
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.compiling import compile_run
from blockyard.workflow.nesting import expanded
from blockyard.workflow.sources import ConfigMap, to_read
from blockyard.workflow.spec import Workflow

CODE = "def main(): return 1\n"
MAPS = {"code": ConfigMap({"main.py": CODE, "bad.py": "main = 1"}), "gone": ConfigMap(problem="there is none")}


def step(name: str, config_map: str = "code", key: str = "main.py") -> dict[str, Any]:
    return {"name": name, "source": {"configMap": {"name": config_map, "key": key}}}


def filled(spec: dict[str, Any], templates: dict[str, Any] | None = None) -> tuple[Workflow | None, list[str]]:
    found, faults = check_spec(spec)
    assert found is not None, faults
    whole, faults = expanded(found, templates or {}, look=MAPS.get)
    return whole, [str(one) for one in faults]


def order(spec: Workflow) -> StartRun:
    return compile_run(spec, "r")


def test_the_text_stands_in_the_place_of_what_names_it() -> None:
    plain, _ = filled({"steps": [{"name": "a", "source": CODE}], "onExit": {"name": "z", "source": CODE}})
    named, _ = filled({"steps": [step("a")], "onExit": step("z")})
    inline, _ = filled({"steps": [{"name": "a", "source": {"inline": CODE}}], "onExit": {"name": "z", "source": CODE}})
    assert plain is not None
    assert plain == named == inline
    assert order(plain) == order(named), "the same run, by its content"


@pytest.mark.parametrize(
    "config_map, key, fault",
    [
        ("gone", "main.py", "name: there is none"),
        ("code", "mian.py", "key: ConfigMap 'code' has no key 'mian.py'; did you mean 'main.py'?"),
        ("code", "bad.py", "key: 'bad.py' of ConfigMap 'code' defines no function main; there are none"),
    ],
)
def test_what_is_not_in_order_is_said_with_its_place(config_map: str, key: str, fault: str) -> None:
    spec = {"steps": [{"name": "a", "source": CODE}, step("b", config_map, key)]}
    assert filled(spec) == (None, [f"spec.steps[1].source.configMap.{fault}"])
    template = {"t": {"steps": [step("b", config_map, key)]}}
    nested = {"steps": [{"name": "a", "source": CODE}, {"name": "t", "template": "t"}]}
    assert filled(nested, template) == (None, [f"spec.steps[1].template: its step 'b': source.configMap.{fault}"])


def test_a_template_may_hold_such_steps() -> None:
    whole, faults = filled({"steps": [{"name": "t", "template": "t"}]}, {"t": {"steps": [step("a"), step("b")]}})
    assert (faults, whole is not None and [one.source for one in whole.steps]) == ([], [CODE, CODE])


def test_what_was_not_read_is_left_named_and_compiles_to_nothing() -> None:
    whole, faults = filled({"steps": [step("a", "other"), step("b"), step("c", "another")]})
    assert faults == []
    assert whole is not None
    assert to_read(whole) == ("another", "other")
    with pytest.raises(ConfigError, match="step a: source: its text was not read"):
        order(whole)


def test_lint_takes_it_and_a_run_without_a_cluster_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    document = {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "r"}}
    path.write_bytes(msgspec.json.encode({**document, "spec": {"steps": [step("a")]}}))
    assert files.check(path)[1] == []
    wanted = r"spec.steps\[0\].source.configMap.name: ConfigMap 'code' is a cluster's, .*; write the text itself"
    with pytest.raises(files.Invalid, match=wanted):
        files.read_run(path)
    with pytest.raises(files.Invalid, match=wanted):
        running.checked({"steps": [step("a")]}, "r", None)
