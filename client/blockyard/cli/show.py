"""Answers as tables for people, or as JSON with stable names for programs."""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from blockyard.config import Output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable


class Table(msgspec.Struct, frozen=True):
    """Rows of words under a heading; a column whose name ends in '>' is one of numbers, set to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    empty: str = "nothing"
    """Shown in place of a table without rows."""


def answer(output: Output, view: Any, *parts: Table | str) -> None:
    """Print `view` as one line of JSON, or the tables and sentences for people."""
    if output is Output.JSON:
        click.echo(msgspec.json.encode(view).decode())
        return
    for part in parts:
        if isinstance(part, str):
            click.echo(printable(part))
        elif part.rows:
            _print(part)
        else:
            click.echo(part.empty)


def console() -> "Console":
    """Where tables go. Without a terminal they are as wide as they need to be, so that nothing is cut off."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False,
                   width=None if sys.stdout.isatty() else 1000)  # fmt: skip


def drawn(table: Table) -> "RichTable":
    """A table as `rich` draws it."""
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        made.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    return made


def _print(table: Table) -> None:
    where = console()
    if where.is_terminal:
        where.print(drawn(table))
        return
    for line in where.render_lines(drawn(table), pad=False):
        click.echo("".join(segment.text for segment in line).rstrip())


def printable(text: str) -> str:
    """Text that does nothing to a terminal: names of tasks are the users', and may hold anything."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def bytes_of(size: int) -> str:
    """A size for people: '1.5 MiB'."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("the loop returns")


def seconds_of(seconds: float) -> str:
    """A duration for people: '4.2s', '3m07s', '5h12m', '2d03h'."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def since(at: float) -> str:
    """How long ago an instant (UTC epoch seconds) was; '-' for 0."""
    return seconds_of(time.time() - at) if at else "-"


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names in a sentence, not too many."""
    named = list(names)
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return (", ".join(named[:most]) or "none") + more
