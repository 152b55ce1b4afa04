"""Everything two processes must agree on to talk: records, messages, limits, and the codec that enforces them.

`records` are the values inside messages, `client` and `manager` the messages of the two kinds of link, `codec` turns
them into bytes and back. Transport (sockets, keys) is `blockyard.transport`'s; meaning is the reactor's.
The page for people is ``docs/protocol.md``.
"""
