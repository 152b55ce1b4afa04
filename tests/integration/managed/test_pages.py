"""The shell of `docs/managed-protocol.md` does what it is there for."""

import os
import re

from blockyard.managed import BinaryExecutor
from tests.machine import ROOT


def test_a_shell_speaks_by_whatever_descriptor_it_is_given() -> None:
    """Debian's sh takes one digit alone behind `>&`, and a task that has files open is given more."""
    (script,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "managed-protocol.md").read_text(), re.DOTALL)
    open_already = [os.open(os.devnull, os.O_RDONLY) for _ in range(12)]
    try:
        found = BinaryExecutor("script", ["sh", "-c", script]).execute_task()
    finally:
        for descriptor in open_already:
            os.close(descriptor)
    assert (found.stderr, found.record.metrics) == ("", {"hits": 42.0})
