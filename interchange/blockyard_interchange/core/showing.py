"""What clients follow: their questions go on to the hub, and its answers come back to them. Monitoring's live stream.

Nothing of it is kept here: a question that is open names the place behind which its client wants to see more, so that
a client, or a hub, that is there again goes on where it was. Which events that are, and what of them a client may see,
is the hub's to look up; by which rights, is said here.
"""

from typing import Final

from blockyard.ids import SessionId
from blockyard.wire import control as asked
from blockyard.wire import hub
from blockyard.wire.client import Reply
from blockyard.wire.monitoring import VERSION
from blockyard_interchange.core import polling, rights
from blockyard_interchange.core.answering import refuse, reply
from blockyard_interchange.core.asked import Show
from blockyard_interchange.core.state import Session, State

_MOST_OF_SESSION: Final = 64
_SILENT_SECONDS: Final = 5.0
"""Of a hub, which says `Offer` once a second; then there is none."""


def ask(state: State, session: Session, number: int, question: asked.Follow, now: float) -> None:
    """Pass a question on to the hub, with what this client may see."""
    others = [pool for pool in question.pools if not rights.may_use(state, session, pool)]
    if state.notes is None:
        refuse(state, session, number, "monitoring", "events: monitoring is off, so there is no hub")
        return
    if others:
        refuse(state, session, number, "pool", rights.not_allowed(state, session, others[0]))
        return
    if not state.asked.hub_peer or now - state.asked.hub_heard_at > _SILENT_SECONDS:
        state.asked.hub_peer = b""
        reply(state, session, number, asked.Unknown("events: no hub with a sink 'stream' is there, or not yet"))
        return
    if sum(show.session == session.id for show in state.asked.shows.values()) >= _MOST_OF_SESSION:
        refuse(
            state, session, number, "request", f"events: {_MOST_OF_SESSION} questions of this client are open already"
        )
        return
    own = polling.fresh_number(state)
    limit = state.limits.get(session.user)
    message = hub.Show(own, question, session.user, None if limit is None else sorted(limit))
    state.asked.shows[own] = Show(session.id, number, message)
    state.effects.after_hub.append((state.asked.hub_peer, message))


def from_hub(state: State, peer: bytes, message: hub.Offer | hub.Shown, now: float) -> None:
    """One message of a connection that shows."""
    match message:
        case hub.Offer(version) if version != VERSION:
            sentence = f"the hub speaks version {version} of monitoring, the interchange {VERSION}"
            state.effects.after_hub.append((peer, hub.Refused(sentence)))
        case hub.Offer():
            is_new = peer != state.asked.hub_peer
            state.asked.hub_peer, state.asked.hub_heard_at = peer, now
            if is_new:
                state.effects.after_hub += [(peer, show.message) for show in state.asked.shows.values()]
        case hub.Shown(number, answer):
            show = state.asked.shows.pop(number, None)
            session = state.sessions.get(show.session) if show is not None else None
            if show is not None and session is not None and session.connected:
                state.effects.after_clients.append((session.peer, Reply(show.number, answer)))


def forget(state: State, session: SessionId) -> None:
    """This client is not there; if it comes again, it asks again."""
    for key in [key for key, show in state.asked.shows.items() if show.session == session]:
        del state.asked.shows[key]
