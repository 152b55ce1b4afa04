"""What a manager decides. Pure: no I/O, no clock, no randomness; events come in, effects go out as values.

`tries` are what it holds, `workers` what it knows of each worker, `state` all tables together. `feeding` gives tries to
workers, `balance` takes them back from busy ones, `ending` stops tries, `reports` handles what workers say and how they
die, `link` is the conversation with the interchange, and `manager` is the door through which all events come.
"""
