"""Exceptions arrive as themselves with their remote traceback, or, when they cannot, as a RemoteError that says why."""

import subprocess
import threading
from typing import Any

import pytest

from blockyard.errors import DependencyError, NotLoadable, NotSendable, RemoteError, RemoteTraceback
from blockyard.payload import dump_error, dump_result, dump_value, load_error, load_value, packed_bytes, type_names
from blockyard.payload.outcomes import MOST_OBJECT_BYTES, MOST_SUMMARY_CHARACTERS, MOST_TRACEBACK_CHARACTERS


class Unbuildable(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class Turncoat(Exception):
    def __reduce__(self) -> Any:
        return str, ("not an exception",)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Quitter(Exception):
    """All that it is asked for ends the program."""

    def __init__(self, *, speaks: bool = True, pickles: bool = True) -> None:
        super().__init__(speaks, pickles)
        self.speaks = speaks
        self.pickles = pickles

    def __str__(self) -> str:
        return "said" if self.speaks else _quit()

    def __reduce__(self) -> Any:
        return (_quit, ()) if self.pickles else _quit()


def _quit() -> Any:
    raise SystemExit(4)


def raised(error: BaseException) -> BaseException:
    """The error as it is after it was raised, with a traceback."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - any is what the tests want
        return caught


def arrived(error: BaseException) -> BaseException:
    return load_error(dump_error(raised(error)).body)


def test_an_exception_arrives_as_itself() -> None:
    error = arrived(ValueError("bad", 7))
    assert type(error) is ValueError
    assert error.args == ("bad", 7)


def test_its_cause_is_the_traceback_on_the_worker() -> None:
    error = arrived(ValueError("bad"))
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in raised" in str(error.__cause__)
    assert "ValueError: bad" in str(error.__cause__)


def test_the_cause_chain_on_the_worker_is_in_the_traceback() -> None:
    def chained() -> BaseException:
        try:
            try:
                raise KeyError("inner")
            except KeyError as inner:
                raise ValueError("outer") from inner
        except ValueError as outer:
            return outer

    text = str(load_error(dump_error(chained()).body).__cause__)
    assert text.index("KeyError: 'inner'") < text.index("direct cause") < text.index("ValueError: outer")


def test_notes_and_attributes_survive() -> None:
    error = ValueError("bad")
    error.add_note("seen on Monday")
    error.code = 5  # type: ignore[attr-defined]
    back = arrived(error)
    assert back.__notes__ == ["seen on Monday"]
    assert vars(back)["code"] == 5


def test_type_names_follow_the_mro_without_object() -> None:
    record = dump_error(raised(Unbuildable(1, "x")))
    assert record.type_names == (f"{__name__}.Unbuildable", "builtins.Exception", "builtins.BaseException")
    assert type_names(KeyError)[:2] == ("builtins.KeyError", "builtins.LookupError")


def test_an_exception_that_cannot_be_rebuilt_arrives_as_a_remote_error() -> None:
    error = arrived(Unbuildable(1, "x"))
    assert isinstance(error, RemoteError)
    assert (error.type_name, error.message) == (f"{__name__}.Unbuildable", "1: x")
    assert "in raised" in error.traceback
    assert "cannot be rebuilt" in str(error)
    assert "'text'" in str(error)


def test_an_exception_that_cannot_be_pickled_arrives_as_a_remote_error_with_the_path() -> None:
    error = arrived(ValueError("x", threading.Lock()))
    assert isinstance(error, RemoteError)
    assert "exception → .args[1]" in str(error)
    assert error.type_name == "builtins.ValueError"


def test_an_exception_that_pickles_as_something_else_arrives_as_a_remote_error() -> None:
    error = arrived(Turncoat("t"))
    assert isinstance(error, RemoteError)
    assert "turns into a str" in str(error)


def test_an_exception_whose_text_fails_is_still_reported() -> None:
    record = dump_error(raised(Mute()))
    assert record.summary == "Mute: <its __str__ raised RuntimeError>"


@pytest.mark.parametrize("how", [{"speaks": False}, {"pickles": False}, {"pickles": True}])
def test_an_exception_whose_methods_end_the_program_is_told_and_ends_nothing(how: dict[str, bool]) -> None:
    error = arrived(Quitter(**how))
    assert isinstance(error, RemoteError)
    assert "SystemExit" in str(error)


def test_an_exception_that_is_too_large_is_told_in_few_words() -> None:
    record = dump_error(raised(ValueError("x" * MOST_OBJECT_BYTES)))
    assert len(record.body) < 4 * MOST_TRACEBACK_CHARACTERS
    assert record.type_names[0] == "builtins.ValueError", "retry_on knows it all the same"
    error = load_error(record.body)
    assert isinstance(error, RemoteError)
    assert "raise less, and return or write to a file what is large" in str(error)


def test_an_exception_of_an_absent_module_arrives_as_a_remote_error() -> None:
    record = dump_error(raised(ValueError("x")))
    packed, name, shown, trace, reason = load_value(record.body)
    broken = packed.replace(b"builtins", b"buildins")
    error = load_error(packed_bytes(dump_value((broken, name, shown, trace, reason))))
    assert isinstance(error, RemoteError)
    assert "buildins" in str(error)


def test_an_exception_group_arrives_with_its_members() -> None:
    error = arrived(ExceptionGroup("many", [ValueError("a"), KeyError("b")]))
    assert isinstance(error, ExceptionGroup)
    assert [type(each) for each in error.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), subprocess.CalledProcessError(2, ["x"])])
def test_other_exceptions_of_the_standard_library_arrive_as_themselves(error: BaseException) -> None:
    assert type(arrived(error)) is type(error)


def test_our_own_errors_arrive_with_their_fields() -> None:
    error = arrived(DependencyError("first", 4, "builtins.ValueError"))
    assert isinstance(error, DependencyError)
    assert (error.task, error.cause_type) == (4, "builtins.ValueError")
    again = arrived(RemoteError("a.B", "text", "trace"))
    assert isinstance(again, RemoteError)
    assert str(again) == "a.B: text"


def test_the_summary_is_one_bounded_line() -> None:
    record = dump_error(raised(ValueError("a\nb" * MOST_SUMMARY_CHARACTERS)))
    assert "\n" not in record.summary
    assert len(record.summary) == MOST_SUMMARY_CHARACTERS
    assert dump_error(raised(ValueError())).summary == "ValueError"


def test_a_huge_traceback_loses_its_middle() -> None:
    text = str(arrived(ValueError("begin" + "x" * 2 * MOST_TRACEBACK_CHARACTERS + "end")).__cause__)
    assert len(text) < MOST_TRACEBACK_CHARACTERS + 200
    assert "Traceback" in text
    assert "left out" in text
    assert text.rstrip('"\n').endswith("end")


def test_a_result_that_cannot_be_packed_becomes_an_error_that_travels() -> None:
    with pytest.raises(NotSendable) as caught:
        dump_result({"lock": threading.Lock()})
    error = load_error(dump_error(caught.value).body)
    assert isinstance(error, NotSendable)
    assert error.path == "result → ['lock']"


def test_a_payload_that_is_no_exception_is_refused() -> None:
    with pytest.raises(NotLoadable, match="a packed exception was expected"):
        load_error(packed_bytes(dump_value(5)))
