"""The configuration of a local pool: sensible as it is, and all faults at once when it is not."""

import math
import pickle
from typing import Any

import pytest

from blockyard import Client
from blockyard.blocks import errors, scaling
from blockyard.blocks.errors import ErrorLimits
from blockyard.blocks.faults import PoolInvalid
from blockyard.blocks.pool import CHECKS, Durability, LocalPool, parse_bytes
from blockyard.blocks.pools import read_pools
from blockyard.errors import ConfigError


def test_a_pool_needs_no_settings_at_all() -> None:
    pool = LocalPool()
    assert (pool.slots_per_block, pool.max_blocks, pool.durability) == (1, 1, Durability.JOURNAL)


def test_every_field_is_checked() -> None:
    assert set(CHECKS) == set(LocalPool.__struct_fields__)


@pytest.mark.parametrize(
    "field, value",
    [
        ("workers_per_node", 0),
        ("workers_per_node", True),
        ("workers_per_node", math.nan),
        ("workers_per_node", "4"),
        ("workers_per_node", 4097),
        ("nodes_per_block", 0),
        ("nodes_per_block", 1025),
        ("min_blocks", 100_001),
        ("init_blocks", 100_001),
        ("max_blocks", 100_001),
        ("warm_blocks", 100_001),
        ("nodes_per_block", 1.5),
        ("min_blocks", -1),
        ("init_blocks", -1),
        ("max_blocks", 0),
        ("warm_blocks", -1),
        ("parallelism", 1.5),
        ("idle_timeout", -1),
        ("start_cost", math.inf),
        ("strategy", "autoo"),
        ("strategy", 7),
        ("error_policy", "nonesuch"),
        ("error_limits", 3),
        ("error_limits", ErrorLimits(threshold=0, pause=-1)),
        ("launcher", "slurm"),
        ("launcher_options", "-q"),
        ("walltime", 0),
        ("drain_timeout", -1),
        ("register_timeout", 0),
        ("cores_per_worker", 0),
        ("memory_per_worker", "2 Gigs"),
        ("memory_per_worker", 0),
        ("accelerators", -1),
        ("accelerators", ("gpu0", "")),
        ("accelerators", ("gpu0", "gpu1,gpu2")),
        ("accelerators", ("gpu0", "gpu0")),
        ("accelerators", "gpu0"),
        ("initializer", "module:function"),
        ("initargs", [1]),
        ("worker_init", "just a sentence"),
        ("worker_init", "module"),
        ("preload", ("numpy", "not a module")),
        ("preload", "numpy"),
        ("max_tasks_per_worker", 0),
        ("durability", "disk"),
    ],
)
def test_a_bad_value_is_refused_with_its_field(field: str, value: Any) -> None:
    with pytest.raises(PoolInvalid) as raised:
        LocalPool(**{field: value})
    assert raised.value.fields == (field,)
    assert f"{field}: " in str(raised.value)


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(PoolInvalid) as raised:
        LocalPool(workers_per_node=0, parallelism=2, durability="disk", max_blocks=0)  # type: ignore[arg-type]
    assert raised.value.fields == ("workers_per_node", "max_blocks", "parallelism", "durability")
    assert "4 faults" in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


@pytest.mark.parametrize(
    "settings, field",
    [
        ({"min_blocks": 3, "max_blocks": 2}, "min_blocks"),
        ({"init_blocks": 3, "max_blocks": 2}, "init_blocks"),
        ({"warm_blocks": 3, "max_blocks": 2}, "warm_blocks"),
        ({"walltime": 20, "drain_timeout": 30}, "walltime"),
        ({"initializer": print, "worker_init": "a:b"}, "worker_init"),
        ({"initargs": (1,)}, "initargs"),
        ({"accelerators": 3, "max_blocks": 2}, "accelerators"),
        ({"accelerators": ("a", "b"), "nodes_per_block": 4}, "accelerators"),
    ],
)
def test_fields_must_fit_together(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(PoolInvalid) as raised:
        LocalPool(**settings)
    assert raised.value.fields == (field,)


def test_accelerators_are_shared_out_among_the_nodes_of_all_blocks() -> None:
    named = LocalPool(accelerators=tuple("abcdef"), max_blocks=3, nodes_per_block=2)
    assert named.accelerators_per_node == 1
    assert LocalPool(accelerators=8, max_blocks=2).accelerators_per_node == 4
    assert LocalPool().accelerators_per_node == 0


def test_functions_are_taken_for_names() -> None:
    pool = LocalPool(strategy=scaling.simple, error_policy=errors.none, initializer=print, initargs=("up",))
    assert pool.strategy is scaling.simple


def test_a_table_of_a_file_is_read() -> None:
    pool = LocalPool.read(
        {
            "workers_per_node": 4,
            "preload": ["numpy", "numpy.linalg"],
            "durability": "fsync",
            "memory_per_worker": "1.5Gi",
            "error_limits": {"threshold": 5},
        }
    )
    assert (pool.workers_per_node, pool.preload, pool.durability) == (4, ("numpy", "numpy.linalg"), Durability.FSYNC)
    assert pool.memory_per_worker_bytes == 1.5 * 2**30
    assert pool.error_limits == ErrorLimits(threshold=5)


def test_an_unknown_key_of_a_file_names_the_nearest_one_beside_all_other_faults() -> None:
    with pytest.raises(PoolInvalid) as raised:
        LocalPool.read({"max_block": 3, "parallelism": 2, "error_limits": {"threshold": "x"}})
    assert raised.value.fields == ("max_block", "error_limits", "parallelism")
    assert "did you mean 'max_blocks'?" in str(raised.value)


def test_the_policy_carries_what_a_strategy_needs() -> None:
    pool = LocalPool(workers_per_node=4, nodes_per_block=2, min_blocks=1, init_blocks=2, max_blocks=3, parallelism=0.5)
    policy = pool.policy
    assert (policy.slots_per_block, policy.min_blocks, policy.init_blocks, policy.max_blocks) == (8, 1, 2, 3)
    assert all(getattr(policy, name) == getattr(pool, name) for name in ("parallelism", "idle_timeout", "start_cost"))


@pytest.mark.parametrize(
    "amount, count",
    [(7, 7), ("7", 7), ("1k", 1000), ("1Ki", 1024), ("2.5G", 2_500_000_000), (" 1 Mi ", 2**20), ("1Ti", 2**40)],
)
def test_amounts_of_memory_are_read(amount: str | int, count: int) -> None:
    assert parse_bytes(amount) == count


@pytest.mark.parametrize("amount", ["", "Gi", "1gb", "-1", "1e9", "1 2"])
def test_what_is_no_amount_is_refused_with_the_units(amount: str) -> None:
    with pytest.raises(ValueError, match="is no amount of memory; write bytes or a number with k, M, G"):
        parse_bytes(amount)


def test_pools_are_given_as_records_or_as_tables() -> None:
    given = LocalPool(max_blocks=3)
    pools = read_pools({"a": given, "b": {"workers_per_node": 2, "preload": ["json"]}})
    assert pools == {"a": given, "b": LocalPool(workers_per_node=2, preload=("json",))}


@pytest.mark.parametrize(
    "pools, sentence",
    [
        ({"gpu": {"wrkers_per_node": 2}}, r"gpu.wrkers_per_node: unknown; did you mean 'workers_per_node'\?"),
        ({"gpu": {"max_blocks": 0}}, "gpu.max_blocks: is 0"),
        ({"gpu": 4}, "gpu: is 4; give a LocalPool, or a table of its settings"),
        ({"my gpu": {}}, "'my gpu': is no name for a pool"),
        ({"a/b": {}}, "'a/b': is no name for a pool"),
        ({"": {}}, "'': is no name for a pool"),
    ],
)
def test_what_is_wrong_with_one_of_several_pools_names_the_pool(pools: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PoolInvalid, match=sentence):
        read_pools(pools)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"pools": ["cpu"]}, r"pools=\['cpu'\]; give a table of pools by name"),
        ({"limits": {"max_tasks": 3}}, r"limits=\{'max_tasks': 3\}; give blockyard.serving.Limits"),
    ],
)
def test_an_argument_of_another_kind_is_refused_in_words(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Client.local(**given)


@pytest.mark.parametrize("name, nearest", [("wokers", "workers"), ("jurnal", "journal"), ("max_block", "max_blocks")])
def test_an_unknown_argument_of_a_local_client_names_the_nearest_one(name: str, nearest: str) -> None:
    given: dict[str, Any] = {name: 2}
    with pytest.raises(ConfigError, match=rf"Client.local: unknown '{name}'; did you mean '{nearest}'\?"):
        Client.local(**given)
