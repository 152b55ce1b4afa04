"""What calls are known by: the same content is the same, whatever differs counts, and what is not known is named."""

import dataclasses
import datetime as dt
import enum
import functools
import importlib
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from blockyard import plugins
from blockyard.errors import ConfigError, NotCacheable
from blockyard.files.file import File, Output
from blockyard.futures import FutureHome, TaskFuture
from blockyard.memo import id_for_memo, load_plugins, memos_of, register_memo_id
from blockyard.options import Options
from blockyard.packing import Packer
from blockyard.stored import Stored

CACHED = Options(cache=True)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Point:
    x: float
    y: Any


@dataclasses.dataclass
class Scaled:
    by: int

    @functools.cached_property
    def twice(self) -> int:
        return self.by * 2


@dataclasses.dataclass
class Series(list[int]):
    name: str = ""


class Opaque:
    """Nobody says what it is known by."""


class Zone(dt.tzinfo):
    """One that does not say which it is."""

    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)

    dst = utcoffset

    def tzname(self, _: dt.datetime | None) -> str:
        return "somewhere"


def fit(data: Any, depth: int = 3, *, verbose: Any = False, **more: Any) -> None:
    """A function with all sorts of parameters."""


def memo(*args: Any, options: Options = CACHED, function: Any = fit, **kwargs: Any) -> bytes:
    return memos_of(options, function, [(args, kwargs)])[0][0]


DIFFERENT = [
    None, True, False, 0, 1, -1, 255, 256, 2**80, 0.0, -0.0, 1.0, float("nan"), 1j, "", "a", "1", b"", b"a", b"1",
    bytearray(b"a"), [], [1], [[1]], [1, 2], [2, 1], (1, 2), {}, {1: 2}, {2: 1}, {"a": [1]}, set(), {1}, frozenset(),
    frozenset({1}), range(3), range(4), slice(1, 2), Path("a"), Path("b"), Colour.RED, Colour.BLUE, Level.LOW,
    Pair(1, 2), Pair(2, 1), Point(1, 2), Point(1, [2]), dt.date(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    dt.timedelta(1), Decimal("1"), Decimal("1.0"), np.zeros(3), np.zeros((3, 1)), np.zeros(3, "f4"),
    np.array(0.0), np.float64(0), np.float32(0), np.array(["a", "b"]), np.array([{"a": 1}], object), np.dtype("f4"),
    np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), len, sorted, fit, memo, Point, functools.partial(fit, 1),
    functools.partial(fit, 2), Path("a").joinpath, subprocess, Right(0), Right.READ, Right.READ | Right.WRITE,
    np.str_("a"), np.str_("b"), np.bytes_(b"a"), np.zeros(1, [("a", "i4")])[0], np.zeros(1, [("b", "i4")])[0],
    np.array([("x",)], [("a", object)]), np.array([("x",)], [("b", object)]),
    dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), dt.time(1), dt.time(1, fold=1),
]  # fmt: skip


def test_no_two_values_of_different_type_or_content_are_the_same() -> None:
    found: dict[bytes, object] = {}
    for value in DIFFERENT:
        key = id_for_memo(value)
        assert len(key) == 16
        assert key not in found, f"{value!r} is taken for {found[key]!r}"
        found[key] = value


@pytest.mark.parametrize(
    "one, other",
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (Point(1, [2]), Point(1, [2])),
        (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
        (np.arange(6)[::2], np.array([0, 2, 4])),
        (Path("a/b"), Path("a") / "b"),
        (float("nan"), float("nan")),
        (np.array(["a", "b"])[0], np.str_("a")),
        (np.array([("x" * 99, 1)], "O,i4")[0], np.array([("".join(["x"] * 99), 1)], "O,i4")[0]),
    ],
)  # fmt: skip
def test_equal_values_are_the_same(one: object, other: object) -> None:
    assert id_for_memo(one) == id_for_memo(other)


def test_how_arguments_are_given_does_not_count() -> None:
    assert memo(1, 2) == memo(1, depth=2) == memo(depth=2, data=1)
    assert memo(1, b=1, a=2) == memo(1, a=2, b=1)
    assert memo(1, 2) != memo(2, 1)


def test_parameters_may_be_left_out_and_versions_told_apart() -> None:
    quiet = CACHED.but(ignore_for_cache=["verbose"])
    assert memo(1, verbose=Opaque(), options=quiet) == memo(1, options=quiet)
    assert memo(1, options=CACHED.but(cache_version="2")) != memo(1)
    with pytest.raises(ConfigError, match=r"no parameter 'verbos'.*verbose"):
        memo(1, options=CACHED.but(ignore_for_cache="verbos"))


@pytest.mark.parametrize(
    "args, path",
    [
        ((Opaque(),), "fit: argument data: "),
        (([1, {"model": (Opaque(),)}],), r"fit: argument data\[1\]\['model'\]\[0\]: "),
        ((Point(1, Opaque()),), r"fit: argument data\.y: "),
        ((Pair(1, Opaque()),), r"fit: argument data\.right: "),
        ((functools.partial(fit, Opaque()),), r"fit: argument data\.args\[0\]: "),
        ((np.array([Opaque()], object),), r"fit: argument data\[0\]: "),
        ((dt.datetime(2026, 1, 1, tzinfo=Zone()),), r"fit: argument data\.tzinfo: "),
        ((Series("a"),), "fit: argument data: a .*Series is not known"),
        ((threading.Lock(),), "fit: argument data: a _thread.lock is not known"),
    ],
)  # fmt: skip
def test_what_is_not_known_by_its_content_is_refused_with_the_path_to_it(args: tuple[Any, ...], path: str) -> None:
    with pytest.raises(NotCacheable, match=path):
        memo(*args)


@pytest.mark.parametrize("base", [int, float, str, bytes, list, tuple, dict, set, frozenset, np.ndarray])
def test_a_subclass_of_what_is_known_is_not_known(base: type) -> None:
    kind = type("Own", (base,), {})
    value = np.zeros(3).view(kind) if base is np.ndarray else kind()
    with pytest.raises(NotCacheable, match="Own is not known"):
        id_for_memo(value)


def test_what_an_object_has_beside_its_fields_is_not_known() -> None:
    point, scaled = Point(1, 2), Scaled(3)
    before = memo(scaled)
    assert scaled.twice == 6
    assert memo(scaled) == before, "a cached property is made from the fields"
    point.z = 3  # type: ignore[attr-defined]
    with pytest.raises(NotCacheable, match=r"argument data\.z: an attribute that is no field of .*Point"):
        memo(point)


def test_an_object_that_is_called_and_a_method_count_by_all_code_of_the_class() -> None:
    def made(factor: int) -> Any:
        @dataclasses.dataclass
        class Local:
            by: int

            def __call__(self, value: int) -> int:
                return self.scaled(value)

            def scaled(self, value: int) -> int:
                return value * self.by * factor

        return Local(1)

    for part in (lambda one: one, lambda one: one.__call__, lambda one: functools.partial(one.__call__, 1)):
        assert memo(function=part(made(1))) == memo(function=part(made(1))) != memo(function=part(made(2)))


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotCacheable, match="contains itself"):
        memo(endless)


def test_a_type_is_registered_by_what_it_is_known_by() -> None:
    class Molecule:
        def __init__(self, formula: str, charge: int) -> None:
            self.formula, self.charge = formula, charge

    register_memo_id(Molecule, lambda one: (one.formula, one.charge))
    assert memo([Molecule("H2O", 0)]) == memo([Molecule("H2O", 0)])
    assert memo([Molecule("H2O", 0)]) != memo([Molecule("H2O", 1)])
    assert memo([Molecule("H2O", 0)]) != memo([("H2O", 0)])
    with pytest.raises(NotCacheable, match=r"argument data\[0\]\[1\]: "):
        memo([Molecule("H2O", Opaque())])  # type: ignore[arg-type]


class Strange:
    """Another distribution says what it is known by."""


def register_strange() -> None:
    register_memo_id(Strange, lambda _: "strange")


def test_a_type_that_is_not_known_is_looked_for_in_plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotCacheable):
        id_for_memo(Strange())
    found = {plugins.MEMO_IDS: [("strange", f"{__name__}:register_strange")]}
    monkeypatch.setattr(plugins, "_entry_points", lambda group: found.get(group, []))
    load_plugins.cache_clear()
    assert memo([Strange()]) == memo([Strange()])


def test_a_future_counts_by_what_its_task_is_known_by() -> None:
    home = FutureHome()
    cached, plain = TaskFuture[int](home, 1), TaskFuture[int](home, 2)
    cached.memo = b"m" * 16
    again = TaskFuture[int](home, 3)
    again.memo = b"m" * 16
    other = TaskFuture[int](home, 4)
    other.memo = b"o" * 16
    (memos,) = memos_of(CACHED, fit, [(([cached, other, again],), {})])
    assert memos[1:] == [b"m" * 16, b"o" * 16]
    assert memo(cached) == memo(again) != memo(other)
    with pytest.raises(NotCacheable, match=r"argument data\[0\]: a future of a task that is not cached"):
        memo([plain])


def test_files_count_by_address_and_digest_and_outputs_are_refused(tmp_path: Path) -> None:
    where = tmp_path / "data"
    assert memo(File(where)) == memo(File(where)) != memo(File(where, sha256="0" * 64))
    assert memo(File(where)) != memo(File(tmp_path / "other"))
    with pytest.raises(NotCacheable, match="fit: argument data: an Output"):
        memo(Output(where))


def test_a_value_that_was_put_counts_by_its_content() -> None:
    home = FutureHome()
    assert memo(Stored(home, 1, 5, b"c1")) == memo(Stored(home, 2, 5, b"c1")) != memo(Stored(home, 3, 5, b"c2"))


def test_a_function_by_value_counts_by_its_code_and_what_it_refers_to() -> None:
    def made(factor: int) -> Any:
        return lambda value: value * factor

    assert memo(1, function=made(2)) == memo(1, function=made(2)) != memo(1, function=made(3))


def test_where_a_function_by_value_stands_does_not_count() -> None:
    def made(before: str, source: str, file: str) -> Any:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(f"{before}def f(x):{source}\n", file, "exec"), names)
        return names["f"]

    first = made("", " return [x * i for i in (1, 2)]", "a.py")
    for same in (
        made("# a line more\n\n", " return [x * i for i in (1, 2)]", "a.py"),
        made("", " return [x * i for i in (1, 2)]", __file__),
        made("", "\n    # why\n    return [x * i\n            for i in (1, 2)]", "a.py"),
    ):
        assert memo(1, function=same) == memo(1, function=first)
    assert memo(1, function=made("", " return [x + i for i in (1, 2)]", "a.py")) != memo(1, function=first)


PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import counted
from counted import f
from blockyard.memo import memos_of
from blockyard.options import Options

LIMIT = 3
def own(values, names):
    return [counted.f(value) for value in values if value < LIMIT and names]

def imported(values, names):
    return f(values)

for function in (own, counted.f, imported):
    for memos in memos_of(Options(cache=True), function, [(([1, 2], {{"b", "a", "c"}}), {{}})]):
        print(memos[0].hex())
"""


def test_a_module_that_was_edited_is_another_one_to_the_next_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "edited_between_clients.py"
    module.write_text("def f(x):\n    return x\n")
    function = importlib.import_module(module.stem).f
    first = memo(1, function=function)
    module.write_text("def f(x):\n    return x + 1\n")
    assert memo(1, function=function) == first, "the workers of this client have the old one"
    Packer("3.11")
    assert memo(1, function=function) != first


SCRIPT = """
import enum
from typing import Generic, TypeVar

from blockyard.memo import memos_of
from blockyard.options import Options

KINDS = {"red", "green", "blue", "grey"}
T = TypeVar("T")
class Shade(enum.Enum):
    DARK = 1
class Model(Generic[T]):
    def kinds(self):
        return {"one", "two", "three"}
model = Model()
model.kinds = frozenset({"four", "five", "six"})

def constant(x): return x in {"red", "green", "blue", "grey"}
def of_global(x): return x in KINDS
def of_class(x: T) -> T: return Model().kinds(), Shade.DARK
def of_object(x): return model.kinds
def of_default(x, kinds=frozenset(KINDS)): return x in kinds

for function in (constant, of_global, of_class, of_object, of_default, Model):
    print(memos_of(Options(cache=True), function, [((), {})])[0][0].hex())
"""


def test_a_script_is_known_again_whatever_its_process_makes_of_sets_and_classes_and_where_it_stands(
    tmp_path: Path,
) -> None:
    def run(file: Path, seed: str) -> list[str]:
        file.write_text(SCRIPT)
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.split()

    first = run(tmp_path / "one.py", "1")
    assert len(set(first)) == 6
    assert run(tmp_path / "two.py", "2") == first


def test_where_a_class_by_value_stands_does_not_count_and_equal_texts_are_one() -> None:
    def made(line: int, mode: str) -> Any:
        class Kind:
            __firstlineno__ = line  # as Python 3.13 sets it

        return lambda: (Kind, mode, "fast")

    assert memo(function=made(1, "fast")) == memo(function=made(2, "".join(["fa", "st"])))
    assert memo(function=made(1, "fast")) != memo(function=made(1, "slow"))


def test_another_process_knows_the_same_call_and_an_edited_module_is_another_function(tmp_path: Path) -> None:
    module = tmp_path / "counted.py"

    def run(source: str, seed: str) -> list[str]:
        module.write_text(source)
        program = PROGRAM.format(folder=str(tmp_path))
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.split()

    first = run("def f(value, names=None):\n    return value\n", "1")
    assert run("def f(value, names=None):\n    return value\n", "2") == first
    edited = run("def f(value, names=None):\n    return value + 1\n", "3")
    assert not set(edited) & set(first)
