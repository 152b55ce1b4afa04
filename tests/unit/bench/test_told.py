"""The notes that `bench_hub` tells a hub: to whom, and what goes again."""

from bench import told
from blockyard.wire import hub
from blockyard.wire.monitoring import VERSION

LINK, STREAM, AGAIN = b"link", b"stream", b"again"
FRAMES = [b"one", b"two", b"three"]


class Wire:
    """What was sent, by connection."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []

    def send(self, peer: bytes, frame: bytes) -> bool:
        self.sent.append((peer, frame))
        return True


def test_notes_go_to_who_follows_and_not_to_who_offers_to_show_events() -> None:
    teller, wire = told.Teller(FRAMES), Wire()
    teller.hear(LINK, hub.Follow(VERSION))
    teller.hear(STREAM, hub.Offer(VERSION))

    teller.tell(wire.send)

    assert wire.sent == [(LINK, frame) for frame in FRAMES]


def test_who_follows_anew_is_told_again_what_was_not_confirmed() -> None:
    teller, wire = told.Teller(FRAMES), Wire()
    teller.hear(LINK, hub.Follow(VERSION))
    teller.tell(wire.send)
    teller.hear(LINK, hub.Confirm(1))
    wire.sent.clear()

    teller.hear(AGAIN, hub.Follow(VERSION))
    teller.tell(wire.send)

    assert wire.sent == [(AGAIN, frame) for frame in FRAMES[1:]]
    teller.hear(AGAIN, hub.Confirm(3))
    assert teller.is_done


def test_a_sign_of_life_of_who_has_not_said_that_it_follows_is_asked_who_it_is() -> None:
    teller = told.Teller(FRAMES)

    assert teller.hear(LINK, hub.Confirm(0)) == hub.WhoAreYou()
    assert not teller.peer
