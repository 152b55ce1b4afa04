"""How much of a batch goes into one frame, and what is too large for any. How it travels is tested with processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from blockyard.blobs import BlobFolder
from blockyard.errors import RequestTooLarge
from blockyard.futures import FutureHome, TaskFuture
from blockyard.options import Options
from blockyard.packing import MAX_INLINE_BYTES, Packer
from blockyard.payload import load_function
from blockyard.wire.records import Blob, Body, body_bytes

HOME = FutureHome()


def items(packer: Packer, values: Sequence[Any], most_bytes: int) -> tuple[list[Body], dict[int, Any]]:
    return packer.items(values, HOME, most_bytes)


def calls(packer: Packer, values: Sequence[Any], most_bytes: int) -> tuple[list[Body], dict[int, Any]]:
    return packer.calls([(value,) for value in values], HOME, most_bytes)


BOTH = pytest.mark.parametrize("pack", [items, calls])


@BOTH
def test_a_frame_holds_the_first_that_fit_and_what_they_need(pack: Any) -> None:
    packer = Packer("3.11")
    waited_for: list[TaskFuture[Any]] = [TaskFuture(HOME, task) for task in (1, 2)]
    values = [bytes(1000), waited_for[0], *[bytes(1000)] * 8, waited_for[1]]
    bodies, needs = pack(packer, values, 3600)
    assert 3 <= len(bodies) <= 5
    assert {place: [future.task for future in found] for place, found in needs.items()} == {1: [1]}
    whole, all_needs = pack(packer, values, 1 << 20)
    assert whole[: len(bodies)] == bodies
    assert (len(whole), set(all_needs)) == (len(values), {1, 10})


@BOTH
def test_a_frame_holds_one_at_least_however_large(pack: Any) -> None:
    bodies, _ = pack(Packer("3.11"), [bytes(5000)] * 3, 100)
    assert [body_bytes(body) > 5000 for body in bodies] == [True]


@BOTH
def test_no_frame_is_larger_by_more_than_its_last_body(pack: Any) -> None:
    packer = Packer("3.11")
    values = [bytes(10 * place) for place in range(1, 200)]
    sent: list[Body] = []
    while len(sent) < len(values):
        bodies, _ = pack(packer, values[len(sent) :], 4000)
        assert sum(map(body_bytes, bodies[:-1])) <= 4000
        sent += bodies
    assert sent == pack(packer, values, 1 << 30)[0]


def test_what_is_larger_than_half_a_frame_needs_a_folder(tmp_path: Path) -> None:
    packer = Packer("3.11")
    largest = bytes(MAX_INLINE_BYTES)
    assert packer.body(largest) == largest
    too_large = bytes(MAX_INLINE_BYTES + 1)
    for pack in (lambda: packer.body(too_large), lambda: packer.call((too_large,), {}, HOME)):
        with pytest.raises(RequestTooLarge, match=f"at most {MAX_INLINE_BYTES} can be sent at once"):
            pack()
    packer.blobs = BlobFolder(tmp_path / "blobs")
    found = packer.body(too_large)
    assert isinstance(found, Blob)
    assert found.size_bytes == len(too_large)


def test_a_cached_call_runs_with_what_its_function_refers_to_now_though_it_was_changed_in_place() -> None:
    packer, names = Packer("3.11"), [1]

    def count() -> int:
        return len(names)

    def sent(options: Options) -> int:
        return int(load_function(packer.spec(options, count)[1].body)())

    cached = Options(cache=True)
    assert sent(cached) == 1
    names.append(2)
    assert sent(cached) == 2, "or its result would be known by what was never computed"
