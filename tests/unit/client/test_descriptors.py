"""A shortage of descriptors is seen before there are none, and only while it lasts.

Each is a process of its own: in that of other tests, threads that they left open and close files meanwhile.
"""

import subprocess
import sys

ALLOWED = 400
RESERVED = 64
PROGRAM = """
import os, resource, sys
from blockyard.transport import descriptors

allowed, number, closed = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
opened = [0]
while opened[-1] < min(number, allowed - 1):
    opened.append(os.dup(0))
for one in opened[1 : closed + 1]:
    os.close(one)
print(descriptors.shortage())
"""


def shortage(up_to: int, closed: int = 0) -> str:
    """What is said with all descriptors open up to one, but for so many that were closed again."""
    command = [sys.executable, "-c", PROGRAM, str(ALLOWED), str(up_to), str(closed)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_there_is_none_up_to_the_reserve_and_then_there_is() -> None:
    assert shortage(ALLOWED - RESERVED - 1) == ""
    assert shortage(ALLOWED - RESERVED).endswith(f" of {ALLOWED} files are open")


def test_there_is_one_when_no_descriptor_is_left() -> None:
    assert shortage(ALLOWED) == f"{ALLOWED} of {ALLOWED} files are open"


def test_a_high_descriptor_alone_is_none() -> None:
    assert shortage(ALLOWED - RESERVED + 3, closed=RESERVED) == ""
