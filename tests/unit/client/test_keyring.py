"""The files of a key ring: who is let in, and to which pools. What an interchange makes of them is tested with one."""

import os
import resource
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from blockyard.errors import BadKey
from blockyard.keyring import KeyRing


def pools_of(ring: KeyRing) -> dict[str, AbstractSet[str] | None]:
    """As an interchange reads it."""
    return {guest.user: guest.pools for guest in ring.guests("client").values()}


def test_a_client_may_be_let_in_to_some_pools_and_later_to_others(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys")
    first = ring.issue("client-anna", ["cpu", "ns.gpu"])
    assert pools_of(ring) == {"client:anna": frozenset({"cpu", "ns.gpu"})}
    assert ring.issue("client-anna") == first
    assert ring.pools_of("client-anna") == frozenset({"cpu", "ns.gpu"}), "without a word about pools nothing changes"
    changed = ring.changed_at()
    assert ring.issue("client-anna", ["cpu"]) == first
    assert pools_of(ring) == {"client:anna": frozenset({"cpu"})}
    assert ring.changed_at() != changed
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "keys" / "allowed").iterdir()] == [0o600]


def test_files_that_a_power_cut_left_empty_are_made_anew(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys")
    before = ring.interchange("clients"), ring.issue("client-anna")
    for path in (tmp_path / "keys").rglob("*.*"):
        path.write_bytes(b"")
    after = ring.interchange("clients"), ring.issue("client-anna")
    assert after != before
    assert (ring.interchange("clients"), ring.issue("client-anna")) == after
    assert list(ring.guests("client")) == [after[1].public]


@pytest.mark.parametrize("short_of", ["the folder", "the file"])
def test_who_is_short_of_descriptors_takes_nobody_for_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_of: str
) -> None:
    ring = KeyRing(tmp_path / "keys")
    ring.issue("client-anna")
    if short_of == "the file":
        monkeypatch.setattr(os, "listdir", lambda _: ["client-anna.pub"])
    next_one = os.dup(0)
    os.close(next_one)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            ring.guests("client")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert pools_of(ring) == {"client:anna": None}


def test_a_client_of_all_pools_has_no_limit(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys")
    ring.issue("client-ben")
    assert pools_of(ring) == {"client:ben": None}
    assert ring.pools_of("client-nobody") is None


@pytest.mark.parametrize(
    "name, pools, words",
    [
        ("client-a", [], "pools='': give names of pools"),
        ("client-a", ["x", ""], "give names of pools"),
        ("client-a", ["x y"], "give names of pools"),
        ("client-a", ["x\npools = y"], "give names of pools"),
        ("pool-a", ["x"], "only a client's key is limited to pools"),
        ("keeper-a", ["x"], "only a client's key is limited to pools"),
        ("client-", ["x"], "expected client-NAME"),
        ("guest-a", None, "expected client-NAME"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(
    tmp_path: Path, name: str, pools: list[str] | None, words: str
) -> None:
    ring = KeyRing(tmp_path / "keys")
    with pytest.raises(BadKey, match=words):
        ring.issue(name, pools)
    assert not ring.folder.exists()
