"""Which key of the interchange a manager without a connection tries, and for how long."""

from blockyard.errors import ConfigError
from blockyard_worker.shell.server_key import FIRST_SECONDS, TURN_SECONDS, ServerKey


class Named:
    """What the settings say."""

    key = b"old"
    is_torn = False

    def __call__(self) -> bytes:
        if self.is_torn:
            raise ConfigError("half a file")
        return self.key


def test_the_settings_are_read_when_there_has_been_no_connection_for_a_moment() -> None:
    named = Named()
    keys = ServerKey(b"old", named)
    named.key = b"new"
    assert keys.on_unsent(10.0) is None
    assert keys.on_unsent(10.0 + FIRST_SECONDS / 2) is None
    assert keys.on_unsent(10.0 + FIRST_SECONDS) == b"new"
    keys.on_sent()
    assert keys.on_unsent(20.0) is None
    assert keys.on_unsent(21.0) is None, "it is the one that is tried already"


def test_the_one_that_was_good_and_the_one_that_is_named_have_turns() -> None:
    named = Named()
    keys = ServerKey(b"old", named)
    named.key = b"new"
    tried = [keys.on_unsent(TURN_SECONDS * n) for n in range(6)]
    assert tried == [None, b"new", b"old", b"new", b"old", b"new"]


def test_a_connection_that_stands_now_and_then_is_none_that_is_missing() -> None:
    named = Named()
    keys = ServerKey(b"old", named)
    named.key = b"new"
    for n in range(20):
        assert keys.on_unsent(n * FIRST_SECONDS * 0.9) is None
        keys.on_sent()


def test_settings_that_cannot_be_read_are_read_again_later() -> None:
    named = Named()
    keys = ServerKey(b"old", named)
    named.key, named.is_torn = b"new", True
    assert keys.on_unsent(0.0) is None
    assert keys.on_unsent(1.0) is None
    named.is_torn = False
    assert keys.on_unsent(1.0 + TURN_SECONDS) == b"new"
