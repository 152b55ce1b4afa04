"""A pool as it is written on the command line: ``NAME=8``, or ``NAME=FIELD=VALUE,FIELD=VALUE``."""

from collections.abc import Mapping
from typing import Final

import click
import msgspec

from blockyard.blocks.faults import PoolInvalid
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.pools import NO_POOL_NAME, is_pool_name
from blockyard.suggestion import nearest

_SHORT: Final[Mapping[str, str]] = {"workers": "workers_per_node", "memory": "memory_per_worker"}
"""Short names of fields, for those that are typed most."""
_SEVERAL: Final = frozenset({"accelerators", "launcher_options", "preload"})
"""Fields that hold several words, also when there is one."""


def read_pool(text: str) -> tuple[str, LocalPool]:
    """Name and settings of a pool. Several values of one field are parted by '+'.

    Raises click.BadParameter that names each field at fault.
    """
    name, mark, spec = text.partition("=")
    if not mark or not name or not spec:
        raise click.BadParameter(f"{text!r}: write NAME=8 or NAME=workers=8,max_blocks=4", param_hint="--pool")
    if not is_pool_name(name):
        raise click.BadParameter(f"{name!r} {NO_POOL_NAME}", param_hint="--pool")
    if "=" not in spec:
        spec = f"workers={spec},min_blocks=1,init_blocks=1,max_blocks=1"
    table: dict[str, object] = {}
    for item in spec.split(","):
        key, mark, value = item.partition("=")
        if not mark:
            raise click.BadParameter(f"pool {name!r}: {item!r} lacks '='; write FIELD=VALUE", param_hint="--pool")
        field = _SHORT.get(key, key)
        if field not in LocalPool.__struct_fields__:
            near = nearest(key, (*_SHORT, *LocalPool.__struct_fields__))
            raise click.BadParameter(f"pool {name!r}: {key!r} is unknown{near}", param_hint="--pool")
        table[field] = _value(value, several=field in _SEVERAL)
    try:
        return name, LocalPool.read(table)
    except PoolInvalid as invalid:
        faults = "; ".join(f"{fault.field}: {fault.problem}" for fault in invalid.faults)
        raise click.BadParameter(f"pool {name!r}: {faults}", param_hint="--pool") from invalid


def _value(text: str, *, several: bool) -> object:
    if "+" in text:
        return tuple(text.split("+"))
    try:
        return msgspec.json.decode(text, type=int | float | bool)
    except msgspec.DecodeError:
        return (text,) if several else text
