"""How much each client may have when all together come near the limits of the whole.

Far from them everybody has the full allowance, `max_tasks`, `max_bytes` and `max_disk`. Near them, what is left is
shared equally among the clients that are connected, on top of what each has. The shares lag behind by what is on its
way, so the limits of the whole hold roughly; those of a client are its own to keep.
"""

from blockyard.wire.client import Credit
from blockyard_interchange.core.state import State


def ration(state: State) -> None:
    """Tell each connected client its share, if it changed by so much that it matters."""
    settings = state.settings
    clients = [session for session in state.sessions.values() if session.connected]
    if not clients:
        return
    tasks = max(0, settings.total_tasks - len(state.tasks)) // len(clients)
    memory = max(0, settings.total_bytes - state.bytes + state.blob_bytes) // len(clients)
    disk = max(0, settings.total_disk - state.bytes) // len(clients)
    full = Credit(settings.max_tasks, settings.max_bytes, settings.max_disk)
    for session in clients:
        share = Credit(
            max(1, min(full.max_tasks, session.tasks + tasks)),
            max(1, min(full.max_bytes, session.bytes - session.blob_bytes + memory)),
            max(1, min(full.max_disk, session.bytes + disk)),
        )
        if _matters(session.credit or full, share, full):
            session.credit = share
            state.effects.after_clients.append((session.peer, share))


def _matters(before: Credit, now: Credit, full: Credit) -> bool:
    if now == before:
        return False
    return (
        now == full
        or abs(now.max_tasks - before.max_tasks) > before.max_tasks // 8
        or abs(now.max_bytes - before.max_bytes) > before.max_bytes // 8
        or abs(now.max_disk - before.max_disk) > before.max_disk // 8
    )
