"""The messages between a hub and whoever keeps pools, the operator, about the pools' radios; the operator connects.

It says `Hello` once a second, and to each hub that is new to it what pools want: a hub that was started again has the
receivers of before again, or, when it lost its folder, makes them anew from what the operator knows. Everything may be
said again: who has a receiver already is answered with that one.
"""

from blockyard.wire.records import Record

VERSION = 1


class Hello(Record, tag=1, frozen=True):
    """First message on each connection, and a sign of life."""

    version: int


class Listen(Record, tag=2, frozen=True):
    """Have a receiver for this pool that listens as `wanted` says; one that listens otherwise is shut."""

    pool: str
    wanted: str
    """A radio's config as JSON: its kind, and the settings that somebody asked for."""
    known: str = ""
    """The complete config with which a hub answered this before, if it is known: for the same address and keys."""


class Shut(Record, tag=3, frozen=True):
    """The pool is no more, or wants no radio: shut its receiver, forget its keys."""

    pool: str


class Here(Record, tag=1, frozen=True):
    """Answer to `Hello`, and to `Shut`."""

    opening: str
    """Of this process: another one means another hub."""
    pools: list[str]
    """That have a receiver."""


class Listening(Record, tag=2, frozen=True):
    """Answer to `Listen`: what the senders of this pool must be given."""

    pool: str
    wanted: str
    radio: str
    """The complete config as JSON, keys included."""


class NotListening(Record, tag=3, frozen=True):
    """Answer to `Listen`: there is no receiver, and why, in words."""

    pool: str
    wanted: str
    message: str


class Refused(Record, tag=4, frozen=True):
    """Who speaks is at fault, in words."""

    message: str


FromOperator = Hello | Listen | Shut
ToOperator = Here | Listening | NotListening | Refused
