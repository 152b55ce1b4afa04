"""The interchange: the process that holds the queue. Clients on one side, managers on the other, a journal below.

`core` decides (pure), `journal` remembers, `loop` moves frames between sockets, core and journal.
"""
