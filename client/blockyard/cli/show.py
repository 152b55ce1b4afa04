"""Answers as tables for people, or as JSON with stable names for programs."""

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from blockyard.config import Output

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable

_GAP: Final = 2
_LEAST_FOLDED: Final = 24
"""Columns of fewer letters stay as they are."""


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
                   width=None if sys.stdout.isatty() else 1 << 20)  # fmt: skip


class Drawn:
    """A table as `rich` draws it. Columns that do not fit a terminal follow below, behind the first one again.

    Sentences fold to get in; names and numbers never do, since who is to copy them needs them whole.
    """

    def __init__(self, table: Table) -> None:
        self._heads = table.columns
        self._rows = [[printable(str(cell)) for cell in row] for row in table.rows]
        columns = list(zip(*([head.rstrip(">") for head in table.columns], *self._rows), strict=True))
        self._wanted = [max(map(_width, cells)) for cells in columns]
        self._needed = [
            min(wanted, max(_LEAST_FOLDED, *(_width("\n".join(cell.split())) for cell in cells)))
            for wanted, cells in zip(self._wanted, columns, strict=True)
        ]

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        room = options.max_width if console.is_terminal else sum(self._wanted) + _GAP * len(self._wanted)
        for number, part in enumerate(self._parts(room)):
            if number:
                yield ""
            widths = self._widths(part, room)
            whole = options.update_width(max(room, sum(widths) + _GAP * len(widths)))
            yield from console.render(self._made(part, widths), whole)

    def _parts(self, room: int) -> list[list[int]]:
        """The columns of each part, by their numbers."""
        parts = [[0]]
        for column in range(1, len(self._heads)):
            if sum(self._needed[one] + _GAP for one in parts[-1]) + self._needed[column] > room and len(parts[-1]) > 1:
                parts.append([0])
            parts[-1].append(column)
        return parts

    def _widths(self, part: list[int], room: int) -> list[int]:
        left = room - sum(self._needed[one] + _GAP for one in part) + _GAP
        widths = []
        for one in part:
            more = max(0, min(left, self._wanted[one] - self._needed[one]))
            widths.append(self._needed[one] + more)
            left -= more
        return widths

    def _made(self, part: list[int], widths: list[int]) -> "RichTable":
        from rich.table import Table as RichTable
        from rich.text import Text

        made = RichTable(box=None, pad_edge=False, header_style="bold")
        for one, width in zip(part, widths, strict=True):
            side: Any = "right" if self._heads[one].endswith(">") else "left"
            made.add_column(self._heads[one].rstrip(">"), justify=side, width=width)
        for row in self._rows:
            made.add_row(*(Text(row[one]) for one in part))
        return made


def _width(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def draw(table: Table, where: "Console") -> None:
    """Show a table on a terminal; what is too wide for it even alone is left to the terminal to break."""
    where.print(Drawn(table), crop=False)


def _print(table: Table) -> None:
    where = console()
    if where.is_terminal:
        draw(table, where)
        return
    for line in where.render_lines(Drawn(table), pad=False):
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
