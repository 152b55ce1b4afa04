"""Templates, and how times, durations, sizes and names of others are written in them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER: Final = Path(__file__).parent / "html"


def make() -> Environment:
    """All templates. What is put into them is escaped, and does nothing to the text around it."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(duration=duration, instant=instant, size=size, count=count, percent=percent)
    made.globals.update(url=url)
    return made


def plain(value: Any) -> Any:
    """What a template is given, without letters that are none: names are the users', and may hold anything."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in value)


def duration(us: float) -> str:
    """Microseconds for people: '840 µs', '1.25 ms', '3.1 s', '4m07s', '2h05m'."""
    if us < 1_000:
        return f"{us:.0f} µs"
    if us < 1_000_000:
        return f"{us / 1000:.3g} ms"
    if us < 60_000_000:
        return f"{us / 1e6:.3g} s"
    minutes, seconds = divmod(int(us / 1e6), 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def instant(us: int) -> Markup:
    """An instant, UTC, which the page's script shows in the reader's own zone."""
    if not us:
        return Markup("–")
    at = datetime.fromtimestamp(us / 1e6, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds"), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the loop returns")


def count(number: float) -> str:
    """A number with commas between thousands."""
    return f"{number:,.0f}"


def percent(part: float) -> str:
    """A part of one."""
    return f"{100 * part:.1f} %"


def url(path: str, /, **parameters: object) -> str:
    """A path with those parameters that are not empty."""
    kept: Mapping[str, str] = {name: str(value) for name, value in parameters.items() if value not in ("", None)}
    return f"{path}?{urlencode(kept)}" if kept else path
