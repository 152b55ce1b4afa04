"""Every member of the block executor's contract is on both kinds of executor, and in the page that maps it."""

import inspect
from pathlib import Path

import pytest

from blockyard.blocks.blockless import BlocklessExecutor
from blockyard.blocks.executor import BlockExecutor

PAGE = (Path(__file__).parents[3] / "docs" / "blocks.md").read_text()
MEMBERS = (
    "start", "shutdown", "submit", "label", "provider", "run_dir", "scale_out", "scale_in", "status",
    "status_polling_interval", "outstanding", "workers_per_node", "tasks", "handle_errors",
    "set_bad_state_and_fail_all", "bad_state_is_set", "executor_exception", "error_management_enabled",
    "scaling_enabled", "create_monitoring_info", "monitor_resources", "launch_command",
)  # fmt: skip
GONE = ("hub_address", "hub_port", "radio_mode")


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("kind", [BlockExecutor, BlocklessExecutor])
def test_a_member_is_there(kind: type, member: str) -> None:
    assert inspect.getattr_static(kind, member, None) is not None


@pytest.mark.parametrize("member", [*MEMBERS, *GONE])
def test_a_member_is_mapped_or_said_to_be_gone(member: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and member in line]
    assert rows, f"docs/blocks.md has no row for {member}"
    assert member not in GONE or "gone" in rows[0]
