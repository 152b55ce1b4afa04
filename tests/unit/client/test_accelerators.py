"""Which accelerators each pool and each of its blocks has: never one for two."""

import pytest

from blockyard import LocalPool
from blockyard.accelerators import Shares, share_out
from blockyard.errors import ConfigError
from blockyard.ids import BlockId

A, B, C = BlockId("a"), BlockId("b"), BlockId("c")


def shares_of(pools: dict[str, LocalPool], visible: str = "") -> dict[str, tuple[str, ...]]:
    """What the first block of each pool gets."""
    shared = share_out(pools, visible)
    for shares in shared.values():
        shares.take(A)
    return {pool: shares.of(A) for pool, shares in shared.items()}


def test_counted_ones_get_the_numbers_that_no_pool_names() -> None:
    pools = {"one": LocalPool(accelerators=2), "two": LocalPool(accelerators=("1", "x")), "three": LocalPool()}
    assert shares_of({**pools, "four": LocalPool(accelerators=1)}) == {
        "one": ("0", "2"),
        "two": ("1", "x"),
        "three": (),
        "four": ("3",),
    }


def test_counted_ones_are_those_that_this_process_may_use() -> None:
    pools = {"one": LocalPool(accelerators=1), "two": LocalPool(accelerators=1)}
    assert shares_of(pools, "5, GPU-7") == {"one": ("5",), "two": ("GPU-7",)}
    with pytest.raises(ConfigError, match=r"pool 'two': accelerators=1, but CUDA_VISIBLE_DEVICES='5' has only 0 left"):
        share_out(pools, "5")


def test_one_that_two_pools_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="pools 'one' and 'two' both name accelerator 'b'"):
        share_out({"one": LocalPool(accelerators=("a", "b")), "two": LocalPool(accelerators=("b",))}, "")


def test_a_share_is_free_again_when_its_block_has_ended() -> None:
    shares = Shares(("p", "q", "r", "s"), 2)
    shares.take(A)
    shares.take(B)
    assert (shares.of(A), shares.of(B), shares.of(C)) == (("p", "q"), ("r", "s"), ())
    with pytest.raises(LookupError, match="block c: all shares of accelerators are taken, by a, b"):
        shares.take(C)
    shares.free(A)
    shares.free(A)
    shares.take(C)
    assert (shares.of(A), shares.of(C)) == ((), ("p", "q"))
