"""Building much that will live, without Python's collector of cycles walking through it again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector rest while a bounded amount of records is made, none of which is garbage.

    It would look at all of them each time that their number has grown by a quarter, which doubles what 10^5 steps cost.
    What becomes garbage meanwhile, in other threads too, is found afterwards.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
