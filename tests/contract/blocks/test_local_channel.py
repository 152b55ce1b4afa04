"""What the local provider promises about processes: none outlives its block, its provider or its supervisor unseen."""

import os
import re
import secrets
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blockyard.blocks.channels import Program
from blockyard.blocks.exits import ChannelEvent, Exited
from blockyard.blocks.faults import ChannelError, ProviderError
from blockyard.blocks.local_channel import LocalChannel
from blockyard.blocks.provider import BlockRequest, LocalProvider
from blockyard.blocks.states import JobState
from blockyard.blocks.strays import end_strays, find_strays
from blockyard.blocks.suites import local_program
from blockyard.blocks.watched import PATIENCE, watched
from blockyard.ids import BlockId

SUPERVISOR = """
import sys, threading
from pathlib import Path
from blockyard.blocks.provider import BlockRequest, LocalProvider
provider = LocalProvider(owner=sys.argv[1], log_dir=Path(sys.argv[2]))
provider.start(lambda job, status: print(status.state, flush=True))
line = "setsid sh -c 'echo strayed > \\"$0\\"; exec sleep 600' \\"$0\\" & exec sleep 600"
starter = threading.Thread(target=lambda: provider.submit(
    BlockRequest(block="b-9", argv=("/bin/sh", "-c", line, sys.argv[3]))))
starter.start()
starter.join()
sys.stdin.read()
"""


@pytest.fixture
def owner() -> str:
    return f"test-{secrets.token_hex(4)}"


def wait_until_readable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(PATIENCE * 1000))


def test_a_killed_supervisor_takes_its_blocks_along_and_strays_are_found_by_the_next(
    owner: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", SUPERVISOR, owner, str(tmp_path / "logs"), str(fifo)]
    supervisor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert fifo.read_text() == "strayed\n"
        leader, stray = sorted(found.pid for found in find_strays(owner))
        # The thread that asked has ended long ago; a block bound to it would be dead by now.
        watch = os.pidfd_open(leader)
        supervisor.kill()
        assert wait_until_readable(watch), "the leader outlives its supervisor"
        os.close(watch)
        ended = end_strays(owner)
        assert [(one.pid, one.block, one.owner) for one in ended] == [(stray, BlockId("b-9"), owner)]
        assert "sleep 600" in ended[0].command
        assert find_strays(owner) == []
        assert end_strays(owner) == []
    finally:
        supervisor.kill()
        supervisor.communicate()
        end_strays(owner)


def test_strays_of_others_and_spared_blocks_are_left_alone(owner: str, tmp_path: Path) -> None:
    provider = LocalProvider(owner=owner, log_dir=tmp_path)
    with watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=("/bin/sleep", "600")))
        seen.state_of(job, JobState.RUNNING)
        assert end_strays(f"{owner}-other") == []
        assert end_strays(owner, spare=["b-0"]) == []  # type: ignore[list-item]  # a name is a name
        assert provider.end_strays() == []
        assert provider.status([job])[job].state is JobState.RUNNING


def test_what_left_the_group_of_its_block_is_ended_with_it_and_named(owner: str, tmp_path: Path) -> None:
    provider = LocalProvider(owner=owner, log_dir=tmp_path)
    with watched(provider) as seen:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        argv = local_program(f"setsid sh -c 'echo > {fifo}; exec sleep 600' & read up < {fifo}; exit 3")
        end = seen.end_of(provider.submit(BlockRequest(block=BlockId("b-0"), argv=argv)))
    assert re.search(r"ended 1 of its processes that outlived it: \d+ \(s", end.message), end.message
    assert find_strays(owner) == []


def test_a_program_that_binds_itself_is_started_as_it_is(owner: str, tmp_path: Path) -> None:
    provider = LocalProvider(owner=owner, log_dir=tmp_path)
    with watched(provider) as seen:
        argv = local_program("tr '\\0' ' ' < /proc/$$/cmdline")
        request = BlockRequest(block=BlockId("b-0"), argv=argv, binds_itself=True)
        assert seen.end_of(provider.submit(request)).log_tail.startswith("/bin/sh -c")


def test_an_executable_that_is_broken_fails_the_block(owner: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF and no more")
    broken.chmod(0o755)
    provider = LocalProvider(owner=owner, log_dir=tmp_path / "logs")
    with watched(provider) as seen:
        request = BlockRequest(block=BlockId("b-0"), argv=(str(broken),), binds_itself=True)
        end = seen.end_of(provider.submit(request))
    assert (end.state, end.reason) == (JobState.FAILED, "SpawnFailed")
    assert "Exec format error" in end.message


def test_logs_are_private_and_only_their_end_is_carried_along(owner: str, tmp_path: Path) -> None:
    logs = tmp_path / "made" / "logs"
    provider = LocalProvider(owner=owner, log_dir=logs)
    with watched(provider) as seen:
        argv = local_program("yes 0123456789abcdef | head -c 1000000; echo the end; exit 1")
        end = seen.end_of(provider.submit(BlockRequest(block=BlockId("b-0"), argv=argv)))
    (log,) = logs.iterdir()
    assert (log.stat().st_mode & 0o777, logs.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(end.log_tail) <= 2048
    assert end.log_tail.endswith("the end\n")


def test_blocks_do_not_hear_a_ctrl_c_of_the_terminal(owner: str, tmp_path: Path) -> None:
    provider = LocalProvider(owner=owner, log_dir=tmp_path)
    with watched(provider) as seen:
        request = BlockRequest(block=BlockId("b-0"), argv=("/bin/sleep", "600"))
        running = seen.state_of(provider.submit(request), JobState.RUNNING)
        pid = int(running.message.removeprefix("process "))
        assert os.getsid(pid) == pid
        assert os.getpgid(pid) == pid


def test_two_hundred_blocks_at_once_all_report_their_end(owner: str, tmp_path: Path) -> None:
    provider = LocalProvider(owner=owner, log_dir=tmp_path)
    with watched(provider) as seen:
        requests = [
            BlockRequest(block=BlockId(f"b-{number}"), argv=local_program(f"exit {number % 7}"), binds_itself=True)
            for number in range(200)
        ]
        jobs = [provider.submit(request) for request in requests]
        assert [seen.end_of(job).exit_code for job in jobs] == [number % 7 for number in range(200)]
    assert threading.active_count() < 20


def test_a_provider_that_does_not_run_refuses_blocks(owner: str, tmp_path: Path) -> None:
    provider = LocalProvider(owner=owner, log_dir=tmp_path)
    request = BlockRequest(block=BlockId("b-0"), argv=("/bin/true",))
    with pytest.raises(ProviderError, match="does not run"):
        provider.submit(request)
    with watched(provider), pytest.raises(ProviderError, match="was started before"):
        provider.start(lambda job, status: None)
    with pytest.raises(ProviderError, match="does not run"):
        provider.submit(request)


def test_a_channel_starts_one_program_for_a_key_at_a_time(tmp_path: Path) -> None:
    ends: list[ChannelEvent] = []
    ended = threading.Event()

    def on_event(key: str, event: ChannelEvent) -> None:
        if isinstance(event, Exited):
            ends.append(event)
            ended.set()

    channel = LocalChannel()
    with pytest.raises(ChannelError, match="does not run"):
        channel.signal("a", signal.SIGTERM)
    channel.open(on_event)
    program = Program(argv=local_program("read line; exit 4"), log=tmp_path / "log")
    sleeper = Program(argv=("/bin/sleep", "600"), log=tmp_path / "log2")
    channel.start("a", program)
    assert ended.wait(PATIENCE), "stdin is empty, so it ends"
    assert channel.poll("a") == ends[0]
    channel.start("a", sleeper)
    with pytest.raises(ChannelError, match="still runs"):
        channel.start("a", program)
    channel.close()
    channel.close()


@pytest.mark.parametrize("codes", [(0, 0, 0), (0, 5, 0)])
def test_copies_of_a_command_end_together_with_the_first_bad_code(tmp_path: Path, codes: tuple[int, ...]) -> None:
    line = "echo $BLOCKYARD_NODE_INDEX; " + "; ".join(
        f"[ $BLOCKYARD_NODE_INDEX != {index} ] || exit {code}" for index, code in enumerate(codes)
    )
    argv = [sys.executable, "-m", "blockyard.blocks.fanout", "3", *local_program(line)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (max(codes), "")
    if max(codes) == 0:
        assert sorted(result.stdout.split()) == ["0", "1", "2"]


def test_a_copy_that_fails_ends_those_that_would_go_on() -> None:
    argv = [sys.executable, "-m", "blockyard.blocks.fanout", "2"]
    line = '[ "$BLOCKYARD_NODE_INDEX" = 1 ] && exit 6; exec sleep 600'
    assert subprocess.run([*argv, *local_program(line)], timeout=60, check=False).returncode == 6


def test_what_ends_by_itself_within_the_grace_is_no_stray(owner: str) -> None:
    env = {**os.environ, "BLOCKYARD_BLOCK": "b-0", "BLOCKYARD_OWNER": owner}
    with subprocess.Popen(["/bin/sleep", "0.1"], env=env) as process:
        assert end_strays(owner, grace=PATIENCE) == []
        assert process.wait(PATIENCE) == 0
    with subprocess.Popen(["/bin/sleep", "600"], env=env) as process:
        assert [stray.pid for stray in end_strays(owner)] == [process.pid]
        assert process.wait(PATIENCE) == -signal.SIGKILL
