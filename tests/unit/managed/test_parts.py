"""What the parts of a wide MPI task make of their try's secret, and the words that mpirun is started by."""

import socket

import pytest

from blockyard.errors import ConfigError
from blockyard.managed import parts
from blockyard.managed.parts import Meeting
from blockyard.wire.records import Part

SECRET = bytes(range(32))


def test_all_parts_of_a_try_come_to_the_same_and_those_of_another_to_something_else() -> None:
    one, other = Meeting.of(SECRET), Meeting.of(bytes(32))
    assert one == Meeting.of(SECRET)
    assert len({one.leader.secret, one.member.secret, other.leader.secret, other.member.secret}) == 4
    assert one.ports != other.ports
    assert all(20_000 <= port < 30_000 for port in one.ports)
    assert one.key == f"{one.leader.public.decode()},{one.member.secret.decode()}"


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33)])
def test_what_is_no_secret_is_refused(secret: bytes) -> None:
    with pytest.raises(ConfigError, match=f"secret of {len(secret)} bytes"):
        Meeting.of(secret)


def test_nothing_that_is_shown_holds_the_secret() -> None:
    part, known = Part(0, 2, 0, 1, 2, [], "10.0.0.7", SECRET), Meeting.of(SECRET)
    shown = f"{part!r} {known!r}"
    assert "10.0.0.7" in shown
    for secret in (repr(SECRET), repr(known.leader.secret), repr(known.member.secret)):
        assert secret not in shown


def test_a_part_without_ranks_is_no_host_of_mpirun() -> None:
    words = parts.mpirun_words({0: 3, 1: 1, 2: 0}, ["WORD"])
    assert words[words.index("--host") + 1] == "part-0:3,part-1:1"
    assert words[words.index("-np") + 1] == "4"
    assert words[-2:] == ["-x", "WORD"]


def test_a_name_that_leads_nowhere_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'no\.such\.invalid'.*BLOCKYARD_WORKER_ADDRESS"):
        parts.address_of("no.such.invalid")


def test_a_machine_that_cannot_look_up_its_own_name_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise OSError(-2, f"{name}: Name or service not known")

    monkeypatch.setattr(socket, "gethostbyname", fail)
    assert parts.address_of(socket.gethostname()) == "127.0.0.1"
    with pytest.raises(ConfigError, match="BLOCKYARD_WORKER_ADDRESS"):
        parts.address_of("elsewhere")
