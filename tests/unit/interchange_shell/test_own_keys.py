"""An interchange's own pairs: one that is replaced in the key ring takes over after a while, and not before."""

from pathlib import Path

from blockyard.keyring import KeyRing
from blockyard.transport import KeyPair
from blockyard_interchange.own_keys import OwnKeys


def test_a_new_pair_takes_over_when_those_who_need_it_have_had_time_to_learn_of_it(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    own = OwnKeys(ring, after=120.0)
    before = own.used["managers"]
    assert own.look(0.0) == {}
    fresh = KeyPair.new()
    fresh.save(tmp_path / "managers.key")
    assert own.look(1.0) == {}
    assert own.look(120.9) == {}
    assert own.used["managers"] == before
    assert own.look(121.0) == {"managers": fresh}
    assert own.used["managers"] == fresh
    assert own.look(122.0) == {}


def test_a_newer_pair_has_its_own_time_and_the_old_one_may_come_back(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    own = OwnKeys(ring, after=10.0)
    before, first, second = own.used["clients"], KeyPair.new(), KeyPair.new()
    first.save(tmp_path / "clients.key")
    own.look(0.0)
    second.save(tmp_path / "clients.key")
    assert own.look(9.0) == {}
    assert own.look(11.0) == {}
    before.save(tmp_path / "clients.key")
    assert own.look(20.0) == {}
    second.save(tmp_path / "clients.key")
    assert own.look(21.0) == {}
    assert own.look(31.0) == {"clients": second}


def test_a_pair_that_is_gone_or_spoilt_changes_nothing(tmp_path: Path) -> None:
    own = OwnKeys(KeyRing(tmp_path), after=0.0)
    (tmp_path / "clients.key").unlink()
    (tmp_path / "managers.key").write_text("half a k")
    assert own.look(1.0) == {}
