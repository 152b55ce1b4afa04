"""Blocks: what is requested, drained, lost and paid for as a whole.

The decisions (`states`, `scaling`, `errors`, `ledger`) are pure: clock and facts come in as arguments, verdicts go
out as values. The rim (`process_watch`, `local_channel`, `ssh_channel`, `provider`, `executor`) starts processes and
carries the verdicts out. What a block's program does, and how tasks reach it, is left to the engine (`engine`).
"""
