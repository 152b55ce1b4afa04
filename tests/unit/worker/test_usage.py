"""What a try used is its own: measured by the kernel, not mixed with the tries before and after it."""

import subprocess
import sys
import time

from blockyard import this_try
from blockyard_worker.worker.usage import Usage

MIB = 1 << 20


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
    hard = usage.end(1, 7, began, 0.10)
    easy = usage.end(2, 7, began, 0.0)
    assert (hard.task, hard.epoch) == (1, 7)
    assert 80_000 <= hard.cpu_user_us + hard.cpu_system_us < 150_000
    assert easy.cpu_user_us + easy.cpu_system_us < 20_000
    assert hard.ended_us - hard.began_us == 100_000


def test_a_peak_is_not_handed_on_to_the_next_try() -> None:
    usage = Usage()
    large = bytearray(64 * MIB)
    large[::4096] = b"x" * len(large[::4096])
    big = usage.end(1, 1, 0.0, 0.1)
    del large
    usage.end(2, 1, 0.0, 0.1)
    small = usage.end(3, 1, 0.0, 0.1)
    assert big.peak_bytes - small.peak_bytes > 48 * MIB


def test_what_its_children_used_counts() -> None:
    usage = Usage()
    program = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
    found = usage.end(1, 1, 0.0, 0.3)
    assert found.cpu_user_us + found.cpu_system_us > 150_000


def test_what_programs_used_that_others_watch_counts() -> None:
    usage = Usage()
    this_try.below.add(2.0, 1.0, 4, 8, peak_kib=1 << 30)
    found = usage.end(1, 1, 0.0, 0.3)
    assert found.cpu_user_us >= 2_000_000
    assert (found.read_bytes >= 4 * 512, found.written_bytes >= 8 * 512, found.peak_bytes) == (True, True, 1 << 40)
    this_try.below.add(-2.0, -1.0, -4, -8)
    assert usage.end(2, 1, 0.0, 0.3).cpu_user_us == 0
