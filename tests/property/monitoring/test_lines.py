"""What COPY is given says what the rows say, whether rows were made of it or not."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard.wire.monitoring import AnyRecord, Resources, Sample, Tries, Try, TryState, Use, WorkerTasks
from blockyard_monitoring.clocks import Clocks
from blockyard_monitoring.sinks.sql import lines, tables
from blockyard_monitoring.sinks.sql.rows import rows_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", "null", "],[", ",true,", ",false,", '"', "\\.", "a,b", "\n", "\0", "ü✓"]
)
tasks = st.integers(0, (1 << 64) - 1)
counts = st.integers(0, 1 << 62)
tries = st.builds(
    Try, tasks, counts, st.sampled_from(TryState), st.booleans(), counts, counts, counts, texts, texts, texts
)
uses = st.builds(Use, tasks, counts, counts, counts, counts)
samples = st.builds(Sample, tasks, *[counts] * 8, status=texts)
records = st.lists(
    st.builds(Tries, tasks, texts, texts, texts, texts, counts, st.lists(tries, max_size=4))
    | st.builds(WorkerTasks, texts, texts, texts, texts, counts, counts, texts, st.lists(uses, max_size=4))
    | st.builds(Resources, texts, texts, texts, texts, counts, st.lists(samples, max_size=4)),
    max_size=5,
)


@settings(max_examples=300)
@given(records)
def test_lines_say_what_rows_say(told: list[AnyRecord]) -> None:
    quick, left = lines.sorted_out(told, Clocks())
    found: dict[str, list[dict[str, str]]] = {}
    for lane, own in quick.items():
        text = b"".join(lines.of_lane(lane, own, left))
        found.setdefault(lane.table, []).extend(read(text, lane.columns))
    for table, rows in rows_of(left, Clocks()).items():
        names = [column.name for column in tables.metadata.tables[table].columns]
        found.setdefault(table, []).extend(read(b"".join(lines.of_rows(list(rows.values()))), names))
    expected = {
        (table, key): {name: str(value).replace("\0", "\\0") for name, value in named(table, row).items()}
        for table, rows in rows_of(told, Clocks()).items()
        for key, row in rows.items()
    }
    for table, ours in found.items():
        for row in ours:
            # Of a key that was told of twice, the database decides; each of both is refused there if it is doubled.
            key = tuple(int(row[name]) for name in keys(table))
            if sum(keyed(table, one) == key for one in ours) == 1:
                assert row == {name: value for name, value in expected[table, key].items() if name in row}
    assert {(table, keyed(table, row)) for table, ours in found.items() for row in ours} == set(expected)


def read(text: bytes, names: Iterable[str]) -> list[dict[str, str]]:
    """Lines of CSV as a database reads them."""
    rows = csv.reader(io.StringIO(text.decode(), newline=""))
    return [dict(zip(names, row, strict=True)) for row in rows]


def named(table: str, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(tables.metadata.tables[table].columns.keys(), row, strict=True))


def keys(table: str) -> list[str]:
    return [column.name for column in tables.metadata.tables[table].primary_key.columns]


def keyed(table: str, row: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(row[name]) for name in keys(table))


def test_most_records_are_made_no_rows() -> None:
    told = [Tries(1, "default", "m", "b", "n", 5, [Try(1, 1, TryState.DONE, True, 1, 2)] * 3000)]
    quick, left = lines.sorted_out(told, Clocks())
    ((lane, own),) = quick.items()
    assert b"".join(lines.of_lane(lane, own, left)) == b'1,1,0,1,1,2,0,"","","",1,5,"m"\n' * 3000
    assert not left


def test_null_is_no_text() -> None:
    assert b"".join(lines.of_rows([(None, "null"), (None, "\n")])) == b'null,"null"\nnull,"\n"\n'
