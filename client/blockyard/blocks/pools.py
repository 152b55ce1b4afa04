"""The pools that a call names, from whatever form each is given in."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from blockyard.blocks.faults import Fault, PoolInvalid
from blockyard.blocks.pool import LocalPool
from blockyard.errors import ConfigError

_NAME = re.compile(r"[\w-][\w.-]*")
"""Files are named after a pool, and lists of pools are parted by commas."""
NO_POOL_NAME: Final = "is no name for a pool; use letters, digits, '-', '_' and '.'"


def is_pool_name(name: object) -> bool:
    """Whether a pool of this machine may be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def read_pools(given: Any) -> dict[str, LocalPool]:
    """Pools by name: each a `LocalPool`, or a table of its settings.

    Raises PoolInvalid with every fault of all of them, as POOL.FIELD.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"pools={given!r}; give a table of pools by name, such as {{'cpu': LocalPool(…)}}")
    pools: dict[str, LocalPool] = {}
    faults: list[Fault] = []
    for name, one in given.items():
        if not is_pool_name(name):
            faults.append(Fault(repr(name), NO_POOL_NAME))
        elif isinstance(one, LocalPool):
            pools[name] = one
        elif isinstance(one, Mapping):
            try:
                pools[name] = LocalPool.read(one)
            except PoolInvalid as invalid:
                faults += [Fault(f"{name}.{fault.field}", fault.problem) for fault in invalid.faults]
        else:
            faults.append(Fault(name, f"is {one!r}; give a LocalPool, or a table of its settings"))
    if faults:
        raise PoolInvalid(faults)
    return pools


def one_pool(workers: int | None, settings: Mapping[str, Any], call: Callable[..., object]) -> dict[str, LocalPool]:
    """The pool 'default' of one block, from what is left of the arguments of `call`.

    Raises ConfigError for an argument that neither `call` nor a pool knows, naming the nearest one; PoolInvalid.
    """
    for name in settings:
        if name not in LocalPool.__struct_fields__:
            raise _unknown(name, call)
    own = {"min_blocks": 1, "init_blocks": 1, "max_blocks": 1, **settings}
    return {"default": LocalPool(**(own if workers is None else {"workers_per_node": workers, **own}))}


def _unknown(name: str, call: Callable[..., object]) -> ConfigError:
    import inspect  # only for those who mistype

    from blockyard.suggestion import nearest

    known = [one.name for one in inspect.signature(call).parameters.values() if one.kind is not one.VAR_KEYWORD]
    return ConfigError(f"Client.local: unknown {name!r}{nearest(name, [*known, *LocalPool.__struct_fields__])}")
