"""Everything that is wrong with a workflow, before anything runs: all faults at once, each with path and reason.

Pure, and the same for `blockyard lint`, `blockyard run`, Python and the operator. What only a cluster or an interchange
knows (whether a pool exists, whether a node has as many cores) is theirs to say.

The ways in are `documents`, for an object of a file, and `specs`, for a spec. They ask `parameters`, `templates`, and
`steps`, which looks at each step: `kinds` and `sweeps` judge what it says by itself, `references` and `conditions` what
it names, `needs` what it waits for.
"""
