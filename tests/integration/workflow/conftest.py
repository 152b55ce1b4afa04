"""A user who never used Blockyard."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def empty_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user with an empty and short home: paths of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="by-") as home:
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(Path(home, name[4])))
        yield
