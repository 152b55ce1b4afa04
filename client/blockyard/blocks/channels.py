"""Where a provider's programs run: a program as a channel is given it, and the port that every channel has.

The channels are `local_channel.LocalChannel` (this machine) and `ssh_channel.SSHChannel` (another one). A channel
starts programs, tells at once when they end, signals them and shows their logs. It knows nothing of blocks' states; a
provider reads its events. A program is a leader with all that it started: it is signalled as a process group, and
when the leader ends, what is left of the group is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from blockyard.blocks.exits import ChannelEvent
from blockyard.blocks.process_watch import Appointment


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run.

    `argv`: the program and its arguments, never a shell's line. `env`: set on top of what the channel gives every
    program. `log`: a file here that receives stdout and stderr; made with mode 0600. `binds_itself`: the program asks
    for PR_SET_PDEATHSIG itself, so the channel need not put `deathsig` in front of it.
    """

    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    cwd: Path | None = None
    binds_itself: bool = False


OnEvent: TypeAlias = Callable[[str, ChannelEvent], None]
"""Called with a program's key and what became known of it, from the channel's thread; must not block."""


class Channel(Protocol):
    """The port of all channels.

    Events come in order for each key: `Started`, then exactly one end; or `NotStarted` alone. A key may be used again
    once its program has ended.
    """

    @property
    def name(self) -> str:
        """What people call the place: `local`, or a host's name."""
        ...

    def open(self, on_event: OnEvent) -> None:
        """Begin to work; needed before all else. A second call is a ChannelError."""
        ...

    def start(self, key: str, program: Program) -> None:
        """Start a program. Never waits for a network; how it went arrives as an event.

        Raises ChannelError when `key` names a program that has not ended, or the channel is not open.
        """
        ...

    def poll(self, key: str) -> ChannelEvent | None:
        """Return the last event of `key`; None before its first one, or when there is no such program."""
        ...

    def signal(self, key: str, signum: int) -> None:
        """Send a signal to the program's process group; nothing happens when it has ended."""
        ...

    def tail(self, key: str, limit_bytes: int) -> str:
        """Return the last bytes of the program's log, '' when there is none. Undecodable bytes are replaced."""
        ...

    def forget(self, key: str) -> None:
        """Drop what is remembered of a program that has ended; its log file stays."""
        ...

    def later(self, delay: float, callback: Callable[[], None]) -> Appointment:
        """Run `callback` on the channel's thread in `delay` seconds."""
        ...

    def close(self) -> None:
        """Kill what still runs, report its end, and stop. May be called twice."""
        ...
