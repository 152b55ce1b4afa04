"""A process that writes to a journal until it is killed and says after each commit what was confirmed.

Run as a script: ``writer.py URL NAME SYNC``. Each line on its output is ``first end``: the bounds after a commit. What
a chunk holds follows from its number, so that a reader needs no record of it.
"""

from __future__ import annotations

import os
import random
import sys

from blockyard_interchange.journal import open_store

KEPT_CHUNKS = 60


def body_of(number: int) -> bytes:
    """The content of a chunk: from nothing to 20 kB, mostly small."""
    dice = random.Random(number)
    return dice.randbytes(dice.choice((0, 10, 300, 300, 900, 4000, 20_000)))


def main() -> None:
    url, name, sync = sys.argv[1:]
    store = open_store(url, name=name)
    store.open()
    dice = random.Random()
    while True:
        first, end = store.bounds()
        append = [(number, body_of(number)) for number in range(end, end + dice.choice((1, 1, 1, 3)))]
        surplus = max(0, end - first - KEPT_CHUNKS)
        store.commit(append, range(first, first + surplus), sync=sync == "sync")
        first, end = store.bounds()
        os.write(1, b"%d %d\n" % (first, end))


if __name__ == "__main__":
    main()
