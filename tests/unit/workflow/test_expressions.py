"""Conditions where their language is not installed."""

import sys

import pytest

from blockyard.workflow import expressions


def test_where_the_language_is_missing_is_said_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interchange may lack what a client has, and be given it while it runs."""
    condition = "params.points > 12345"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cel", None)
        told = expressions.fault(condition)
    assert told == (
        f"condition: {sys.executable} lacks the package 'common-expression-language'; "
        "pip install 'blockyard[workflow]' there"
    )
    assert expressions.fault(condition) == ""
