"""Hooks: code that runs when something happens to a managed task. Each executor has its own.

Those of one event run in the order they were added. One that fails is recorded and harms neither the task nor the
other hooks. A hook that is a coroutine function is run to its end before the next one.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from blockyard.errors import ConfigError
from blockyard.managed.records import Failure
from blockyard.managed.signals import Event, Point, Signal, event_named

if TYPE_CHECKING:
    from blockyard.managed.executor import BaseExecutor


FAULTS: Final = (Exception, SystemExit, asyncio.CancelledError)
"""What hooks, tasklets, sinks and overridden steps may raise without harm to this process: some code ends by
`sys.exit`, a coroutine may be cancelled. What this process itself is ended by is none of them."""


class HookEvent(msgspec.Struct, frozen=True):
    """What happened."""

    event: Event
    contents: Any = None
    """For a signal what came with it, see docs/managed-protocol.md; for a `Point` what it says there."""
    rank: int = 0
    id: int = 0
    """Of a request, by which its answer finds who asked. The program's own is another."""
    at: float = 0.0
    """UTC epoch seconds."""


Hook: TypeAlias = Callable[["BaseExecutor", HookEvent], "Awaitable[None] | None"]


class Hooks:
    """The hooks of one executor."""

    def __init__(self) -> None:
        self._hooks: dict[Event, list[Hook]] = {}
        self._failures: list[Failure] = []

    def add(self, event: str | Signal | Point, hook: Hook, *, replace: bool = False) -> None:
        """Add one. `replace`: it takes the place of all others of this event, as every hook does in LUTE.

        Raises ConfigError for an event that there is not, and for a hook that can't be called.
        """
        if not callable(hook):
            raise ConfigError(f"hook of {event}: {hook!r} is no function")
        known = event_named(str(event))
        if replace:
            self._hooks[known] = [hook]
        else:
            self._hooks.setdefault(known, []).append(hook)

    def has(self, event: Event) -> bool:
        """Whether anybody wants to know."""
        return event in self._hooks

    def take_failures(self) -> list[Failure]:
        """Those since the last look."""
        found, self._failures = self._failures, []
        return found

    def run(self, executor: BaseExecutor, event: HookEvent) -> None:
        """Run all hooks of this event."""
        for hook in self._hooks.get(event.event, ()):
            try:
                returned = hook(executor, event)
                if inspect.isawaitable(returned):
                    _finish(returned)
            except FAULTS as error:  # the rim: a hook is the user's code, and must not end the task
                name = getattr(hook, "__qualname__", repr(hook))
                message = f"{type(error).__name__}: {error}"
                self._failures.append(Failure(what=f"hook {name}", where=event.event.value, message=message))


def _finish(awaitable: Awaitable[None]) -> None:
    async def all_of_it() -> None:
        await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(all_of_it())
        return
    # Somebody's loop runs in this thread and waits for us: another thread has to run the hook.
    faults: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(all_of_it())
        except BaseException as error:  # noqa: BLE001 - handed to who waits below
            faults.append(error)

    thread = threading.Thread(target=run, name="blockyard-hook")
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
