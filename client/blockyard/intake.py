"""From a call to what travels: packed, let in when there is room, numbered, and handed to the link.

All of it runs in the threads of those who submit. They pack beside each other; a number is given and handed over under
the one lock, that of `Room`, so that the link has all in the order of their numbers.
"""

import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from blockyard import errors
from blockyard.collecting import uncollected
from blockyard.ending import Ending
from blockyard.futures import FutureHome, TaskFuture
from blockyard.options import Options
from blockyard.packing import Needs, Packer
from blockyard.room import sizes_of
from blockyard.session import Link, SessionCore
from blockyard.session.link import PutValue, Submission
from blockyard.stored import Stored
from blockyard.unfinished import Unfinished
from blockyard.wire.records import Body, Function, Need, TaskSpec, body_bytes

T = TypeVar("T")

Call = tuple[tuple[Any, ...], Mapping[str, Any]]

_FIRST_ITEMS: Final = 256
"""In the first frame of a call. Each next one may hold twice as many: what follows is packed while these run."""
_ITEMS_A_FRAME: Final = 4096
"""In any frame."""
_BYTES_A_FRAME: Final = 64 * 1024 * 1024


class Intake:
    """One client's. `check_open` raises what a submission is to raise when nothing more is taken; see `Room.admit`."""

    def __init__(
        self, packer: Packer, home: FutureHome, unfinished: Unfinished, link: Link, check_open: Callable[[], None]
    ) -> None:
        self._packer = packer
        self._home = home
        self._unfinished = unfinished
        self._room = unfinished.room
        self._link = link
        self._check_open = check_open
        self._refused: dict[str, BaseException] = {}

    def submit(
        self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskFuture[Any]:
        """Pack a call and hand it over. Raises what packing raises, `QueueFull`, `BrokenBlockyard`.

        What needs a task that has failed already fails at once, as its own future, like what needs one that will fail.
        """
        memos = self._memos(options, fn, [(args, kwargs)]) if options.cache else []
        try:
            body, needs = self._packed(lambda: self._packer.call(args, kwargs, self._home))
        except errors.DependencyError as error:
            return self._failed(error)
        spec, function = self._spec(options, fn)
        size = len(body) if type(body) is bytes else body_bytes(body)
        with self._room.lock:
            self._admit(1, size if type(body) is bytes else 0, size)
            number, future = self._unfinished.add_one(options.pool, body, size)
            if needs or options.key or memos:
                _know([future], memos)
                self._hand_over(number, spec, function, [body], {0: needs} if needs else {}, options.key, memos)
            else:
                self._link.submit(Submission(number, spec, function, [body]))
        return future

    def submit_items(self, options: Options, fn: Callable[..., Any], items: Sequence[Any]) -> list[TaskFuture[Any]]:
        """``fn(item)`` for each item; frames of 256 to 4096 of them, or 64 MiB."""
        return self._submit_packed(options, fn, items, self._packer.items, spread=False)

    def submit_calls(
        self, options: Options, fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[TaskFuture[Any]]:
        """``fn(*args)`` for each tuple of arguments; frames of 256 to 4096 of them, or 64 MiB."""
        return self._submit_packed(options, fn, [tuple(call) for call in calls], self._packer.calls, spread=True)

    def put(self, value: Any) -> Stored:
        """A stand-in for a value, which is packed now and sent once. Raises what packing raises, `QueueFull`."""
        body, size_bytes, content = self._packed(lambda: self._packer.value(value))
        with self._room.lock:
            self._check_open()
            self._room.admit_value(size_bytes, self._check_open, may_wait=not self._link.is_own_thread)
            number, task = self._unfinished.number()
            self._room.take(task, body)
            self._link.submit(PutValue(number, body))
        stored = Stored(self._home, task, size_bytes, content.encode())
        finalizer = weakref.finalize(stored, self._drop, stored.task)
        finalizer.atexit = False
        return stored

    def refuse(self, pool: str, error: BaseException) -> None:
        """Let every later submission to a pool raise `error`."""
        self._refused.setdefault(pool, error)

    def _submit_packed(
        self,
        options: Options,
        fn: Callable[..., Any],
        items: Sequence[Any],
        pack: Callable[[Sequence[Any], object, int], tuple[list[Body], dict[int, Needs]]],
        *,
        spread: bool,
    ) -> list[TaskFuture[Any]]:
        options.check_for_many()
        spec, function = self._spec(options, fn)
        memos: list[list[bytes]] = []
        if options.cache:
            memos = self._memos(options, fn, [(tuple(one) if spread else (one,), {}) for one in items])
        made: list[TaskFuture[Any]] = []
        limit = max(1, min(_ITEMS_A_FRAME, self._room.limits.max_tasks))
        most = min(limit, _FIRST_ITEMS)
        start = 0
        while start < len(items):
            some = items[start : start + most]
            most_bytes = min(_BYTES_A_FRAME, self._room.limits.max_disk)
            try:
                bodies, needs = self._packed(functools.partial(pack, some, self._home, most_bytes))
            except errors.DependencyError:  # of one of them: they are packed by themselves then
                made += [self.submit(options, fn, one if spread else (one,), {}) for one in some]
                start += len(some)
                continue
            start += len(bodies)
            most = min(limit, 2 * len(bodies))  # large ones are packed no more often than they are sent
            memory, disk = sizes_of(bodies)
            with self._room.lock:
                self._admit(len(bodies), memory, disk)
                with uncollected():  # or all futures of a million were looked through again and again
                    first, fresh = self._unfinished.add(options.pool, bodies, disk)
                known = memos[len(made) : len(made) + len(bodies)]
                _know(fresh, known)
                self._hand_over(first, spec, function, bodies, needs, "", known)
            made += fresh
        return made

    def _failed(self, error: Exception) -> TaskFuture[Any]:
        with self._room.lock:
            self._check_open()
            _, task = self._unfinished.number()
        future: TaskFuture[Any] = TaskFuture(self._home, task)
        self._home.complete([(future, Ending.EXCEPTION, error)])
        return future

    def _hand_over(
        self,
        first: int,
        spec: TaskSpec,
        function: Function,
        bodies: list[Body],
        needs: Mapping[int, Needs],
        key: str,
        memos: list[list[bytes]],
    ) -> None:
        given = None
        if needs:
            futures = [future for found in needs.values() for future in found]
            given = lambda: self._given(futures)  # noqa: E731
        named = {place: [future.task for future in found] for place, found in needs.items()}
        self._link.submit(Submission(first, spec, function, bodies, named, [key] if key else [], given, memos))

    def _given(self, needed: list[TaskFuture[Any]]) -> list[Need]:
        """Results that ended after their futures were packed as arguments: by now they may be collected."""
        given: dict[int, Need] = {}
        for future in needed:
            if type(future) is TaskFuture and future.done() and future.task not in given:
                try:
                    packed = future.embedded()
                except errors.DependencyError:
                    continue  # the interchange has that failure, or says that the task is unknown
                if packed is not None:
                    given[future.task] = Need(future.task, self._packer.body(bytes(packed)))
        return list(given.values())

    def _spec(self, options: Options, fn: Callable[..., Any]) -> tuple[TaskSpec, Function]:
        if self._refused and options.pool in self._refused:
            raise self._refused[options.pool].with_traceback(None)
        return self._packer.spec(options, fn)

    def _memos(self, options: Options, fn: Callable[..., Any], calls: Iterable[Call]) -> list[list[bytes]]:
        from blockyard.memo import memos_of  # costs nothing to those who do not use it

        return memos_of(options, fn, calls)

    def _admit(self, count: int, memory: int, disk: int) -> None:
        """Wait for room, under the lock."""
        self._check_open()
        self._room.admit(count, memory, disk, self._check_open, may_wait=not self._link.is_own_thread)

    def _packed(self, pack: Callable[[], T]) -> T:
        """Pack; when there is no room for large bodies, wait for some."""
        try:
            return pack()
        except errors.BlobsFull:
            return self._room.packed(pack, self._check_open, may_wait=not self._link.is_own_thread)

    def _drop(self, task: int) -> None:
        """Free a value, in the link's thread: this one may hold the lock, as a finalizer runs anywhere."""

        def drop(core: SessionCore) -> list[bytes]:
            self._room.free([task])
            return core.collect([task])

        self._link.order(drop)


def _know(futures: list[TaskFuture[Any]], memos: list[list[bytes]]) -> None:
    """Let futures of cached tasks be arguments of others."""
    for future, memo in zip(futures, memos, strict=False):
        future.memo = memo[0]
