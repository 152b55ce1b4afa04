"""`docs/client.md` names every option of a task, every method of a client and every error that users see."""

import re

from blockyard import errors, options
from blockyard.client import Client
from tests.machine import ROOT

PROSE = re.sub(r"^```.*?^```$", "", (ROOT / "docs" / "client.md").read_text(), flags=re.DOTALL | re.MULTILINE)
WORDS = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", PROSE))))
BEHIND_THOSE = {"BadFrame", "BlobsFull", "RemoteTraceback"}
"""Causes, or kinds, of others; or of no concern to a program."""


def test_every_option_is_named() -> None:
    assert {*options.Options.__struct_fields__, "memory"} - WORDS == set()


def test_every_method_is_named() -> None:
    assert {name for name in dir(Client) if not name.startswith("_")} - WORDS == set()


def test_every_error_is_named() -> None:
    known = {name for name, one in vars(errors).items() if isinstance(one, type) and one.__module__ == errors.__name__}
    assert known - WORDS - BEHIND_THOSE == set()
