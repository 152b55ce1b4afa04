"""How an answer to a client's question goes out; what the answers are is left to `control` and `output`."""

import msgspec

from blockyard.wire import client as wire
from blockyard.wire import control as asked
from blockyard_interchange.core.state import Session, State

_encode = msgspec.msgpack.Encoder().encode


def reply(state: State, session: Session, number: int, answer: asked.Answer) -> None:
    """Answer the question that this session gave this number."""
    state.effects.after_clients.append((session.peer, wire.Reply(number, msgspec.Raw(_encode(answer)))))


def refuse(state: State, session: Session, number: int, kind: str, sentence: str) -> None:
    """Refuse it: who asked is at fault."""
    state.counters.refused += 1
    state.effects.after_clients.append((session.peer, wire.Refused(number, kind, sentence)))
