"""Values that clients put: tasks that ended before they began. They are needed, collected and freed like others.

Large ones are blobs named by their content, so that equal values of several clients are one file. It goes when the last
task that ended with it does.
"""

from blockyard.ids import MAX_NUMBER, FunctionId, TaskId, task_id
from blockyard.wire import client as wire
from blockyard.wire.records import Body, Function, Outcome, Status, TaskSpec, blob_bytes, blob_names, body_bytes
from blockyard_interchange.core.entries import Stored
from blockyard_interchange.core.state import FunctionEntry, Order, Session, State, Task, TaskState

_OVERHEAD_BYTES = 16
"""See `outcomes`: freeing a task takes off so much for its submission and for its outcome."""
_PUT = Function(b"put", "blockyard.put", b"", "")


def on_put(state: State, session: Session, message: wire.Put, now: float) -> None:
    """Keep a value; a repeat of one that was kept changes nothing."""
    state.unaccepted[session.id] = session
    if message.number <= session.accepted:
        state.counters.duplicates += 1
        return
    if not session.next_number <= message.task <= MAX_NUMBER:
        state.counters.refused += 1
        sentence = f"put {message.number}: task={message.task} is out of order; expected at least {session.next_number}"
        state.effects.after_clients.append((session.peer, wire.Refused(message.number, "protocol", sentence)))
        return
    at = now + state.wall_offset
    keep(state, session, message.task, message.body, at)
    session.accepted = message.number
    state.effects.entries.append(Stored(session.id, at, message.number, message.task, message.body))


def keep(state: State, session: Session, number: int, body: Body, at: float) -> None:
    """Make the task that ended with this value. Also used by replay."""
    entry = state.functions.setdefault(FunctionId(_PUT.id), FunctionEntry(_PUT))
    entry.users += 1
    order = Order(TaskSpec(_PUT.id), session, state.values, entry, 1, at)
    order.volatile = False  # values are of no pool, and always in the journal
    task = Task(TaskId(task_id(session.id, number)), order, b"")
    task.state, task.outcome = TaskState.ENDED, Outcome(task.id, 0, Status.DONE, body)
    state.tasks[task.id] = task
    session.next_number = max(session.next_number, number + 1)
    size = body_bytes(body)
    session.tasks += 1
    state.values.tasks += 1
    session.bytes += size
    state.bytes += size
    in_blobs = blob_bytes(body)
    session.blob_bytes += in_blobs
    state.blob_bytes += in_blobs
    state.live_bytes += size + 2 * _OVERHEAD_BYTES
    for name in blob_names(body):
        state.shared[name] = state.shared.get(name, 0) + 1


def unlink(state: State, body: Body) -> None:
    """Have the blobs of a body removed, except those that other values share."""
    for name in blob_names(body):
        left = state.shared.get(name, 1) - 1
        if left:
            state.shared[name] = left
        else:
            state.shared.pop(name, None)
            state.effects.unlink.append(name)
