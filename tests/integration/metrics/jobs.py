"""What the tasks of these tests do."""

import os
import sys


def twice(number: int) -> int:
    """Work."""
    return 2 * number


def fails() -> None:
    """Raise."""
    raise ValueError("as asked")


def dies() -> None:
    """End the worker."""
    os._exit(3)


def prints(count: int) -> None:
    """So many bytes."""
    sys.stdout.write("x" * count)
