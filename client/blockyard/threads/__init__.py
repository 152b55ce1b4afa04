"""The engine behind `Client.threads(n)`: the same promises on threads of this process, without sockets or children.

For tests, for small work, and for functions that release the GIL. What differs from workers in other processes, because
threads cannot do otherwise:

- Arguments and results are handed over as they are, not pickled: a function may change its caller's objects. Futures
  are found in lists, tuples, dicts, sets and dataclasses, at any depth, and not inside other objects.
- A thread cannot be ended. `cancel()` is `False` for a running task; a task that exceeds its `timeout` or `deadline`
  fails at that moment, its thread goes on and stays busy until the function returns, and it is not retried.
- `cores` (rounded up) is how many of the threads a task occupies; `memory` is not watched; there are no accelerators,
  nodes or ranks; there is one pool, ``default``. Nothing is journaled, so `idempotent` has no meaning.

`queue` decides which task runs next and is pure; `core` carries tasks through; `crew` is the threads; `attempt` runs a
try; `arguments` finds futures; `engine` is what a client holds.
"""

from __future__ import annotations

from blockyard.threads.engine import ThreadEngine

__all__ = ["ThreadEngine"]
