"""Programs that behave as badly as they can: no hang, no process left, the right record. Small sizes; larger by
BLOCKYARD_SIZE=full."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard.managed import BinaryExecutor, ManagedResult, Policy, TaskStatus
from blockyard.managed.sourcing import source
from tests import machine
from tests.integration.processes import wait_until
from tests.machine import ROOT

SMALL, FULL = 4, 100
"""MiB on each stream, and thousands of messages."""


def alive(mark: str) -> list[int]:
    """Processes that carry this mark in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
                state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"MARK={mark}".encode() in environment.split(b"\0") and state not in "ZX":
                found.append(int(name))
    return found


def wait_until_gone(mark: str) -> None:
    wait_until("none of its processes is left", lambda: alive(mark), lambda left: not left)


def run(code: str, mark: str, policy: Policy | None = None) -> ManagedResult:
    executor = BinaryExecutor("attack", [sys.executable, "-c", code], policy=policy or Policy())
    executor.update_environment({"MARK": mark})
    return executor.execute_task()


THREE_GENERATIONS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for generation in range(3):
    if os.fork():
        break
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if generation == 2:
    print("ready", flush=True)
time.sleep(1000)
"""


def test_three_generations_that_ignore_term_are_killed_after_the_grace() -> None:
    found = run(THREE_GENERATIONS, "generations", Policy(timeout=4.0, grace=0.3))  # until then all three ignore it
    assert (found.status, found.signal, found.reason) == (TaskStatus.TIMEDOUT, signal.SIGKILL, "Timeout")
    assert alive("generations") == []


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        time.sleep(1000)  # holds stdout, stderr and the channel open
    os._exit(0)
os.wait()
print("the main process is done")
"""


def test_a_daemon_that_holds_the_pipes_open_ends_with_the_task() -> None:
    found = run(DAEMON, "daemon", Policy(drain_seconds=3600.0))
    assert (found.status, found.stdout) == (TaskStatus.COMPLETED, "the main process is done\n")
    assert found.record.strays == 1
    assert alive("daemon") == []


@pytest.mark.soak
def test_much_output_on_both_streams_at_once(size: machine.Size) -> None:
    mebibytes = FULL if size is machine.Size.FULL else SMALL
    code = f"""
import os, threading
def write(fd, letter):
    block = letter * 65536
    for _ in range({mebibytes} * 16):
        left = block
        while left:
            left = left[os.write(fd, left):]
threads = [threading.Thread(target=write, args=one) for one in ((1, b"o"), (2, b"e"))]
[one.start() for one in threads]
[one.join() for one in threads]
"""
    found = run(code, "output")
    assert found.status is TaskStatus.COMPLETED
    assert (found.record.stdout_bytes, found.record.stderr_bytes) == (mebibytes << 20, mebibytes << 20)
    assert (set(found.stdout), set(found.stderr)) == ({"o"}, {"e"})
    assert len(found.stdout) <= 65536


@pytest.mark.soak
def test_tiny_messages_written_byte_by_byte(size: machine.Size) -> None:
    count = 1000 * (FULL if size is machine.Size.FULL else 1)
    code = f"""
import os
out = int(os.environ["BLOCKYARD_CHANNEL"][5:].split(",")[0])
for number in range({count}):
    for byte in b'{{"signal":"TASK_METRIC","contents":{{"name":"n","value":%d}}}}\\n' % number:
        os.write(out, bytes([byte]))
"""
    found = run(code, "tiny")
    assert (found.status, found.record.metrics) == (TaskStatus.COMPLETED, {"n": float(count - 1)})
    assert found.record.dropped_lines == 0


def test_a_flood_of_noise_on_the_channel_is_counted_and_runs_nothing() -> None:
    code = """
import os
out = int(os.environ["BLOCKYARD_CHANNEL"][5:].split(",")[0])
os.write(out, b"cos\\nsystem\\n(S'touch /tmp/pwned'\\ntR.\\n" + os.urandom(2000).replace(b"\\n", b"") + b"\\n")
os.write(out, b'{"signal":"TASK_DONE"}\\n')
"""
    found = run(code, "noise")
    assert found.status is TaskStatus.COMPLETED
    assert found.record.dropped_lines == 5


def test_a_closed_channel_and_closed_streams_end_nothing() -> None:
    code = "import os, time; os.closerange(0, 64); time.sleep(0.2); os._exit(7)"
    assert run(code, "closed").exit_code == 7


def test_a_task_dies_with_its_executor_however_that_went(tmp_path: Path) -> None:
    program = f"""
import sys
from blockyard.managed import BinaryExecutor
executor = BinaryExecutor("orphan", [sys.executable, "-c", {THREE_GENERATIONS!r}], folder={str(tmp_path)!r})
executor.update_environment({{"MARK": "orphan"}})
executor.execute_task()
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as process:
        stdout = tmp_path / "stdout"
        wait_until("it is ready", lambda: stdout.read_text() if stdout.exists() else "", bool)
        assert len(alive("orphan")) >= 3
        process.kill()
    wait_until_gone("orphan")


def test_values_with_newlines_functions_and_programs_are_only_values(tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(
        """
        echo 'PATH=/evil'; printf 'A=1\\0B=2\\0'; echo "__import__('os').system('touch pwned')"
        export LINES_OF=$'one\\ntwo\\nX=3' QUOTED="it's \\"q\\" \\$HOME" EMPTY= EQUALS=a=b=c
        greet() { echo "hello; rm -rf /"; }; export -f greet
        env() { echo evil; }; exec_() { :; }
        unset REMOVED
        plain=exported_by_set_a
        set -- changed arguments
        """
    )
    base = {"PATH": os.environ["PATH"], "REMOVED": "x", "KEPT": "y"}
    found = source(str(script), base)
    assert found.changed["LINES_OF"] == "one\ntwo\nX=3"
    assert found.changed["QUOTED"] == 'it\'s "q" $HOME'
    assert (found.changed["EMPTY"], found.changed["EQUALS"]) == ("", "a=b=c")
    assert found.changed["plain"] == "exported_by_set_a"
    assert found.removed == ("REMOVED",)
    assert not {"PATH", "A", "B", "X", "KEPT"} & found.changed.keys()
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("text, words", [
    ("exit 0", "ended early with exit code 0"),
    ("echo trouble >&2; false; return 3", "exit code 3: trouble"),
    ("set -e; false", "ended early with exit code 1"),
    ("kill -9 $$", "exit code -9"),
    ("if then", "syntax error"),
    ("sleep 100", "did not end within"),
])  # fmt: skip
def test_a_script_that_does_not_come_to_its_end_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(text)
    with pytest.raises(ConfigError, match=words):
        source(str(script), {"PATH": os.environ["PATH"]}, timeout=1.0 if "sleep" in text else 60.0)


def test_what_a_script_leaves_running_holds_nobody_up(tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text("sleep 1000 & export X=1")
    assert source(str(script), {"PATH": os.environ["PATH"], "MARK": "left"}, timeout=30.0).changed == {"X": "1"}
    wait_until_gone("left")


def test_what_a_script_makes_a_daemon_of_ends_with_it(tmp_path: Path) -> None:
    """What is kept of a script is the same for all tasks, and no process of it may be needed."""
    script = tmp_path / "setup.sh"
    script.write_text("setsid sleep 1000 & export X=1")
    source(str(script), {"PATH": os.environ["PATH"], "MARK": "daemon"})
    assert not alive("daemon")


def test_a_script_ends_with_its_executor_however_that_went(tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(f"touch {tmp_path}/begun; sleep 1000")
    code = f"from blockyard.managed.sourcing import source; source({str(script)!r}, {{'PATH': '{os.environ['PATH']}'}})"
    code = code.replace("{'PATH'", "{'MARK': 'sourced', 'PATH'")
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_until("the script has begun", (tmp_path / "begun").exists, bool)
        process.kill()
    wait_until_gone("sourced")
