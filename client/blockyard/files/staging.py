"""What a try does with its files: has them here before its function runs, and takes its outputs away afterwards.

How the files are found is the caller's: the worker hears of them as arguments are unpickled, the threads of a client
search the arguments, a workflow's step reads them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from blockyard.errors import StagingError
from blockyard.files import settings, telling, urls
from blockyard.files.cache import Begin, Cache, Held, Part
from blockyard.files.file import File, Output
from blockyard.files.port import Found, Refused, Stager, stager_of
from blockyard.files.telling import Moved
from blockyard.files.transfers import persistently, slot

T = TypeVar("T")

_MOST_VERIFIED: Final = 4096


class Brought(NamedTuple):
    """Where a file is here, and which way it came: a word of `telling`."""

    path: Path
    way: str


class Staging:
    """Of one node, as far as its processes agree in their settings."""

    def __init__(self, given: settings.StagingSettings) -> None:
        """Raises ConfigError when there can be no cache in the folder that is named."""
        self._settings = given
        self._cache = Cache(given.cache, given.cache_bytes)
        self._verified: dict[str, tuple[str, str]] = {}
        """Of files that are used where they are: hash and validator that were found to belong together."""

    def begin(self, files: Sequence[File]) -> Staged:
        """Bring all of them here, and set their paths. Raises StagingError for the first that cannot be had."""
        staged = Staged(self)
        try:
            staged.take_in(files)
        except BaseException:
            staged.close()
            raise
        return staged

    def bring(self, file: File, until: contextlib.ExitStack) -> Brought:
        """One file's path here; what keeps it there is closed with `until`. Raises StagingError."""

        def once() -> Brought:
            stager = stager_of(urls.scheme_of(file.url))
            place = stager.place(file.url)
            if place is not None:
                return Brought(self._in_place(stager, file, place), telling.IN_PLACE)
            fetched: list[Part] = []
            held = self._held(stager, file, fetched)
            path = until.enter_context(contextlib.closing(held)).path
            return Brought(path, telling.FETCHED if fetched else telling.CACHED)

        return self._persistently("stage in", file, once)

    def prepare(self, output: Output, until: contextlib.ExitStack) -> Path:
        """A folder to write an output in, gone with `until`. Raises StagingError when it could not be taken away."""

        def once() -> Path:
            if not stager_of(urls.scheme_of(output.url)).writes:
                raise Refused("its scheme can be read only")
            return until.enter_context(self._cache.writing())

        return self._persistently("prepare", output, once)

    def take_away(self, output: Output) -> None:
        """Put what a function wrote where it belongs. Raises StagingError."""

        def store() -> None:
            stager = stager_of(urls.scheme_of(output.url))
            with slot(self._cache.locks, self._settings.transfers):
                stager.store(output.path, output.url)

        self._persistently("stage out", output, store)

    def _in_place(self, stager: Stager, file: File, place: Path) -> Path:
        found = stager.look(file.url)
        proof = (file.sha256, found.validator)
        if file.sha256 and self._verified.get(file.url) != proof:
            with place.open("rb") as opened:
                _verify(file, hashlib.file_digest(opened, "sha256").hexdigest(), found.size_bytes or 0)
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.clear()
            self._verified[file.url] = proof
        return place

    def _held(self, stager: Stager, file: File, fetched: list[Part]) -> Held:
        """A copy; what was fetched for it is added to `fetched`."""

        def fetch_as(found: Found, begin: Begin) -> Part:
            fetched.append(self._fetch(stager, file, found, begin))
            return fetched[-1]

        if file.sha256:
            return self._cache.hold(
                _key("sha256", file.sha256, file.name),
                file.name,
                lambda begin: fetch_as(stager.look(file.url), begin),
            )
        found = stager.look(file.url)
        fetch = functools.partial(fetch_as, found)
        if not found.validator:
            return self._cache.hold_once(file.name, fetch)
        return self._cache.hold(_key(file.url, found.validator, str(found.size_bytes)), file.name, fetch)

    def _fetch(self, stager: Stager, file: File, found: Found, begin: Begin) -> Part:
        """The whole file, as a part that is still open."""
        with slot(self._cache.locks, self._settings.transfers):
            part = begin(found.size_bytes)
            if file.sha256:
                part.hash = hashlib.sha256()
            try:
                stager.fetch(file.url, part)
            except Exception as error:
                all_of_it = "" if found.size_bytes is None else f" of {found.size_bytes}"
                error.add_note(f"{part.count}{all_of_it} bytes had come")
                raise
            if found.size_bytes is not None and part.count != found.size_bytes:
                raise OSError(f"{part.count} bytes came of {found.size_bytes}")
            if part.hash is not None:
                _verify(file, part.hash.hexdigest(), part.count)
            elif stager.look(file.url) != found:
                raise OSError("it was changed while it was read")
            return part

    def _persistently(self, what: str, file: File, act: Callable[[], T]) -> T:
        return persistently(what, file.url, self._settings.tries, self._settings.backoff, act)


class Staged:
    """The files of one try."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._process = os.getpid()
        self._until = contextlib.ExitStack()
        self._outputs: dict[str, Output] = {}
        """By URL; several objects may name one."""

    def take_in(self, files: Sequence[File]) -> None:
        """See `Staging.begin`."""
        places: dict[File, Path] = {}
        moved: list[Moved] = []
        try:
            for file in files:
                if file not in places:
                    places[file] = self._place(file) if isinstance(file, Output) else self._bring(file, moved)
                file.stage(places[file])
        finally:
            telling.tell(moved)

    def _bring(self, file: File, moved: list[Moved]) -> Path:
        began = time.monotonic()
        path, way = self._staging.bring(file, self._until)
        seconds = time.monotonic() - began
        moved.append(Moved("input", file.url, path.stat().st_size, file.sha256, way, seconds))
        return path

    def _place(self, output: Output) -> Path:
        """Where an output is to be written: in a folder of its own, since several may have one name."""
        self._outputs[output.url] = output
        return self._staging.prepare(output, self._until) / output.name

    def take_out(self) -> None:
        """The function has succeeded: put its outputs where they belong.

        Raises StagingError, before any is put anywhere when one is missing.
        """
        if os.getpid() != self._process:
            return  # a process that the function forked, and that came back from it
        for output in self._outputs.values():
            if not output.path.is_file():
                raise StagingError(_not_written(output), urls.shown(output.url))
        moved: list[Moved] = []
        try:
            for output in self._outputs.values():
                began, size_bytes = time.monotonic(), output.path.stat().st_size
                self._staging.take_away(output)
                seconds = time.monotonic() - began
                moved.append(Moved("output", output.url, size_bytes, "", telling.STORED, seconds))
        finally:
            telling.tell(moved)

    def close(self) -> None:
        """Let go of all; idempotent."""
        if os.getpid() == self._process:
            self._until.close()


def _not_written(output: Output) -> str:
    beside = sorted(entry.name for entry in output.path.parent.glob("*") if entry != output.path)
    found = "a folder" if output.path.is_dir() else "nothing"
    return (
        f"{output!r} was not written: the function returned, and at its path {output.path} there is {found}"
        f"{', beside it ' + ', '.join(beside[:5]) if beside else ''}; have the function write a file to that path"
    )


@functools.lru_cache(maxsize=1)
def _staging_of(given: settings.StagingSettings) -> Staging:
    return Staging(given)


def stage(files: Sequence[File]) -> Staged:
    """Bring files here, by the settings of this process's environment, and set their paths.

    Raises StagingError for the first that cannot be had, ConfigError for settings that mean nothing.
    """
    return _staging_of(settings.read()).begin(files)


def call_staged(files: Sequence[File], call: Callable[[], T]) -> T:
    """Make a call while these files are here, and put its outputs where they belong. Raises as `stage` does."""
    with contextlib.closing(stage(files)) as staged:
        value = call()
        staged.take_out()
        return value


def _key(*parts: str) -> str:
    """The name of a copy; nothing of what it was made from can be read in it."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _verify(file: File, found: str, size_bytes: int) -> None:
    if found != file.sha256:
        raise Refused(
            f"its {size_bytes} bytes have the sha256 {found}, and {file.sha256} was given: it is another file by now, "
            "or the hash is wrong"
        )
