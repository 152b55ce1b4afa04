"""A fresh journal in each of the stores, and the PostgreSQL below one of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockyard_interchange.journal import MemoryStore, PostgresStore, SQLiteStore
from tests.contract.journal.places import AnyStore, Place
from tests.fixtures.postgres import Postgres, postgres

__all__ = ["lasting_place", "opened", "place", "postgres"]

ON_POSTGRES = pytest.param("postgres", marks=pytest.mark.needs_postgres)

_numbers = itertools.count()


@pytest.fixture(params=["memory", "sqlite", ON_POSTGRES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A journal that nobody has opened yet, in each of the three stores."""
    return _place(request, tmp_path)


@pytest.fixture(params=["sqlite", ON_POSTGRES])
def lasting_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The same, in the stores that outlive their process."""
    return _place(request, tmp_path)


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[[], AnyStore]]:
    """Make and open stores on the place; all are closed after the test."""
    stores: list[AnyStore] = []

    def open_one() -> AnyStore:
        store = place.store()
        stores.append(store)
        store.open()
        return store

    yield open_one
    for store in stores:
        store.close()


def _place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    name = f"test-{next(_numbers)}"
    match request.param:
        case "memory":
            only = MemoryStore()
            return Place("memory", "memory:", name, lambda: only)
        case "sqlite":
            path = tmp_path / "journal.db"
            return Place("sqlite", f"sqlite://{path}", name, lambda: SQLiteStore(path))
        case _:
            server: Postgres = request.getfixturevalue("postgres")
            return Place("postgres", server.url, name, lambda: PostgresStore(server.url, name))
