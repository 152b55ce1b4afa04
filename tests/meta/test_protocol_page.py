"""The page about the protocol names every message of the wire with its tag, and those of tasks with their fields."""

import enum
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest

from blockyard.wire import client, hub, manager, radios
from blockyard.wire.records import PROTOCOL_VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
UNIONS = {
    "Client to interchange": client.FromClient,
    "Interchange to client": client.ToClient,
    "Manager to interchange": manager.FromManager,
    "Interchange to manager": manager.ToManager,
    "Hub to interchange": hub.FromHub,
    "Interchange to hub": hub.ToHub,
    "Operator to hub": radios.FromOperator,
    "Hub to operator": radios.ToOperator,
}


@pytest.mark.parametrize("heading", UNIONS)
def test_the_page_lists_each_message_of_a_direction(heading: str) -> None:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    listed = {(int(tag), name) for tag, name in re.findall(r"^\| (\d+) \| `(\w+)`", section, re.MULTILINE)}
    messages = get_args(UNIONS[heading])
    assert all(issubclass(message, msgspec.Struct) for message in messages)
    assert listed == {(message.__struct_config__.tag, message.__name__) for message in messages}


WORDS = {int: "int", float: "float", bool: "bool", str: "str", bytes: "bin", msgspec.Raw: "any", NoneType: "nil"}
WITH_FIELDS = [heading for heading in UNIONS if "Client" in heading or "client" in heading or "anager" in heading]


def word(kind: Any, inside: dict[type, None]) -> str:
    """The page's word for the type of a field; the records and enumerations that it names are added to `inside`."""
    match get_origin(kind):
        case origin if origin is Annotated:
            return word(get_args(kind)[0], inside)
        case origin if origin in (list, tuple):
            return f"[{word(get_args(kind)[0], inside)}]"
        case origin if origin in (Union, UnionType):
            return "|".join(word(one, inside) for one in get_args(kind))
    if kind in WORDS:
        return WORDS[kind]
    inside.setdefault(kind)
    return str(kind.__name__)


def line(record: type, inside: dict[type, None]) -> str:
    if issubclass(record, enum.Enum):
        return " ".join([record.__name__, *(f"{one.value}:{one.name}" for one in record)])
    assert issubclass(record, msgspec.Struct)
    fields = msgspec.structs.fields(record)
    said = [f"{'' if one.required else '?'}{one.name}:{word(one.type, inside)}" for one in fields]
    return " ".join([record.__name__, *said])


def test_the_page_lists_each_field_in_its_place() -> None:
    inside: dict[type, None] = {}
    wanted = [line(message, inside) for heading in WITH_FIELDS for message in get_args(UNIONS[heading])]
    done: set[type] = set()
    while more := [record for record in inside if record not in done]:
        wanted += [line(record, inside) for record in more]
        done.update(more)
    block = PAGE.split("## Fields\n")[1].split("```\n")[1]
    told = re.sub(r"^# .*\n", "", block.replace("\n  ", " "), flags=re.MULTILINE)
    assert sorted(" ".join(one.split()) for one in told.splitlines() if one) == sorted(wanted)


def test_the_page_tells_the_version() -> None:
    assert f"`PROTOCOL_VERSION` is {PROTOCOL_VERSION}" in PAGE
