"""What a pool's workers call once, before their first task, packed."""

import pkgutil

from blockyard.blocks.pool import LocalPool
from blockyard.payload import dump_function


def packed_initializer(pool: LocalPool) -> bytes | None:
    """The call that a pool asks for, packed; None when it asks for none. Raises what packing raises."""
    function = pool.initializer or (_Named(pool.worker_init) if pool.worker_init else None)
    return None if function is None else dump_function(_Initializer(function, pool.initargs))


class _Initializer:
    """A call without arguments, for workers to make once. They see by what it wraps which globals it binds."""

    def __init__(self, function: object, arguments: tuple[object, ...]) -> None:
        self.__wrapped__ = function
        self.arguments = arguments

    def __call__(self) -> None:
        self.__wrapped__(*self.arguments)  # type: ignore[operator]  # LocalPool checked that it is callable


class _Named:
    """A function by its reference, ``module:function``, which is imported where it is called."""

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def __call__(self, *arguments: object) -> None:
        pkgutil.resolve_name(self.reference)(*arguments)
