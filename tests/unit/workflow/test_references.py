"""References in texts: one alone is the value itself, several and what stands between them are a text."""

from typing import Any

import pytest

from blockyard.workflow.references import filled, walk

VALUES = {"params": {"n": 2.5, "xs": [1, 2]}, "item": "a"}


@pytest.mark.parametrize(
    "text, comes_to",
    [
        ("${{ params.xs }}", [1, 2]),
        ("${{ params.xs.1 }}", 2),
        ("${{ item }} ${{ params.n }}", "a 2.5"),
        ("${{ item }}${{ params.xs }}", "a[1,2]"),
        ("<${{ item }}>", "<a>"),
        ("{${{ item }}}", "{a}"),
        ("${{ item }}}", "a}"),
        ("none", "none"),
    ],
)
def test_what_a_text_comes_to(text: str, comes_to: Any) -> None:
    assert filled(text, lambda one: walk(VALUES[one.root], one.path, one.root)) == comes_to
