"""The messages between the hub and the interchange; the hub is the one that connects.

The hub says `Follow`, and is told in `Notes` all that it has not confirmed: first what was left from before, in order,
then what comes. What it has safely stored it confirms by number, at least once a second; then the interchange forgets
it. After a reconnect either side simply begins again, because whoever receives a note twice writes the same row twice.

A hub that shows what happens has a second connection for that. It says `Offer`, and is sent what clients ask (`Show`);
nothing is kept for them here, and a client that does not ask is sent nothing.
"""

import msgspec

from blockyard.wire.control import Follow as Question
from blockyard.wire.records import Record


class Follow(Record, tag=1, frozen=True):
    """First message on each connection, and the answer to `WhoAreYou`."""

    version: int
    """`wire.monitoring.VERSION`."""


class Confirm(Record, tag=2, frozen=True):
    """Notes up to this number are stored; 0: none yet, only a sign of life."""

    number: int


class Offer(Record, tag=3, frozen=True):
    """This connection answers `Show`; said once a second."""

    version: int


class Shown(Record, tag=4, frozen=True):
    """Answer to `Show`, for the client."""

    number: int
    answer: msgspec.Raw
    """An encoded `control.Answer`."""


class Told(Record, frozen=True):
    """A packet, and who speaks in it."""

    packet: bytes
    pool: str = ""
    """A manager of this pool; '' for the interchange itself."""


class Notes(Record, tag=1, frozen=True):
    """Packets with consecutive numbers, the last of which is this; to be confirmed."""

    number: int
    packets: list[Told]


class Relayed(Record, tag=2, frozen=True):
    """Packets that nobody keeps."""

    packets: list[Told]


class WhoAreYou(Record, tag=3, frozen=True):
    """The connection is not known: say `Follow`."""


class Refused(Record, tag=4, frozen=True):
    """The hub is at fault, in words."""

    message: str


class Show(Record, tag=5, frozen=True):
    """A client follows; it may see what is of these pools, or of its user's own sessions."""

    number: int
    question: Question
    user: str
    pools: list[str] | None
    """None: of all."""


FromHub = Follow | Confirm | Offer | Shown
ToHub = Notes | Relayed | WhoAreYou | Refused | Show
