"""What a turn of the core asks the shell to do, gathered and batched over all events of one poll.

Order of execution: `before`, then one commit of `entries`, then `after`, then `unlink`. What a client hears is always
in the journal already. What a manager is told to run may run ahead of the commit, unless it must not run twice: then
it is in `after`.
"""

from dataclasses import dataclass, field

from blockyard.ids import ManagerId
from blockyard.wire import client as to_clients
from blockyard.wire import hub as to_hub
from blockyard.wire import manager as to_managers
from blockyard_interchange.core.entries import Entry


@dataclass(slots=True)
class Effects:
    """The effects of one turn."""

    before: list[tuple[bytes, to_managers.ToManager]] = field(default_factory=list)
    """(peer, message) for managers, to be sent without waiting for the commit."""
    entries: list[Entry] = field(default_factory=list)
    sync: bool = False
    """The commit must survive power loss."""
    after_managers: list[tuple[bytes, to_managers.ToManager]] = field(default_factory=list)
    after_clients: list[tuple[bytes, to_clients.ToClient]] = field(default_factory=list)
    after_hub: list[tuple[bytes, to_hub.ToHub]] = field(default_factory=list)
    recorded: dict[ManagerId, int] = field(default_factory=dict)
    """Number of the last `Outcomes` of each manager that the commit holds; told to them when there is occasion."""
    unlink: list[str] = field(default_factory=list)
    """Blobs that nobody needs after the commit."""
    ended: dict[str, int] = field(default_factory=dict)
    """How many tasks of each pool ended in this turn."""
    at: float = 0.0
    """When the turn was."""
    keys_changed: bool = False
    """After the commit, and before anybody is told of it, others are let in than before."""

    @property
    def is_urgent(self) -> bool:
        """Somebody waits for the commit."""
        return bool(self.after_managers or self.after_clients or self.keys_changed)

    @property
    def empty(self) -> bool:
        """Nothing to do."""
        return not self.keys_changed and not any(
            (
                self.before, self.entries, self.recorded, self.after_managers, self.after_clients, self.unlink,
                self.ended, self.after_hub,
            )
        )  # fmt: skip
