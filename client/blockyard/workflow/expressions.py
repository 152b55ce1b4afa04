"""Conditions of steps, in CEL: the only module that knows the package `cel`.

A condition sees `params` (an object), and `steps.NAME.state` ("Succeeded", "Failed", "Skipped", "Cancelled") and
`steps.NAME.outputs` of the steps that its own needs; no results, no clock. The interchange evaluates it while it does
nothing else, so what may take long is refused beforehand: long or deeply nested texts, and the macros that walk lists.
"""

import functools
import re
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

MOST_CHARACTERS: Final = 1024
MOST_DEPTH: Final = 16
_MACROS: Final = re.compile(r"\.\s*(all|exists|exists_one|existsOne|map|filter|transformList|transformMap)\s*\(")
_FUNCTIONS: Final = frozenset(
    [
        "_&&_",
        "_||_",
        "!_",
        "_==_",
        "_!=_",
        "_<_",
        "_<=_",
        "_>_",
        "_>=_",
        "@in",
        "_+_",
        "_-_",
        "_*_",
        "_/_",
        "_%_",
        "-_",
        "_?_:_",
        "_[_]",
        "size",
        "int",
        "uint",
        "double",
        "string",
        "bool",
        "startsWith",
        "endsWith",
        "contains",
    ]
)
"""That conditions may call: each takes no longer than its arguments are long."""
STATES: Final = ("Succeeded", "Failed", "Skipped", "Cancelled")
"""In which a condition sees steps."""
_VARIABLES: Final = frozenset({"params", "steps"})
_TEXT: Final = r"""|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
"""Last in each, so that what stands in a text is no name."""
_AFTER: Final = r"""\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:"([^"\\]+)"|'([^'\\]+)')\s*\])"""
_STEP: Final = re.compile(rf"\bsteps{_AFTER}{_TEXT}")
_OUTPUT: Final = re.compile(rf"\bsteps{_AFTER}\s*\.\s*outputs{_AFTER}{_TEXT}")
_PART: Final = re.compile(rf"\bsteps{_AFTER}\s*\.\s*([A-Za-z_]\w*){_TEXT}")
_STATE: Final = re.compile(r"""\.\s*state\s*[!=]=\s*(?:"([^"\\]*)"|'([^'\\]*)')""")
_PARAMETER: Final = re.compile(rf"\bparams{_AFTER}{_TEXT}")
_EITHER: Final = re.compile(rf"\bsteps{_AFTER}|\bparams{_AFTER}{_TEXT}")
_OPENING, _CLOSING = "([{", ")]}"


class Step(msgspec.Struct, frozen=True):
    """What a condition sees of a step."""

    state: str
    outputs: bytes = b""
    """JSON object, or nothing."""


def fault(expression: str) -> str:
    """What is wrong with a condition's text, in words; '' when nothing is."""
    if not expression.strip():
        return "condition: it is empty"
    if len(expression) > MOST_CHARACTERS:
        return f"condition: {len(expression)} characters; at most {MOST_CHARACTERS} are taken"
    if not expression.isprintable():
        return "condition: write it in one line, of printable characters"
    if (depth := _depth(expression)) > MOST_DEPTH:
        return f"condition: brackets are nested {depth} deep; at most {MOST_DEPTH} are taken"
    if (macro := _MACROS.search(expression)) is not None:
        return f"condition: {macro[1]}(…) walks through lists, which is not taken; let the step declare what it found"
    program = _compiled(expression)
    if isinstance(program, str):
        unneeded = "; write params.NAME and steps.NAME.outputs.NAME without ${{ }}" if "${{" in expression else ""
        return f"{program}{unneeded}"
    for kind, found, known in (
        ("variable", program.variables(), _VARIABLES),
        ("function", program.functions(), _FUNCTIONS),
    ):
        if strangers := sorted(set(found) - known):
            if strangers[0] in STATES:
                return f"condition {expression!r}: write {strangers[0]!r} in quotes"
            listed = ", ".join(name for name in sorted(known) if name.isalpha())
            return f"condition {expression!r}: there is no {kind} {strangers[0]!r}; there are: {listed}"
    return ""


def holds(expression: str, parameters: bytes, steps: Mapping[str, Step]) -> bool | str:
    """Whether a condition holds; or, in words, why that cannot be said."""
    if sentence := fault(expression):
        return sentence
    program = _compiled(expression)
    if isinstance(program, str):
        return program
    try:
        scope = {
            "params": msgspec.json.decode(parameters),
            "steps": {name: {"state": one.state, "outputs": _outputs(one)} for name, one in steps.items()},
        }
        found = program.execute(scope)
    except Exception as error:  # noqa: BLE001 - the library raises several kinds for what an expression may do
        return f"condition {expression!r}: {error}"
    if not isinstance(found, bool):
        return f"condition {expression!r} gives {found!r}; a condition gives true or false"
    return found


def never_holds_after_success(expression: str) -> bool:
    """Whether a condition over nothing but states of steps is false when all of them have succeeded."""
    names = steps_in(expression)
    if not names or parameters_in(expression) or any(part != "state" for _, part in parts_in(expression)):
        return False
    return holds(expression, b"{}", {name: Step("Succeeded") for name in names}) is False


def steps_in(expression: str) -> list[str]:
    """The steps that a condition refers to, in order of first appearance."""
    return _found(_STEP, expression)


def parameters_in(expression: str) -> list[str]:
    """The parameters that a condition refers to."""
    return _found(_PARAMETER, expression)


def outputs_in(expression: str) -> list[tuple[str, str]]:
    """(step, output) of the outputs that a condition refers to."""
    groups = (match.groups(default="") for match in _OUTPUT.finditer(expression))
    found = (("".join(one[:3]), "".join(one[3:])) for one in groups)
    return list(dict.fromkeys((step, output) for step, output in found if output))


def parts_in(expression: str) -> list[tuple[str, str]]:
    """(step, what of it) as a condition names them."""
    found = (("".join(match.groups(default="")[:3]), match[4]) for match in _PART.finditer(expression) if match[4])
    return list(dict.fromkeys(found))


def states_in(expression: str) -> list[str]:
    """The texts that a condition compares states with."""
    return list(dict.fromkeys("".join(match.groups(default="")) for match in _STATE.finditer(expression)))


def rewritten(expression: str, parameter: Callable[[str], str], step: Callable[[str], str]) -> str:
    """A condition with other text in the place of its parameters, and other names in the place of its steps'."""

    def replace(match: re.Match[str]) -> str:
        groups = match.groups(default="")
        if name := "".join(groups[:3]):
            return f'steps["{step(name)}"]'
        if name := "".join(groups[3:]):
            return parameter(name)
        return match[0]  # a text

    return _EITHER.sub(replace, expression)


def _found(pattern: re.Pattern[str], expression: str) -> list[str]:
    names = ("".join(match.groups(default="")) for match in pattern.finditer(expression))
    return list(dict.fromkeys(name for name in names if name))


def _outputs(step: Step) -> object:
    return msgspec.json.decode(step.outputs) if step.outputs else {}


def _depth(expression: str) -> int:
    depth = most = 0
    for character in expression:
        depth += (character in _OPENING) - (character in _CLOSING)
        most = max(most, depth)
    return most


def _compiled(expression: str) -> Any:
    """A program, or what is wrong, in words."""
    # Its package imports its command line, and with that typer and prompt_toolkit: more than a second on a busy
    # machine, in which the interchange would answer nobody.
    sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))
    try:
        import cel  # noqa: F401 - the extra of whoever uses conditions
    except ImportError:
        return (
            f"condition: {sys.executable} lacks the package 'common-expression-language'; "
            "pip install 'blockyard[workflow]' there"
        )
    return _compile(expression)


@functools.lru_cache(maxsize=4096)
def _compile(expression: str) -> Any:
    import cel

    try:
        return cel.compile(expression)
    except Exception as error:  # noqa: BLE001 - as above
        return f"condition {expression!r} cannot be read: {' '.join(str(error).split())}"
