"""What a client on threads shares with one of an interchange: the handle on its pool, views, names of tasks."""

import asyncio
import re
import traceback
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard, ConfigError, UnknownPool
from blockyard.ids import parse_task_name

LONG = 30.0


def test_its_one_pool_has_a_handle_without_blocks() -> None:
    with Client.threads(2) as client:
        pool = client.pool()
        assert pool is client.pool("default"), "so that what it counts is the same for all who ask"
        assert (pool.label, pool.workers_per_node, pool.status(), pool.scale_out(1)) == ("default", 2, {}, [])
        assert pool.submit(pow, {}, 2, 10).result(LONG) == 1024
        with pytest.raises(UnknownPool, match="pool 'gpu': a client on threads has one pool, 'default'"):
            client.pool("gpu")


def test_it_needs_no_number_of_threads() -> None:
    with Client.threads() as client:
        assert client.pool().workers_per_node >= 5, "as many as a ThreadPoolExecutor"
        assert client.submit(pow, 2, 10).result(LONG) == 1024


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"threads": 0}, "threads=0; give a whole number from 1"),
        ({"threads": "4"}, "threads='4'; give a whole number from 1"),
        ({"initialiser": print}, r"Client.threads: unknown 'initialiser'; did you mean 'initializer'\?"),
        ({"workers": 4}, "Client.threads: unknown 'workers'; there are: .*threads"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Client.threads(**arguments)


def test_a_key_names_one_task_as_it_does_elsewhere() -> None:
    with Client.threads(1) as client:
        keyed = client.options(key="fit-17")
        with pytest.raises(ConfigError, match="key names one task"):
            keyed.submit_many(abs, [-1])
        with pytest.raises(ConfigError, match="key names one task"):
            keyed.starmap(abs, [(-1,)])


def test_a_view_for_coroutines_takes_options() -> None:
    async def main(client: Client) -> int:
        return await client.asyncio.options(priority=5, name="fit").submit(pow, 2, 10)

    with Client.threads(1) as client:
        assert asyncio.run(main(client)) == 1024


def test_repr_and_explain_name_a_task_as_the_command_line_does() -> None:
    with Client.threads(1) as client:
        future = client.submit(pow, 2, 10)
        assert future.result(LONG) == 1024
        for said in (repr(future), future.explain()):
            found = re.search(r"[0-9a-f]+-[0-9]+", said)
            assert found is not None, said
            assert parse_task_name(found[0]) == future.task


def test_an_engine_that_broke_says_so_again_and_again_with_a_traceback_as_short_as_at_first() -> None:
    def fail() -> None:
        raise OSError("no device")

    with Client.threads(1, initializer=fail) as client:
        client.submit(pow, 2, 10).exception(LONG)
        lengths = []
        for _ in range(3):
            with pytest.raises(BrokenBlockyard) as caught:
                client.submit(pow, 2, 10)
            lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
        assert len(set(lengths)) == 1, lengths
