"""What the interchange decides. Nothing here does I/O, reads a clock or draws a random number.

`reactor` is the way in: events change the `state`, and one `turn` afterwards yields all effects of the events of one
poll, batched. The rules live in one file per question: `submit`, `matching`, `outcomes`, `managers`, `sessions`,
`timers`, `replay`.
"""
