"""The page about the protocol names every message of the wire with its tag."""

import re
from pathlib import Path
from typing import get_args

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


def test_the_page_tells_the_version() -> None:
    assert f"`PROTOCOL_VERSION` is {PROTOCOL_VERSION}" in PAGE
