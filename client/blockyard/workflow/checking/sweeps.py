"""What is wrong with a sweep by itself, and with what a step says of its items.

Whether the list is there that it runs over is left to `references`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.references import OPENING, PATTERN, Reference, may_hold, walk
from blockyard.workflow.spec import MOST_ITEMS, Sweep

_SWEEPS: Final = ("list_", "product", "zip", "range", "from_")


def sweep_faults(path: str, sweep: Sweep) -> Iterator[Fault]:
    """What is wrong with its one way to say items."""
    said = [name for name in _SWEEPS if getattr(sweep, name) is not None]
    if len(said) != 1:
        found = " and ".join(name.rstrip("_") for name in said) or "none of them"
        yield Fault(path, f"has {found}; say exactly one of list, product, zip, range, from")
    if sweep.from_ is not None and not PATTERN.fullmatch(sweep.from_):
        yield Fault(f"{path}.from", f"{sweep.from_!r:.60} is no reference; write ${{{{ steps.NAME.result }}}}")
    for name in ("product", "zip"):
        columns = getattr(sweep, name)
        if columns is not None:
            yield from _column_faults(f"{path}.{name}", columns, name)


def _column_faults(path: str, columns: Mapping[str, Any], name: str) -> Iterator[Fault]:
    if not columns:
        yield Fault(path, "is empty; name at least one list")
    bad = [column for column, values in columns.items() if not isinstance(values, list) or not values]
    for column in bad:
        yield Fault(f"{path}.{column}", f"{columns[column]!r:.60} is no list of values")
    if bad:
        return
    sizes = {column: len(values) for column, values in columns.items()}
    if name == "zip" and len(set(sizes.values())) > 1:
        yield Fault(path, f"lists of different lengths: {', '.join(f'{key} has {n}' for key, n in sizes.items())}")
    if name == "product" and _product(sizes.values()) > MOST_ITEMS:
        yield Fault(path, f"{_product(sizes.values())} combinations, at most {MOST_ITEMS} are taken")


def _product(sizes: Iterable[int]) -> int:
    return functools.reduce(lambda left, right: left * right, sizes, 1)


def source_of(sweep: Sweep) -> str:
    """The reference that a sweep is over, '' for none."""
    match = PATTERN.fullmatch(sweep.from_ or "")
    return match[1].strip() if match is not None else ""


def item_fault(sweep: Sweep, found: Reference) -> str:
    """Why no item has what is referred to; '' when it may have."""
    names = list(sweep.product or sweep.zip or ())
    if names and found.path and found.path[0] not in names:
        return f"items have no {found.path[0]!r}{nearest(found.path[0], names)}"
    if sweep.range is not None and found.path:
        return "items of a range are numbers; write ${{ item }}"
    for item in sweep.list_ or () if found.path else ():
        if not may_hold(OPENING, item):  # what will be filled in may be anything
            try:
                walk(item, found.path, "item")
            except LookupError as error:
                return str(error)
    return ""
