"""What every stager must do: tests that its author runs on his own, and that we run on all of ours.

    import pytest
    from blockyard.files.suites import StagerSuite
    from my_package.attic import AtticStager

    class TestAtticStager(StagerSuite):
        @pytest.fixture
        def stager(self):
            return AtticStager()

        @pytest.fixture
        def url_of(self, attic):
            return lambda name: attic.url + quote(name)

        @pytest.fixture
        def put(self, attic):
            return attic.write  # (name, content)

`url_of` gives the URL of a name, `put` has a file of that name and content there without the stager's help, in place of
one that there is. A name may have slashes. This module does not import pytest.
"""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from blockyard.files import urls
from blockyard.files.port import Found, Refused, Stager
from blockyard.files.transfers import FINAL

UrlOf: TypeAlias = Callable[[str], str]
Put: TypeAlias = Callable[[str, bytes], None]

NAMES: Final = ("plain.txt", "two words.txt", "Ünïcode-文.bin", "100%41+a&b='c'.txt", "hash#semi;tilde~.txt")
_LARGE: Final = bytes(range(256)) * 40_000
_WITHIN: Final = 60.0


class StagerSuite:
    """Fixtures `stager`, `url_of` and `put`."""

    def test_it_reads_what_is_there_whatever_its_name(self, stager: Stager, url_of: UrlOf, put: Put) -> None:
        for name in NAMES:
            put(name, name.encode())
            found = stager.look(url_of(name))
            assert found.size_bytes in (len(name.encode()), None), name
            assert _fetched(stager, url_of(name)) == name.encode()
            assert urls.name_of(url_of(name)) == name

    def test_it_reads_empty_and_large_files_as_they_are(self, stager: Stager, url_of: UrlOf, put: Put) -> None:
        for content in (b"", _LARGE):
            put("sized.bin", content)
            assert stager.look(url_of("sized.bin")).size_bytes in (len(content), None)
            assert _fetched(stager, url_of("sized.bin")) == content

    def test_a_look_tells_another_content_from_the_same(self, stager: Stager, url_of: UrlOf, put: Put) -> None:
        put("changing.txt", b"one")
        before = stager.look(url_of("changing.txt"))
        assert isinstance(before, Found)
        assert stager.look(url_of("changing.txt")) == before
        put("changing.txt", b"three")
        after = stager.look(url_of("changing.txt"))
        assert not after.validator or after != before

    def test_what_is_not_there_is_said_to_be_so(self, stager: Stager, url_of: UrlOf) -> None:
        for act in (stager.look, lambda url: _fetched(stager, url)):
            error = _error(lambda act=act: act(url_of("nowhere/absent.txt")))  # type: ignore[misc]
            assert isinstance(error, FileNotFoundError), repr(error)

    def test_what_cannot_be_written_into_ends_the_fetch_and_nothing_else(
        self, stager: Stager, url_of: UrlOf, put: Put
    ) -> None:
        put("large.bin", _LARGE)
        error = _error(lambda: stager.fetch(url_of("large.bin"), _Full()))
        assert isinstance(error, Refused), repr(error)
        assert _fetched(stager, url_of("large.bin")) == _LARGE

    def test_several_threads_may_read_at_once(self, stager: Stager, url_of: UrlOf, put: Put) -> None:
        put("shared.bin", _LARGE)
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: found.append(_fetched(stager, url_of("shared.bin")))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_WITHIN)
        assert len(found) == 4
        assert set(found) == {_LARGE}

    def test_what_it_writes_is_there_in_folders_of_any_depth_and_again(self, stager: Stager, url_of: UrlOf) -> None:
        for name in (*NAMES, "on/the way/made.txt"):
            for content in (b"first of " + name.encode(), b"", b"last"):
                if not stager.writes:
                    error = _error(lambda name=name: _store(stager, b"", url_of(name)))  # type: ignore[misc]
                    assert isinstance(error, FINAL), repr(error)
                    return
                _store(stager, content, url_of(name))
                assert _fetched(stager, url_of(name)) == content

    def test_a_large_file_is_written_whole(self, stager: Stager, url_of: UrlOf) -> None:
        if stager.writes:
            _store(stager, _LARGE, url_of("large.bin"))
            assert stager.look(url_of("large.bin")).size_bytes in (len(_LARGE), None)
            assert _fetched(stager, url_of("large.bin")) == _LARGE

    def test_where_it_says_that_a_file_is_it_is(self, stager: Stager, url_of: UrlOf, put: Put) -> None:
        for name in NAMES:
            put(name, name.encode())
            place = stager.place(url_of(name))
            assert place is None or place.read_bytes() == name.encode()


class _Full(io.BytesIO):
    """Takes nothing."""

    def write(self, _: object, /) -> int:
        raise Refused("the suite takes no more")


def _fetched(stager: Stager, url: str) -> bytes:
    into = io.BytesIO()
    stager.fetch(url, into)
    return into.getvalue()


def _store(stager: Stager, content: bytes, url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="stager-") as folder:
        path = Path(folder, "written")
        path.write_bytes(content)
        stager.store(path, url)
        assert path.read_bytes() == content, "what was written is its owner's still"


def _error(act: Callable[[], object]) -> BaseException | None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        return error
    return None
