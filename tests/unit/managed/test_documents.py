"""Substitution, and the two-document file with it."""

from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.managed.documents import parse_document
from blockyard.managed.substitution import substitute

NAMES: dict[str, Any] = {"run": 12, "name": "lyso", "list": [1, 2], "deep": {"key": [{"x": 7}]}, "none": None, "f": 0.5}
VARIABLES = {"EXPERIMENT": "mfx1", "RUN": "7"}

TABLE: list[tuple[Any, Any]] = [
    ("plain", "plain"),
    ("{{ run }}", 12),
    ("{{run}}", 12),
    ("{{ list }}", [1, 2]),
    ("r{{ run }}", "r12"),
    ("{{ run:04d }}", "0012"),
    ("{{ $RUN:04d }}", "0007"),
    ("{{ f:.2f }}", "0.50"),
    ("{{ $EXPERIMENT }}/x", "mfx1/x"),
    ("{{ deep.key[0].x }}", 7),
    ("{{ deep.key.0.x }}", 7),
    ("{{ absent | default(3) }}", 3),
    ("{{ absent | default('x y') }}", "x y"),
    ("{{ run | default(3) }}", 12),
    ("{{ $ABSENT | default(null) }}", None),
    ("a{{ none }}b", "ab"),
    ("{{ name }}/{{ run }}", "lyso/12"),
    ("{{ run }}{{ run }}", "1212"),
    ("{{ absent | default('}}') }} {{ run }}", "}} 12"),
    (" {{ absent | default('}}') }} ", "}}"),
    (["{{ run }}", {"k": "{{ name }}"}], [12, {"k": "lyso"}]),
    ("$${{ run }}", "{{ run }}"),
    ("007", "007"),
    (5, 5),
]


@pytest.mark.parametrize("value, found", TABLE)
def test_substitution(value: Any, found: Any) -> None:
    assert substitute(value, NAMES, VARIABLES) == found


@pytest.mark.parametrize("value, words", [
    ("{{ rum }}", "did you mean 'run'"),
    ("{{ deep.kez }}", "did you mean 'key'"),
    ("{{ list[5] }}", "a list of 2"),
    ("{{ $EXPERIMENTS }}", "did you mean \\$EXPERIMENT"),
    ("{{ run + 1 }}", "no reference"),
    ("{{ __import__('os') }}", "no reference"),
    ("{{ name:04d }}", "can't be written as"),
    ("x{{ list }}", "can't be part of a text"),
    ("x {{ run", "without"),
    ("{{ absent | default(os) }}", "default"),
])  # fmt: skip
def test_what_stands_for_nothing_is_an_error(value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        substitute(value, NAMES, VARIABLES)


DOCUMENT = """
title: Lysozyme
run: 12
work_dir: /data/{{ $EXPERIMENT }}
---
Index:
  input: "{{ FindPeaks.output }}"
  copies: ["{{ FindPeaks.output }}", "{{ run }}"]
FindPeaks:
  output: "{{ work_dir }}/peaks_{{ run:04d }}.cxi"
  title: "{{ lute_config.title }}"
"""


def test_a_file_is_resolved_in_whatever_order_and_in_lists() -> None:
    found = parse_document(DOCUMENT, VARIABLES)
    assert found.header["work_dir"] == "/data/mfx1"
    path = "/data/mfx1/peaks_0012.cxi"
    assert found.section("Index") == {"input": path, "copies": [path, 12]}
    assert found.section("FindPeaks")["title"] == "Lysozyme"
    assert found.section("Other") == {}


def test_a_merge_key_is_no_key_given_twice() -> None:
    found = parse_document("a: 1\n---\nB: &b {x: 1, y: 3}\nA: {<<: *b, x: 2}", {})
    assert found.section("A") == {"x": 2, "y": 3}


@pytest.mark.parametrize("text, words", [
    ("a: 1\n---\nA: {x: '{{ A.y }}', y: '{{ A.x }}'}", "depends on itself: A.x → A.y → A.x"),
    ("a: 1\n---\nA: {x: '{{ B.y }}'}", "A.x: .*no 'B'"),
    ("a: 1\n---\nA: {x: '{{ $NOPE }}'}", "A.x: .*not set"),
    ("a: 1\n---\nA: {x: '{{ a:zz }}'}", "^A.x: .*'zz'"),
    ("a: 1\n---\nA: {x: '{{ a }'}", "^A.x: "),
    ("a: 1\n---\nA: {x: '{{ B.y }}'}\nB: {y: '{{ a:zz }}'}", "^B.y: .*'zz'"),
    ("a: 1\n---\nA: {x: 1, x: 2}", "'x' is given twice.*line 3"),
    ("a: 1\n---\nA: 5", "section 'A'"),
    ("a: 1\n---\na: {}", "a: both in the header and as a section"),
    ("a: 1\n---\nb: {}\n---\nc: {}", "3 documents"),
    ("a: [", "no YAML"),
    ("a: !!python/object/apply:os.system ['true']\n---\nA: {}", "no YAML"),
    ("- 1\n---\nA: {}", "header: a table"),
])  # fmt: skip
def test_a_file_with_a_fault_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_document(text, {})
