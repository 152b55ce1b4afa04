"""The ssh channel against Debian's sshd: who is let in, what a cut link means, and that nothing runs on unseen."""

import os
import secrets
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockyard.blocks.faults import ChannelError
from blockyard.blocks.provider import BlockRequest, LocalProvider
from blockyard.blocks.ssh_channel import SSHChannel
from blockyard.blocks.states import JobState, JobStatus
from blockyard.blocks.suites import local_program
from blockyard.blocks.watched import PATIENCE, watched
from blockyard.ids import BlockId
from tests.contract.blocks.sshd import SSHServer, running_server

pytestmark = pytest.mark.needs_sshd

MakeProvider = Callable[[SSHChannel], LocalProvider]


@pytest.fixture
def over(tmp_path: Path) -> MakeProvider:
    """Makes a provider over a channel."""
    return lambda channel: LocalProvider(
        owner=f"test-{secrets.token_hex(4)}", log_dir=tmp_path / "logs", channel=channel, label="ssh"
    )


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[SSHServer]:
    """A server whose connections a test may cut."""
    with running_server(tmp_path) as server:
        yield server


def request_for(line: str) -> BlockRequest:
    return BlockRequest(block=BlockId("b-0"), argv=local_program(line))


def wait_for_exit(pid: int) -> bool:
    """Wait until a process, not a child of ours, has ended; False when it has not in time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    ended = bool(poller.poll(PATIENCE * 1000))
    os.close(pidfd)
    return ended


def first_end(provider: LocalProvider, request: BlockRequest) -> JobStatus:
    with watched(provider) as seen:
        return seen.end_of(provider.submit(request))


def test_an_unknown_host_key_is_refused_before_anything_is_said(ssh_server: SSHServer, over: MakeProvider) -> None:
    end = first_end(over(ssh_server.channel(host_key="stranger")), request_for("exit 0"))
    assert (end.state, end.reason) == (JobState.FAILED, "HostKeyRejected"), f"{end}"
    assert end.started_at is None


def test_a_stranger_is_not_let_in(ssh_server: SSHServer, over: MakeProvider) -> None:
    end = first_end(over(ssh_server.channel(identity="stranger")), request_for("exit 0"))
    assert (end.state, end.reason) == (JobState.FAILED, "AccessDenied"), f"{end}"


def test_a_server_that_is_not_there_fails_the_block(tmp_path: Path, over: MakeProvider) -> None:
    with running_server(tmp_path) as server:
        channel = server.channel()
    end = first_end(over(channel), request_for("exit 0"))
    assert (end.state, end.reason) == (JobState.FAILED, "ConnectionRefused"), f"{end}"


def test_a_dropped_link_is_missing_and_the_program_ends_by_itself(own_server: SSHServer, over: MakeProvider) -> None:
    provider = over(own_server.channel())
    with watched(provider) as seen:
        job = provider.submit(request_for("sleep 600"))
        running = seen.state_of(job, JobState.RUNNING)
        (session,) = own_server.sessions()
        os.kill(session, signal.SIGKILL)
        end = seen.end_of(job)
        assert (end.state, end.reason) == (JobState.MISSING, "LinkLost"), f"{end}"
        assert end.exit_code is None
        assert wait_for_exit(int(running.message.removeprefix("process ")))


def test_an_exit_code_like_that_of_ssh_itself_is_not_mistaken_for_a_lost_link(
    ssh_server: SSHServer, over: MakeProvider
) -> None:
    end = first_end(over(ssh_server.channel()), request_for("exit 255"))
    assert (end.state, end.exit_code) == (JobState.FAILED, 255)


def test_what_outlives_the_program_is_ended_over_there(
    ssh_server: SSHServer, over: MakeProvider, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    line = f"setsid sh -c 'echo $$ > {fifo}; exec sleep 600' & read pid < {fifo}; echo $pid"
    end = first_end(over(ssh_server.channel()), request_for(line))
    assert end.state is JobState.COMPLETED
    assert "ended 1 of its processes" in end.message
    assert wait_for_exit(int(end.log_tail))


def test_the_environment_is_on_no_command_line(ssh_server: SSHServer, over: MakeProvider, tmp_path: Path) -> None:
    secret = secrets.token_hex(16)
    seen = tmp_path / "seen"
    line = f"printenv SECRET; cat /proc/[0-9]*/cmdline > {seen} 2>/dev/null; exit 0"
    request = BlockRequest(block=BlockId("b-0"), argv=local_program(line), env={"SECRET": secret})
    end = first_end(over(ssh_server.channel()), request)
    assert (end.state, end.log_tail.strip()) == (JobState.COMPLETED, secret)
    assert str(seen).encode() in seen.read_bytes(), "the words of the program itself are there to be seen"
    assert secret.encode() not in seen.read_bytes()


@pytest.mark.parametrize(
    "field, value", [("host", "-oProxyCommand=touch x"), ("host", "a b"), ("user", "me@there"), ("port", 0)]
)
def test_what_cannot_be_a_host_or_user_is_refused(tmp_path: Path, field: str, value: str | int) -> None:
    file = tmp_path / "file"
    file.touch()
    values = {"host": "localhost", "identity_file": file, "known_hosts": file, field: value}
    with pytest.raises(ChannelError, match=f"^{field}="):
        SSHChannel(**values)  # type: ignore[arg-type]  # the fields are drawn


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match=r"identity_file=.*is no file"):
        SSHChannel("localhost", identity_file=tmp_path / "nonesuch", known_hosts=tmp_path)
