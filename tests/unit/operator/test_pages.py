"""Tables in the docs are what the code says, and every reason that the code gives is in them."""

import ast
import inspect

import pytest

from blockyard_operator.core import pool_status
from blockyard_operator.core.reasons import CONDITIONS, REASONS
from blockyard_operator.pages import PARTS, write_into
from tests.machine import ROOT


@pytest.mark.parametrize("file", PARTS)
def test_the_page_says_what_the_code_says(file: str) -> None:
    name, render = PARTS[file]
    page = (ROOT / "docs" / file).read_text()
    assert page == write_into(page, name, render()), "make crds"


def test_every_reason_of_a_pools_conditions_is_explained() -> None:
    tree = ast.parse(inspect.getsource(pool_status))
    said = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Said"]
    assert len(said) > 15
    for call in said:
        condition, reason = call.args[0], call.args[2]
        assert isinstance(condition, ast.Constant)
        name = str(condition.value)
        assert name in CONDITIONS
        if isinstance(reason, ast.Constant):
            assert reason.value in REASONS[name], name


def test_every_condition_has_reasons() -> None:
    assert set(REASONS) == set(CONDITIONS)
