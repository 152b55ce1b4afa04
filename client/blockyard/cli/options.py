"""Options that every command has, and what they come to: the settings of this call."""

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from blockyard import config
from blockyard.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


class Call:
    """One call of the program: the flags given so far, and from them the settings, read when first needed."""

    def __init__(self) -> None:
        self._flags: dict[str, object] = {}
        self._settings: config.Settings | None = None

    def flag(self, key: str, value: object) -> None:
        """Note a flag; one given after the command weighs more than one before it."""
        if value is not None:
            self._flags[key] = value
            self._settings = None

    @property
    def settings(self) -> config.Settings:
        """The settings. Raises ConfigError."""
        if self._settings is None:
            self._settings = config.load(self._flags)
        return self._settings


pass_call = click.make_pass_decorator(Call, ensure=True)


class Number(click.FloatRange):
    """click's, which takes NaN for a number of every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


MOST_SECONDS: Final = 1e6
"""Longer than anybody waits at a prompt, and no longer than the kernel can count."""


def flag(key: str, *names: str, **details: Any) -> Callable[[F], F]:
    """An option that is a setting: `key` as in `config.SCALARS`."""

    def note(context: click.Context, _: click.Parameter, value: object) -> None:
        context.ensure_object(Call).flag(key, value)

    return click.option(*names, expose_value=False, callback=note, **details)


def complete_profiles(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names that the shell may complete."""
    try:
        profiles = set(config.load().profiles)
    except ConfigError:
        profiles = set()  # a shell waits for names; what is wrong is said when the command runs
    return [CompletionItem(name) for name in sorted({*profiles, *config.systems()}) if name.startswith(incomplete)]


output = flag(
    "output", "-o", "--output",
    type=click.Choice([str(one) for one in config.Output]), help="Answer as tables, or as JSON on one line.",
)  # fmt: skip
profile = flag(
    "profile", "-p", "--profile", metavar="WHERE", shell_complete=complete_profiles,
    help="Profile, state folder or URL of the interchange.",
)  # fmt: skip
timeout = flag("timeout", "--timeout", type=float, metavar="SECONDS", help="How long to wait for an answer.")


def connected(command: F) -> F:
    """The options of a command that asks an interchange."""
    return output(profile(timeout(command)))
