"""The pages about managed tasks name every signal, event, field of a spec and kind of argument."""

import re
from pathlib import Path
from typing import get_args

import msgspec

from blockyard.managed.argv import Kind
from blockyard.managed.run import ManagedSpec
from blockyard.managed.signals import Point, Signal

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "managed.md").read_text()
PROTOCOL = (DOCS / "managed-protocol.md").read_text()


def test_the_protocol_lists_each_signal_once() -> None:
    assert sorted(re.findall(r"^\| `([A-Z_]+)` \|", PROTOCOL, re.MULTILINE)) == sorted(Signal)


def test_the_page_names_each_moment() -> None:
    assert [point for point in Point if f"`{point}`" not in PAGE] == []


def test_the_page_names_each_field_of_a_spec() -> None:
    table = PAGE.partition("## On a worker")[2].partition("A `ManagedResult`")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named == {field.name for field in msgspec.structs.fields(ManagedSpec)}


def test_the_page_names_each_kind_of_argument() -> None:
    table = PAGE.partition("`Argument(kind=…)`")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(get_args(Kind))
