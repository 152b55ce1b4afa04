"""What a try used is its own: measured by the kernel, not mixed with the tries before and after it."""

import os
import subprocess
import sys
import time

import pytest

from blockyard import this_try
from blockyard_worker.worker.usage import Usage

MIB = 1 << 20
BURNS = "import time\nwhile time.process_time() < 0.2: pass"


@pytest.fixture(autouse=True)
def nothing_below() -> None:
    """Programs that other tests ran in this process are no try's."""
    this_try.below.take()


def burn(seconds: float) -> None:
    """Use so much CPU."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_is_that_of_the_try_alone() -> None:
    usage = Usage()
    burn(0.05)
    usage.begin()
    began = time.monotonic()
    burn(0.10)
    usage.end(1, 7, began, 0.10)
    usage.end(2, 7, began, 0.0)
    hard, easy = usage.taken()
    assert (hard.task, hard.epoch) == (1, 7)
    assert 80_000 <= hard.cpu_user_us + hard.cpu_system_us < 150_000
    assert easy.cpu_user_us + easy.cpu_system_us < 20_000
    assert hard.ended_us - hard.began_us == 100_000


def test_a_peak_is_not_handed_on_to_the_next_try() -> None:
    usage = Usage()
    large = bytearray(64 * MIB)
    large[::4096] = b"x" * len(large[::4096])
    usage.end(1, 1, 0.0, 0.1)
    del large
    usage.end(2, 1, 0.0, 0.1)
    usage.end(3, 1, 0.0, 0.1)
    big, _, small = usage.taken()
    assert big.peak_bytes - small.peak_bytes > 48 * MIB


def test_what_its_children_used_counts() -> None:
    usage = Usage()
    subprocess.run([sys.executable, "-S", "-c", BURNS], check=True)
    usage.end(1, 1, 0.0, 0.3)
    (found,) = usage.taken()
    assert found.cpu_user_us + found.cpu_system_us > 150_000


@pytest.mark.parametrize("is_forked", [False, True])
def test_what_children_used_is_that_of_the_try_which_waited_though_others_are_told_with_it(is_forked: bool) -> None:
    usage = Usage()
    usage.end(1, 1, 0.0, 0.002)
    if is_forked:
        pid = os.fork()
        if not pid:
            burn(0.2)
            os._exit(0)
        os.waitpid(pid, 0)
    else:
        subprocess.run([sys.executable, "-S", "-c", BURNS], check=True)
    usage.end(2, 1, 0.0, 0.3)
    usage.end(3, 1, 0.0, 0.002)
    spent = [one.cpu_user_us + one.cpu_system_us for one in usage.taken()]
    assert spent[1] > 150_000
    assert max(spent[0], spent[2]) < 100_000


def test_many_tries_are_told_once_each_in_their_order() -> None:
    usage = Usage()
    for task in range(200):
        usage.end(task, 1, 0.0, 0.0)
    assert usage.count == 200
    assert [one.task for one in usage.taken()] == list(range(200))
    assert (usage.count, usage.taken()) == (0, [])


def test_what_programs_used_that_others_watch_counts() -> None:
    usage = Usage()
    for user, system, read, written, peak_kib in ((2.0, 1.0, 4, 8, 1 << 30), (-2.0, -1.0, -4, -8, 0)):
        this_try.below.add(user, system, read, written, peak_kib)
        time.sleep(0.001)  # as who waits for a program does
        usage.end(1, 1, 0.0, 0.3)
    found, others = usage.taken()
    assert found.cpu_user_us >= 2_000_000
    assert (found.read_bytes >= 4 * 512, found.written_bytes >= 8 * 512, found.peak_bytes) == (True, True, 1 << 40)
    assert others.cpu_user_us == 0
