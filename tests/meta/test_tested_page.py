"""`docs/tested.md` names tests that there are."""

import re

from tests.machine import ROOT

PAGE = (ROOT / "docs" / "tested.md").read_text()
NAME = re.compile(r"`([\w/]+\.py)?::(test_\w+)`")


def test_every_test_that_is_named_exists() -> None:
    named = NAME.findall(PAGE)
    assert len(named) == PAGE.count("::test_"), "each is written as FILE::NAME, or ::NAME of the file before it"
    missing, file = [], ""
    for path, name in named:
        file = path or file
        source = ROOT / "tests" / file
        if not source.exists() or f"\ndef {name}(" not in source.read_text():
            missing.append(f"{file}::{name}")
    assert not missing
