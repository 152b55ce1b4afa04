"""Who may start a try: tokens in an eventfd that a worker and its manager share.

The eventfd, in semaphore mode, counts the tries that nobody has claimed. The rules:

1. The manager adds n tokens **before** it sends a frame of n tries.
2. The worker takes one token before it starts a try, head first, in the order of arrival.
3. The manager takes tries back from the **tail**: for each token it takes, the last try not yet taken back is its own
   again. After it took any, it adds none and sends no frame until the worker has said *idle* for the last frame sent.
4. A worker that finds no token while it still has tries drops all of them and says *idle*.

Proof that every try is claimed exactly once. Let u tries have been sent since the worker was last idle; u tokens were
added. A read of an eventfd in semaphore mode is atomic and takes one or fails with EAGAIN (eventfd(2)), so of the u
tokens w went to the worker and m to the manager, w + m <= u. The worker claimed the tries 1..w (rule 2), the manager
u-m+1..u (rule 3); as w <= u - m these sets are disjoint. The worker stops only when no token is left (rule 4), and then
w + m = u, so together they are all. A token is there before its try (rule 1), so a worker that sees a try and finds no
token knows that it was taken back. Nothing is added between a steal and *idle* (rule 3), so the tokens of a later frame
can never be spent on tries already taken back. No locks, and a side that dies in between leaves the count true.

The price is one system call a try, a quarter of a microsecond. One token for several short tries would save most of it,
but then those behind one that turns out to be long could not be taken back.
"""

import os

MAX_TOKENS = 2**32
"""Far below an eventfd's limit of 2^64-2, where adding would block."""


class Tokens:
    """One end of the shared count; both ends are equal, the rules above say who does what."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int | None = None) -> None:
        """Make a new count of zero, or use the eventfd `descriptor`."""
        flags = os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self.descriptor = os.eventfd(0, flags) if descriptor is None else descriptor

    def add(self, count: int) -> None:
        """Add 1..2^32 tokens."""
        if not 0 < count <= MAX_TOKENS:
            raise ValueError(f"tokens: {count} cannot be added, 1..{MAX_TOKENS} can")
        os.eventfd_write(self.descriptor, count)

    def take_one(self) -> bool:
        """Take a token; False when there is none."""
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            return False
        return True

    def take(self, most: int) -> int:
        """Take up to `most` tokens; return how many there were."""
        taken = 0
        while taken < most and self.take_one():
            taken += 1
        return taken

    def close(self) -> None:
        """Close this end."""
        os.close(self.descriptor)
