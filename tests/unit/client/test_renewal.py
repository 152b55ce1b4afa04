"""When a link asks for its keys again, and what it makes of the answer."""

import time
from pathlib import Path

from blockyard.session.link import LinkSettings
from blockyard.session.renewal import SILENT_SECONDS, Renewal
from blockyard.transport import KeyPair
from tests.integration.processes import wait_until

OWN, OTHER = KeyPair.new(), KeyPair.new()


class Secret:
    """What is asked."""

    def __init__(self) -> None:
        self.server_key = b"old"
        self.keys = OWN
        self.asked = 0
        self.is_away = False

    def settings(self) -> LinkSettings:
        return LinkSettings("ipc:///here", self.server_key, self.keys, Path("nonce"), self.renew)

    def renew(self) -> LinkSettings:
        self.asked += 1
        if self.is_away:
            raise OSError("no API server")
        return self.settings()


def looked(renewal: Renewal, now: float, secret: Secret, asked: int) -> LinkSettings | None:
    """Look until the secret was asked so often, and what came of it has been seen."""
    found = [renewal.look(0.0, now)]
    wait_until("it was asked", lambda: secret.asked, lambda count: count == asked, 20.0)
    deadline = time.monotonic() + 20.0
    while renewal._asking is not None and renewal._asking.is_alive() and time.monotonic() < deadline:
        renewal._asking.join(1.0)
    return found[0] or renewal.look(0.0, now)


def test_while_the_interchange_answers_nobody_is_asked() -> None:
    secret = Secret()
    renewal = Renewal(secret.settings(), 0.0)
    assert all(renewal.look(now - SILENT_SECONDS / 2, now) is None for now in range(100))
    assert secret.asked == 0


def test_other_keys_are_told_once_and_the_same_ones_never() -> None:
    secret = Secret()
    renewal = Renewal(secret.settings(), 0.0)
    assert looked(renewal, 10.0, secret, 1) is None
    secret.server_key = b"new"
    found = looked(renewal, 20.0, secret, 2)
    assert found is not None
    assert found.server_key == b"new"
    assert looked(renewal, 30.0, secret, 3) is None
    secret.keys = OTHER
    found = looked(renewal, 40.0, secret, 4)
    assert found is not None
    assert found.keys == OTHER


def test_who_cannot_be_asked_is_asked_again() -> None:
    secret = Secret()
    renewal = Renewal(secret.settings(), 0.0)
    secret.is_away, secret.server_key = True, b"new"
    assert looked(renewal, 10.0, secret, 1) is None
    secret.is_away = False
    assert looked(renewal, 20.0, secret, 2) is not None


def test_a_link_that_cannot_ask_goes_on_as_it_is() -> None:
    renewal = Renewal(LinkSettings("ipc:///here", b"old", OWN), 0.0)
    assert renewal.look(0.0, 100.0) is None
