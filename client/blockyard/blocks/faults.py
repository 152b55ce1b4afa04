"""The errors of this room, below `BlockyardError`; each says what was asked, what was found and what to do next.

The caller's faults, the provider's and the channel's are different classes, so that a loop can tell a mistake in a
configuration (stop) from a provider that is away (try again later). All survive pickling.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from blockyard.errors import BlockyardError, ConfigError


class BlocksError(BlockyardError):
    """Base of everything that goes wrong with blocks while they are made, watched and ended."""


class IllegalTransition(BlocksError):
    """A block was said to go from one state to another that the table of transitions does not allow.

    The provider that said so is wrong: it must report an end once, and a requeued job as a new block.
    """

    def __init__(self, old: object, new: object, hint: str) -> None:
        super().__init__(old, new, hint)
        self.old = old
        self.new = new
        self.hint = hint

    def __str__(self) -> str:
        return f"a block cannot go from {self.old} to {self.new}: {self.hint}"


class ProviderError(BlocksError):
    """A provider was asked for something that it cannot do; the block in question was not started."""


class ChannelError(BlocksError):
    """A channel was set up or used wrongly. What it learns about a program is no error but an event."""


class ScalingRefused(BlocksError):
    """Blocks were asked for by hand beyond what the pool allows, or from an executor that does not run."""


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with one field: `problem` says what was found and what is wanted."""

    field: str
    problem: str


class PoolInvalid(ConfigError):
    """A pool's configuration has faults; all of them are listed, each with its field."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        noun = "fault" if len(self.faults) == 1 else "faults"
        lines = "".join(f"\n  {fault.field}: {fault.problem}" for fault in self.faults)
        return f"the pool's configuration has {len(self.faults)} {noun}:{lines}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields at fault, in the order of the record."""
        return tuple(fault.field for fault in self.faults)
