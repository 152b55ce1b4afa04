"""Functions that leave a line each time they run."""

from pathlib import Path


def square(number: int, log: Path) -> int:
    """Its square."""
    note(log, f"square {number}")
    return number * number


def total(numbers: list[int], log: Path) -> int:
    """Their sum."""
    note(log, "total")
    return sum(numbers)


def large(number: int, log: Path) -> bytes:
    """More than travels in a message."""
    note(log, f"large {number}")
    return bytes([number]) * 200_000


def fail_once(log: Path) -> str:
    """Raises the first time."""
    ran = lines(log)
    note(log, "fail_once")
    if not ran:
        raise ValueError("the first time")
    return "good"


def noted_square(number: int, log: str) -> int:
    """As a step of a workflow, whose arguments are JSON."""
    return square(number, Path(log))


def noted_total(numbers: list[int], log: str) -> int:
    """The same of `total`."""
    return total(numbers, Path(log))


def note(log: Path, line: str) -> None:
    """Append a line in one write."""
    with log.open("a") as file:
        file.write(f"{line}\n")


def lines(log: Path) -> list[str]:
    """What has run so far."""
    return log.read_text().split("\n")[:-1] if log.exists() else []
