"""`blockyard local` with real processes: a system outlives its clients, and resumes after a kill."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path

import msgspec
import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard
from tests.integration.cli.conftest import User
from tests.integration.processes import kill, look_at, stop, wait_for_exit, wait_until
from tests.ports import free_port


def count_up(path: str) -> int:
    with open(path, "a") as file:
        file.write("x\n")
    return sum(1 for _ in open(path))


def wait_for(path: str, value: int) -> int:
    while not os.path.exists(path):
        time.sleep(0.02)
    return value


def leave_a_daemon_behind(path: str) -> int:
    """Something that no death signal reaches: a program in a session of its own whose parent is gone."""
    program = (
        f"import os, time; os.fork() and os._exit(0); open({path!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    subprocess.Popen(["/usr/bin/env", "python3", "-c", program], start_new_session=True)
    while not (os.path.exists(path) and Path(path).read_text()):
        time.sleep(0.02)
    return int(Path(path).read_text())


def test_a_system_outlives_the_command_and_its_clients(user: User) -> None:
    shown = user.types("local", "up", "--workers", "2")
    assert 'Client.connect("local")' in shown
    pid = user.supervisor()
    assert f"process {pid}" in shown
    with Client.connect("local") as client:
        assert client.submit(pow, 2, 10).result(60) == 1024
    with Client.connect() as client:
        assert client.submit(pow, 2, 11).result(60) == 2048
    status = user.asks("status")
    assert [(pool["pool"], pool["workers"], pool["done"]) for pool in status["pools"]] == [("default", 2, 2)]


def test_the_supervisor_is_a_proper_daemon(user: User) -> None:
    user.types("local", "up", "--workers", "1")
    pid = user.supervisor()
    assert os.getsid(pid) not in (os.getsid(0), pid), "it must lead no session, and be in none of ours"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    log = user.systems() / "local" / "supervisor.log"
    assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2") == str(log)
    assert log.stat().st_mode & 0o777 == 0o600
    assert (user.systems() / "local").stat().st_mode & 0o777 == 0o700


def test_down_ends_all_processes_and_keeps_the_tasks(user: User, tmp_path: Path) -> None:
    user.types("local", "up", "--workers", "1")
    pid, gate = user.supervisor(), tmp_path / "gate"
    with Client.connect(run="kept") as client:
        client.submit(wait_for, str(gate), 7)
        wait_until(
            "the task runs", lambda: user.asks("tasks", "--state", "assigned")["total"], lambda total: total == 1
        )
        assert "has ended" in user.types("local", "down")
        wait_for_exit(pid)
        user.house().wait_until_empty()
        (line,) = user.asks("local", "status")
        assert (line["name"], line["state"], line["pid"]) == ("local", "stopped", 0)
        assert "no interchange is running" in user.types("status", code=3)
        gate.touch()
        assert "1 tasks came back from the journal" in user.types("local", "up")
        with Client.connect(run="kept", take_over=True) as heir:
            assert [future.result(60) for future in heir.reattach()] == [7]


def test_a_system_with_monitoring_keeps_its_history_beside_its_journal(user: User) -> None:
    assert "blockyard dashboard" in user.types("local", "up", "--workers", "1", "--monitoring")
    history = user.systems() / "local" / "monitoring.db"
    with Client.connect(run="told") as client:
        assert client.submit(pow, 2, 10).result(60) == 1024

        def tries() -> int:
            ask = "SELECT count(*) FROM tries WHERE state = 0"
            # The hub has yet to make the tables.
            with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(history)) as found:
                return int(found.execute(ask).fetchone()[0])
            return 0

        wait_until("its try is in the history", tries, lambda count: count == 1)
        assert client.run.name == "told"
    user.types("local", "down")
    asked = msgspec.json.decode((user.systems() / "local" / "system.json").read_bytes())
    assert asked["monitoring"] == "on", "what is not given the next time is as it was"


def test_a_second_up_is_refused_and_names_the_first(user: User) -> None:
    user.types("local", "up", "--workers", "1")
    told = user.types("local", "up", code=5)
    assert f"supervised by process {user.supervisor()}" in told
    assert "'blockyard local down --name local'" in told
    assert f"supervised by process {user.supervisor()}" in user.types("local", "up", "--foreground", code=5)


def test_of_two_at_once_one_wins_and_the_other_names_it(user: User) -> None:
    both = [user.starts("local", "up", "--workers", "1") for _ in range(2)]
    ended = [(process.communicate(timeout=90), process.returncode) for process in both]
    assert sorted(code for _, code in ended) == [0, 5], ended
    (refused,) = [words[1] for words, code in ended if code == 5]
    assert f"supervised by process {user.supervisor()}" in refused


def test_after_a_kill_of_the_supervisor_its_children_end_and_the_next_up_resumes(user: User, tmp_path: Path) -> None:
    user.types("local", "up", "--workers", "2")
    pid, gate, count = user.supervisor(), str(tmp_path / "gate"), str(tmp_path / "count")
    client = Client.connect(run="sweep-7")
    done = client.submit(count_up, count)
    assert done.result(60) == 1
    waiting = [client.submit(wait_for, gate, value) for value in range(5)]
    wait_until("they are recorded", lambda: user.asks("tasks", "--run", "sweep-7")["total"], lambda total: total >= 5)
    supervisor = look_at(pid)
    assert supervisor is not None
    kill(supervisor)
    wait_for_exit(pid)
    user.house().wait_until_empty()
    assert user.asks("local", "status")[0]["state"] == "crashed"
    Path(gate).touch()
    shown = user.types("local", "up")
    assert "its last supervisor was killed; the journal is resumed" in shown
    assert user.supervisor() != pid
    assert [future.result(60) for future in waiting] == [0, 1, 2, 3, 4]
    assert user.asks("status")["pools"][0]["workers"] == 2, "what is not given is as it was"
    assert Path(count).read_text() == "x\n", "what was recorded is not run again"
    client.shutdown()


def test_what_escaped_from_a_killed_system_is_ended_and_named_by_the_next_up(user: User, tmp_path: Path) -> None:
    user.types("local", "up", "--workers", "1")
    with Client.connect() as client:
        escaped = client.submit(leave_a_daemon_behind, str(tmp_path / "pid")).result(60)
        supervisor = look_at(user.supervisor())
        assert supervisor is not None
        stop(supervisor)  # else it ends strays of a block that dies, as it should
        for process in user.house().everything():
            if process.pid != escaped:
                kill(process)
        kill(supervisor)
        wait_for_exit(supervisor.pid)
        assert look_at(escaped) is not None, "it must have escaped, or this test shows nothing"
        shown = user.types("local", "up")
        assert f"ended what that had left running: {escaped} of block " in shown
        assert look_at(escaped) is None


def test_a_killed_interchange_comes_back_under_the_same_supervisor(user: User) -> None:
    user.types("local", "up", "--workers", "1")
    with Client.connect() as client:
        client.submit(pow, 2, 3).result(60)
        (interchange,) = user.house().interchanges()
        kill(interchange)
        assert client.submit(pow, 2, 4).result(60) == 16
    status = user.asks("status")
    assert status["opening"] == 2
    assert status["pools"][0]["done"] == 2
    (block,) = user.asks("blocks")
    assert (block["state"], block["workers"]) == ("RUNNING", 1)


def test_systems_of_several_names_live_side_by_side(user: User) -> None:
    user.types("local", "up", "--name", "one", "--workers", "1")
    user.types("local", "up", "--name", "two", "--pool", "cpu=1", "--pool", "gpu=workers=1,max_blocks=2")
    assert [line["state"] for line in user.asks("local", "status")] == ["running", "running"]
    assert [pool["pool"] for pool in user.asks("-p", "two", "status")["pools"]] == ["cpu", "gpu"]
    with Client.connect("two") as client:
        assert client.options(pool="gpu").submit(pow, 3, 3).result(60) == 27
    user.types("local", "down", "--name", "two", "--remove")
    assert [line["name"] for line in user.asks("local", "status")] == ["one"]
    assert not (user.systems() / "two").exists()


def test_workers_import_modules_from_where_up_was_typed(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (user.here / "my_project.py").write_text("def double(x):\n    return 2 * x\n")
    user.types("local", "up", "--workers", "1")
    monkeypatch.syspath_prepend(str(user.here))
    import my_project  # type: ignore[import-not-found]  # written above

    with Client.connect() as client:
        assert client.submit(my_project.double, 21).result(60) == 42


def test_metrics_are_served_where_it_was_said_and_again_by_the_next_up(user: User) -> None:
    address = f"127.0.0.1:{free_port()}"
    user.types("local", "up", "--workers", "1", BLOCKYARD_LOCAL_METRICS=address)
    with Client.connect() as client:
        client.submit(pow, 2, 3).result(60)
    for up in ("no more words", "another up"):
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
            assert 'blockyard_tasks_ended_total{outcome="done",pool="default"} 1.0' in answer.read().decode(), up
        user.types("local", "down")
        user.types("local", "up")


def test_a_system_that_cannot_come_up_says_why(user: User) -> None:
    shown = user.types("local", "up", "--journal", "postgresql://nobody@127.0.0.1:1/none", code=1)
    assert "did not come up" in shown
    assert "postgresql" in shown
    assert shown.count("Connection refused") == 1, "the interchange's own words, not a limit of time"
    again = user.types("local", "up", "--journal", "postgresql://nobody@127.0.0.1:1/none", code=1)
    assert again.count("Connection refused") == 1, "its words of this time alone"
    assert user.asks("local", "status")[0]["state"] == "stopped"


def test_only_what_came_up_is_kept_for_the_next_time(user: User) -> None:
    user.types("local", "up", "--workers", "2")
    user.types("local", "down")
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    assert "Connection refused" in user.types("local", "up", "--workers", "1", "--journal", nowhere, code=1)
    user.types("local", "up")
    assert user.asks("status")["pools"][0]["workers"] == 2


def test_a_journal_that_cannot_be_is_refused_and_not_kept(user: User) -> None:
    assert "local.journal" in user.types("local", "up", "--journal", "mysql://here/x", code=2)
    assert user.asks("local", "status") == []
    user.types("local", "up", "--workers", "1")
    assert user.types("journal", "export", "-o", "json").count("\n") == user.asks("journal", "check")["entries"]
    assert "there is no such file" in user.types("journal", "check", "sqlite:///nowhere/journal.db", code=4)
    assert "there is no such file" in user.types("journal", "check", "/nowhere/journal.db", code=4)


def test_the_foreground_ends_with_ctrl_c(user: User) -> None:
    process = user.starts("local", "up", "--workers", "1", "--foreground")
    try:
        wait_until(
            "it is up", lambda: user.asks("local", "status"), lambda found: found and found[0]["state"] == "running"
        )
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()
    assert user.asks("local", "status")[0]["state"] == "stopped"


def test_an_interchange_that_is_not_there_is_said_at_once(user: User) -> None:
    user.types("local", "up", "--workers", "1")
    user.types("local", "down")
    with pytest.raises(BrokenBlockyard, match="blockyard local up --name local"):
        Client.connect("local")


def test_the_settings_file_of_a_system_is_for_its_owner_alone(user: User) -> None:
    user.types("local", "up", "--workers", "2")
    folder = user.systems() / "local"
    assert msgspec.json.decode((folder / "system.json").read_bytes())["pools"]["default"]["workers_per_node"] == 2
    for path in folder.rglob("*"):
        mode = path.stat().st_mode & 0o077
        assert mode == 0 or path.is_socket(), f"{path}: {mode:o}"
