"""How a client ends without having been told to: collected as garbage, at the interpreter's exit, in a fork. And what
it stands: many threads at once, cancellation in both directions. The standard library's executors are the measure."""

import asyncio
import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from blockyard import Client, lifetime
from blockyard.errors import BrokenBlockyard
from blockyard.futures import TaskFuture
from tests.integration.processes import WITHIN, House, wait_for_exit, wait_until
from tests.integration.questions import engine_of, pool_status, status_of
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    """Two workers."""
    with Client.local(workers=2, folder=house.folder) as client:
        yield client


def _run(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_client_nobody_refers_to_ends_with_its_last_task(house: House) -> None:
    client = Client.local(workers=2, folder=house.folder)
    futures = client.submit_many(time.sleep, [0.1] * 10)
    del client
    gc.collect()
    assert [future.result(WITHIN) for future in futures] == [None] * 10
    house.wait_until_empty()


def test_a_view_with_options_ends_its_client_as_the_client_itself_does(house: House) -> None:
    with Client.local(workers=1, folder=house.folder).options(retries=1) as view:
        assert view.submit(abs, -1).result(WITHIN) == 1
    assert not house.everything()
    view = Client.local(workers=1, folder=house.folder).options(retries=1)
    hour = view.submit(time.sleep, 3600)
    view.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert hour.cancelled(), "nothing is waited for after Ctrl-C"
    assert not house.everything()


def test_a_view_with_options_keeps_its_client(house: House) -> None:
    view = Client.local(workers=1, folder=house.folder).options(retries=1)
    gc.collect()
    assert view.submit(abs, -1).result(WITHIN) == 1
    del view
    gc.collect()
    house.wait_until_empty()


EXIT = """
import sys, time
from blockyard import Client

def work(path, number):
    time.sleep(0.05)
    with open(path, "a") as file:
        file.write(f"{number}\\n")

client = Client.local(workers=2, folder=sys.argv[2])
futures = [client.submit(work, sys.argv[1], number) for number in range(20)]
futures[-1].add_done_callback(lambda future: open(sys.argv[1], "a").write("told\\n"))
if sys.argv[3] == "raise":
    raise SystemExit(7)
if sys.argv[3] == "forget":
    del client
"""


@pytest.mark.parametrize("how, code", [("return", 0), ("raise", 7), ("forget", 0)])
def test_what_is_pending_is_finished_before_the_interpreter_exits(
    house: House, tmp_path: Path, how: str, code: int
) -> None:
    done = tmp_path / "done"
    ended = _run(EXIT, done, house.folder, how)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert sorted(done.read_text().split()) == sorted([*map(str, range(20)), "told"])
    house.wait_until_empty()


CONNECTED_EXIT = """
import sys, time
from pathlib import Path
from blockyard import Client

def work(path):
    time.sleep(0.3)
    Path(path).touch()

Client.connect(sys.argv[2], run=sys.argv[3]).submit(work, sys.argv[1])
"""


@pytest.mark.parametrize("run", ["", "named"])
def test_tasks_of_a_connected_client_outlive_its_process_or_are_waited_for(
    client: Client, tmp_path: Path, run: str
) -> None:
    ended = _run(CONNECTED_EXIT, tmp_path / "done", client.folder, run)
    assert (ended.returncode, ended.stderr) == (0, "")
    if not run:
        assert (tmp_path / "done").exists()
    wait_until("the task ran", (tmp_path / "done").exists, bool)


INTERRUPTED = """
import signal, sys, time
from blockyard import Client

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started by

def endless(path):
    open(path, "w").close()
    time.sleep(3600)

paths = [f"{sys.argv[1]}-{number}" for number in range(10)]

def work(client):
    futures = client.submit_many(endless, paths)
    for future in client.as_completed(futures):
        print(future.result())

if sys.argv[2] == "threads":
    client = Client.threads(2)
else:
    client = Client.local(workers=2, folder=sys.argv[3], run=sys.argv[4])
if sys.argv[5] == "with":
    with client:
        work(client)
elif sys.argv[5] == "coroutine":
    import asyncio
    async def main():
        with client:
            await asyncio.gather(*(client.asyncio.submit(endless, path) for path in paths))
    asyncio.run(main())
else:
    work(client)
"""


@pytest.mark.parametrize("kind", ["local", "threads"])
@pytest.mark.parametrize("how", ["with", "without", "coroutine"])
def test_ctrl_c_waits_for_no_task(house: House, tmp_path: Path, kind: str, how: str) -> None:
    said = _interrupt(tmp_path / "begun", kind, house.folder, "", how)
    assert "KeyboardInterrupt" in said.splitlines()[-1]
    house.wait_until_empty()


def test_ctrl_c_keeps_the_tasks_of_a_named_run(house: House, tmp_path: Path) -> None:
    _interrupt(tmp_path / "begun", "local", house.folder, "kept", "with")
    with Client.local(workers=2, folder=house.folder, run="kept") as client:
        left = client.reattach()
        assert len(left) == 10
        assert all(future.cancel() for future in left)


def _interrupt(begun: Path, *arguments: object) -> str:
    """Send SIGINT to such a program and all of its processes, as a terminal does, when two tasks run."""
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *map(str, (begun, *arguments))],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until("two tasks run", lambda: len(list(begun.parent.glob(f"{begun.name}-*"))), lambda count: count == 2)
        os.killpg(program.pid, signal.SIGINT)
        return program.communicate(timeout=WITHIN)[1]
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.communicate()


KEEPER = """
import sys, time
from blockyard import Client
client = Client.local(workers=1, folder=sys.argv[1])
sys.stdout.write("1\\n")
sys.stdout.flush()
time.sleep(3600)
"""


def test_an_exit_does_not_wait_for_an_interchange_that_is_gone(house: House, tmp_path: Path) -> None:
    script = CONNECTED_EXIT.replace("time.sleep(0.3)", "time.sleep(3600)") + (
        "import os, signal\nos.kill(int(sys.argv[4]), signal.SIGKILL)\n"
    )
    keeper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            KEEPER,
            house.folder,
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"1\n"
        assert _run(script, tmp_path / "done", house.folder, "", keeper.pid).returncode == 0
    finally:
        keeper.kill()
        keeper.wait()
        if keeper.stdout is not None:
            keeper.stdout.close()


def test_a_forked_child_is_told_what_is_wrong_and_the_parent_goes_on(client: Client, house: House) -> None:
    pending = client.submit(time.sleep, 0.5)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.write(write, _what_a_child_sees(client, pending).encode())
        os._exit(0)
    try:
        os.close(write)
        with os.fdopen(read) as pipe:
            told = pipe.read()
        wait_for_exit(child)
    finally:
        os.waitpid(child, 0)
    assert told.splitlines() == ["BrokenBlockyard is a fork"] * 10 + ["traceback as short as at first"]
    assert pending.result(WITHIN) is None
    assert client.submit(abs, -1).result(WITHIN) == 1
    assert len(house.interchanges()) == 1


def _what_a_child_sees(client: Client, pending: TaskFuture[None]) -> str:
    told = []
    attempts: list[Callable[[], object]] = [
        lambda: client.submit(abs, -1),
        lambda: client.submit_many(abs, [-1]),
        lambda: pending.result(WITHIN),
        pending.explain,
        pending.output,
        pending.cancel,
        client.reattach,
        client.pool,
        lambda: client.put(b"x"),
        lambda: list(client.map(abs, [-1])),
    ]
    for attempt in attempts:
        try:
            told.append(f"no error, but {attempt()}")
        except BrokenBlockyard as error:
            told.append("BrokenBlockyard " + ("is a fork" if "is a fork" in str(error) else str(error)))
    lengths = []
    for _ in range(3):
        try:
            client.submit(abs, -1)
        except BrokenBlockyard as error:
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
    told.append("traceback as short as at first" if len(set(lengths)) == 1 else f"tracebacks: {lengths}")
    client.shutdown()
    gc.collect()
    return "\n".join(told)


def test_a_forked_child_that_exits_in_order_stops_nothing(client: Client, house: House) -> None:
    wait_until("interchange, manager, template and two workers run", house.everything, lambda found: len(found) == 5)
    before = {one.pid for one in house.everything()}
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            lifetime._at_exit()
            client.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)
    assert client.submit(abs, -1).result(WITHIN) == 1
    assert {one.pid for one in house.everything()} == before


def test_a_client_that_was_shut_down_is_asked_in_vain_and_says_so_at_once(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        ended = client.submit(abs, -1)
    questions: list[Callable[[], object]] = [client.reattach, ended.output, ended.stop]
    for question in questions:
        with pytest.raises(BrokenBlockyard, match=r"was shut down.*open a new one"):
            question()
    assert ended.explain().endswith("is done.")


def test_a_callback_that_would_wait_for_ever_is_told_so_and_may_submit(client: Client) -> None:
    heard: list[object] = []
    told = threading.Event()
    more: list[TaskFuture[int]] = []

    def react(_: Future[int]) -> None:
        more.append(client.submit(pow, 2, 10))
        for attempt in (more[0].result, more[0].explain, client.reattach, lambda: list(client.as_completed(more))):
            try:
                heard.append(attempt())
            except RuntimeError as error:
                heard.append(str(error))
        told.set()

    client.submit(abs, -1).add_done_callback(react)
    assert told.wait(WITHIN), f"heard so far: {heard}"
    assert [("wait in a thread of your own" in str(one)) for one in heard] == [True] * 4, heard
    assert more[0].result(WITHIN) == 1024


def test_many_threads_may_submit_at_once(client: Client) -> None:
    found: dict[int, list[int]] = {}

    def submit(number: int) -> None:
        if number % 2:
            futures = [client.submit(pow, number, 2) for _ in range(100)]
        else:
            futures = client.starmap(pow, [(number, 2)] * 100)
        found[number] = [future.result(WITHIN) for future in futures]

    threads = [threading.Thread(target=submit, args=(number,), daemon=True) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN)
    assert found == {number: [number**2] * 100 for number in range(20)}
    wait_until("all are freed", lambda: status_of(client).tasks, lambda left: left == 0)


def _touch_and_wait(path: str) -> None:
    Path(path).touch()
    time.sleep(3600)


def test_cancelling_a_coroutine_cancels_its_task(client: Client, tmp_path: Path) -> None:
    started = tmp_path / "started"

    async def main() -> None:
        task = asyncio.create_task(client.asyncio.submit(_touch_and_wait, str(started)))
        while not started.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), WITHIN))
    wait_until("the worker's task was ended", lambda: pool_status(client), lambda pool: pool.cancelled == 1)
    assert [future.result(WITHIN) for future in client.submit_many(abs, range(-4, 0))] == [4, 3, 2, 1]


def test_cancelling_a_task_cancels_the_coroutine_that_awaits_it(client: Client, tmp_path: Path) -> None:
    started = tmp_path / "started"

    async def main() -> None:
        future = client.submit(_touch_and_wait, str(started))
        waiting = asyncio.ensure_future(asyncio.wrap_future(future))
        while not started.exists():
            await asyncio.sleep(0.01)
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(asyncio.wait_for(main(), WITHIN))
    wait_until("the worker's task was ended", lambda: pool_status(client), lambda pool: pool.cancelled == 1)


def test_a_future_says_how_it_ended(client: Client) -> None:
    fails = client.submit(divmod, 1, 0)
    assert isinstance(fails.exception(WITHIN), ZeroDivisionError)
    assert "failed: ZeroDivisionError" in fails.explain()
    done = client.submit(abs, -1)
    done.result(WITHIN)
    assert done.explain().endswith("is done.")
    cancelled = client.submit(time.sleep, 3600)
    assert re.search(r"free worker|running|to run next", cancelled.explain()), cancelled.explain()
    cancelled.cancel()
    assert cancelled.explain().endswith("was cancelled.")
    assert client.folder is not None
    with Client.connect(client.folder, run="kept") as keeper:
        kept = keeper.submit(divmod, 1, 0)
        wait_until("it has ended", kept.done, bool)
        assert "ended as RAISED: ZeroDivisionError" in kept.explain()
        assert engine_of(keeper)._unfinished.uncollected() == [kept.task], "that was no look at its outcome"
