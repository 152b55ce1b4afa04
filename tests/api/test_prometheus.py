"""Debian's Prometheus, as tests of metrics and rules use it."""

from pathlib import Path

import pytest

from tests.cluster.prometheus import running_prometheus
from tests.cluster.shell import CommandFailed
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.needs_prometheus


def test_it_scrapes_and_evaluates_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('{"groups": [{"name": "g", "rules": [{"record": "twice", "expr": "up * 2"}]}]}')
    with running_prometheus(["127.0.0.1:1"], [rules]) as server:
        assert [group["name"] for group in server.rules()] == ["g"]

        def amiss() -> str | None:
            found = server.query("twice")
            return None if [series["value"][1] for series in found] == ["0"] else str(found)

        wait_until("the rule's series", amiss, 60)
        with pytest.raises(CommandFailed, match="parse error"):
            server.query("up up")
