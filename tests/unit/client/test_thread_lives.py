"""Threads are started when there is work, and end with their engine, their initializer, or their process."""

import gc
import os
import threading
import weakref

import pytest

from blockyard.errors import BrokenBlockyard, ConfigError
from blockyard.threads import ThreadEngine
from tests.unit.client.thread_engines import LONG, Busy, submit


def names_of_threads(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_threads_are_started_when_needed_and_end_with_the_engine() -> None:
    engine = ThreadEngine(3, thread_name_prefix="counted")
    assert names_of_threads("counted") == []
    submit(engine, abs, 1).result(LONG)
    assert names_of_threads("counted") == ["counted-0"]
    submit(engine, abs, 1, timeout=100.0).result(LONG)
    engine.shutdown()
    assert names_of_threads("counted") == []


def test_an_engine_that_was_dropped_ends_its_threads() -> None:
    engine = ThreadEngine(2, thread_name_prefix="dropped")
    future = submit(engine, threading.current_thread)
    thread = future.result(LONG)
    gone = weakref.ref(engine)
    del engine, future
    gc.collect()
    assert gone() is None
    thread.join(LONG)
    assert not thread.is_alive()


def test_the_initializer_runs_once_in_each_thread() -> None:
    seen: list[tuple[str, int]] = []
    engine = ThreadEngine(
        2, initializer=lambda value: seen.append((threading.current_thread().name, value)), initargs=(7,)
    )
    together = threading.Barrier(2, timeout=LONG)
    for _ in range(3):
        for future in [submit(engine, together.wait) for _ in range(2)]:
            future.result(LONG)
    engine.shutdown()
    assert sorted(seen) == [("blockyard-0", 7), ("blockyard-1", 7)]


def test_an_initializer_that_raises_breaks_the_engine() -> None:
    go = threading.Event()

    def fail() -> None:
        assert go.wait(LONG)
        raise OSError("no device")

    engine = ThreadEngine(1, initializer=fail)
    futures = [submit(engine, abs, number) for number in range(3)]
    go.set()
    for future in futures:
        with pytest.raises(BrokenBlockyard, match="the initializer of a thread raised OSError: no device"):
            future.result(LONG)
    with pytest.raises(BrokenBlockyard):
        submit(engine, abs, 1)
    engine.shutdown()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="threads=0"):
        ThreadEngine(0)
    with pytest.raises(TypeError, match="initializer=5"):
        ThreadEngine(1, initializer=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", ["running", "waiting"])
def test_a_forked_process_is_told_that_it_has_no_threads(single: ThreadEngine, stage: str) -> None:
    busy = Busy(single)
    watched = busy.future if stage == "running" else submit(single, abs, 1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            words = [type(watched.exception(LONG)).__name__]
            try:
                submit(single, abs, 1)
            except BrokenBlockyard as error:
                words.append(str(error))
            os.write(writing, " ".join(words).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = os.read(reading, 1000).decode()
    os.close(reading)
    busy.release()
    assert said.startswith("BrokenBlockyard process")
    assert "was forked" in said
    assert watched.result(LONG) in ("released", 1)
