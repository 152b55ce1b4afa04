"""YAML is read as kubectl reads it, so that a file means the same here and in a cluster."""

from typing import Any

import pytest

from blockyard import yaml_text


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("-2.5E+2", -250.0),
        ("1.0e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1", 1),
        ("0x1f", 31),
        ("1_000", 1000),
        ("12:30", "12:30"),
        ("12:30:45.5", "12:30:45.5"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("e3", "e3"),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        ("'1e3'", "1e3"),
        ("yes", True),
        ("~", None),
    ],
)
def test_a_scalar_is_what_kubectl_takes_it_for(text: str, value: Any) -> None:
    (found,) = yaml_text.objects(f"a: {text}", "workflow")
    assert (found["a"], type(found["a"])) == (value, type(value))


@pytest.mark.parametrize("text", ["!!set {a}", "!!binary aGk=", "!!timestamp 2024-01-01", "!!python/tuple [1]"])
def test_what_json_cannot_say_is_no_yaml_of_ours(text: str) -> None:
    with pytest.raises(yaml_text.NoYaml, match="line 1, column 4"):
        yaml_text.objects(f"a: {text}", "workflow")


@pytest.mark.parametrize("value", ["1e-3", "1e3", "12:30", "2024-01-01", "1.0", "yes", 1e-05, 1e300, 0.5, 12])
def test_what_is_written_is_read_as_the_same(value: Any) -> None:
    (found,) = yaml_text.objects(yaml_text.text_of({"a": value}, "workflow"), "workflow")
    assert (found["a"], type(found["a"])) == (value, type(value))
