"""The operator's line to a real interchange: pools announced, demand pushed, orders carried out, restarts outlived."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import PoolFailed
from blockyard.session import LinkSettings
from blockyard.transport import KeyPair
from blockyard.wire import keeping
from blockyard.workflow.checking.specs import check_spec
from blockyard.workflow.compiling import compile_again, compile_run
from blockyard_operator.interchange import Interchange
from blockyard_operator.news import News as Item
from tests.integration.processes import WITHIN
from tests.integration.questions import status_of
from tests.integration.serving.house import House, house

pytestmark = pytest.mark.timeout(180)

News = asyncio.Queue[Item]
Story = Callable[[Interchange, News, House], Awaitable[None]]


def tell(folder: Path, story: Story) -> None:
    """Play a story with an interchange that runs and a line to it."""

    async def play(served: House) -> None:
        news: News = asyncio.Queue()
        ring = served.ring
        settings = LinkSettings(served.clients, ring.interchange("clients").public, ring.issue("keeper-operator"))
        line = Interchange(settings, news.put_nowait)
        line.start()
        try:
            await story(line, news, served)
        finally:
            line.stop()

    with house(folder) as served:
        asyncio.run(play(served))


async def until(news: News, what: str, holds: Callable[[], bool]) -> None:
    """Wait for news after which something holds."""
    try:
        async with asyncio.timeout(WITHIN):
            while not holds():
                await news.get()
    except TimeoutError:
        raise AssertionError(f"not within {WITHIN:g} s: {what}") from None


def test_a_pools_demand_is_pushed_as_it_changes(tmp_path: Path) -> None:
    async def story(line: Interchange, news: News, served: House) -> None:
        served.start().wait_ready()
        keys = KeyPair.new()
        line.announce(keeping.SetPool("ns.cpu", [keys.public], workers=2))
        await until(news, "the pool is known", lambda: line.is_announced("ns.cpu"))
        await until(news, "it is empty", lambda: queued(line) == 0)
        client = await asyncio.to_thread(served.client)
        future = client.options(pool="ns.cpu").submit(abs, -3)
        await until(news, "a task waits", lambda: queued(line) == 1)
        served.manager("ns.cpu", keys)
        assert await asyncio.wrap_future(future) == 3
        await until(news, "the block is idle", lambda: idle(line) == 1)
        view = line.view("ns.cpu")
        assert view is not None
        (name,) = view.loads
        line.drain("ns.cpu", name, 5.0)
        await until(news, "its manager has left", lambda: idle(line) == 0)
        line.forget("ns.cpu")
        assert line.view("ns.cpu") is None

    tell(tmp_path, story)


def test_the_futures_of_a_pool_that_is_given_up_say_why(tmp_path: Path) -> None:
    async def story(line: Interchange, news: News, served: House) -> None:
        served.start().wait_ready()
        line.announce(keeping.SetPool("ns.cpu", [KeyPair.new().public]))
        await until(news, "the pool is known", lambda: line.is_announced("ns.cpu"))
        client = await asyncio.to_thread(served.client)
        future = client.options(pool="ns.cpu").submit(abs, -3)
        await until(news, "a task waits", lambda: queued(line) == 1)
        line.fail_tasks("ns.cpu", "mend the image")
        with pytest.raises(PoolFailed, match=r"pool ns\.cpu was given up: mend the image"):
            await asyncio.to_thread(future.result, WITHIN)

    tell(tmp_path, story)


def test_an_interchange_that_was_killed_is_silent_and_then_told_again(tmp_path: Path) -> None:
    async def story(line: Interchange, news: News, served: House) -> None:
        first = served.start()
        first.wait_ready()
        line.announce(keeping.SetPool("ns.cpu", [KeyPair.new().public]))
        await until(news, "the pool is known", lambda: queued(line) == 0)
        first.end(signal.SIGKILL)
        await until(news, "it is silent", lambda: not line.connected)
        assert line.view("ns.cpu") is None, "what a dead interchange said is no reason to start or end blocks"
        served.start(folder=str(other(served))).wait_ready()  # another journal: this one never heard of the pool
        await until(news, "the pool is there again", lambda: queued(line) == 0)

    tell(tmp_path, story)


def test_a_line_that_is_there_first_waits_for_its_interchange(tmp_path: Path) -> None:
    async def story(line: Interchange, news: News, served: House) -> None:
        assert not line.connected
        line.announce(keeping.SetPool("ns.cpu", [KeyPair.new().public]))
        served.start().wait_ready()
        await until(news, "the pool is known", lambda: line.connected and queued(line) == 0)

    tell(tmp_path, story)


def test_pools_that_nobody_wants_any_more_are_swept_away(tmp_path: Path) -> None:
    async def story(line: Interchange, news: News, served: House) -> None:
        served.start().wait_ready()
        for name in ("ns.kept", "ns.stray"):
            line.announce(keeping.SetPool(name, [KeyPair.new().public]))
            await until(news, f"{name} is known", lambda name=name: line.is_announced(name))  # type: ignore[misc]
        del line._pools["ns.stray"]  # as after a restart of the operator, when the WorkerPool was deleted meanwhile
        line.sweep(lambda queue: queue.startswith("ns."))
        client = await asyncio.to_thread(served.client)
        await until_unknown(client, "ns.stray")
        assert (await asyncio.to_thread(defined, client)) == {"ns.kept"}

    tell(tmp_path, story)


def test_what_has_failed_of_a_run_is_run_again_and_what_has_succeeded_is_not(tmp_path: Path) -> None:
    once = f"def main():\n    open({str(tmp_path / 'once')!r}, 'a').write('x')\n"
    broken = f"def main():\n    open({str(tmp_path / 'mended')!r}).close()\n"
    steps = [{"name": "once", "source": once}, {"name": "broken", "source": broken, "needs": ["once"]}]
    spec, faults = check_spec({"pool": "ns.cpu", "steps": steps})
    assert spec is not None, faults
    about, again = ("ns", "flow"), partial(compile_again, spec)

    async def story(line: Interchange, news: News, served: House) -> None:
        served.start().wait_ready()
        keys = KeyPair.new()
        line.announce(keeping.SetPool("ns.cpu", [keys.public], workers=1))
        await until(news, "the pool is known", lambda: line.is_announced("ns.cpu"))
        served.manager("ns.cpu", keys)
        line.runs.start(compile_run(spec, "flow"), about)
        await until_phase(line, news, "Failed")
        (tmp_path / "mended").touch()
        line.runs.retry("flow", again, 2, about)
        line.runs.retry("flow", again, 2, about)  # said twice, as what decides does when it hears nothing
        await until_phase(line, news, "Succeeded")
        view = line.runs.view("flow")
        assert view is not None
        assert (view.attempt, (tmp_path / "once").read_text()) == (2, "x")

    async def until_phase(line: Interchange, news: News, phase: str) -> None:
        def phase_of() -> str:
            view = line.runs.view("flow")
            return view.line.phase if view is not None and view.line is not None else ""

        async with asyncio.timeout(WITHIN):
            while phase_of() != phase:
                line.runs.ask("flow", about)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.get(), 0.2)

    tell(tmp_path, story)


async def until_unknown(client: Client, pool: str) -> None:
    async with asyncio.timeout(WITHIN):
        while pool in await asyncio.to_thread(defined, client):
            await asyncio.sleep(0.05)


def defined(client: Client) -> set[str]:
    return {one.pool for one in status_of(client).pools if one.defined}


def queued(line: Interchange) -> float:
    view = line.view("ns.cpu")
    return -1 if view is None else view.demand.queued_slots


def idle(line: Interchange) -> int:
    view = line.view("ns.cpu")
    return -1 if view is None else sum(load.idle_since is not None for load in view.loads.values())


def other(served: House) -> Path:
    folder = served.folder / "other"
    folder.mkdir()
    return folder
