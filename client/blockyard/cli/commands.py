"""The tree of commands. A command's module is imported when it is called or its help is shown."""

import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword

import click

from blockyard.cli import options

_SECTIONS = {
    "Tasks": {
        "status": "tasks",
        "tasks": "tasks",
        "task": "tasks",
        "explain": "tasks",
        "output": "tasks",
        "cancel": "tasks",
        "stop": "tasks",
        "continue": "tasks",
        "cache": "cache",
    },
    "Workflows": {
        "lint": "workflows",
        "run": "workflows",
        "runs": "workflows",
        "steps": "workflows",
        "logs": "workflows",
        "retry": "workflows",
        "suspend": "workflows",
        "resume": "workflows",
    },
    "Blocks and systems": {
        "local": "local",
        "blocks": "blocks",
        "drain": "blocks",
        "keys": "keys",
        "journal": "journal",
        "doctor": "doctor",
    },
    "What happens and happened": {
        "top": "top",
        "watch": "watch",
        "dashboard": "dashboard",
        "report": "report",
        "config": "records",
        "artefacts": "artefacts",
    },
    "Programs": {
        "interchange": "programs",
        "worker": "programs",
        "completion": "completion",
    },
}
_HOMES = {name: home for section in _SECTIONS.values() for name, home in section.items()}
"""Command to the module below this package that holds it under the same name."""
_SENTENCE = 200
"""Letters that a first sentence may have."""


class PipeClosed(Exception):
    """The reader of the output went away. Not an OSError: click would end the process over that by itself."""


class Listing(click.Group):
    """Commands whose help shows the whole first sentence of each, below headings if there are any."""

    def sections(self, ctx: click.Context) -> dict[str, Sequence[str]]:
        """Commands by heading."""
        return {"Commands": self.list_commands(ctx)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in self.sections(ctx).items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, one.get_short_help_str(_SENTENCE)) for name, one in found if one])


class Piped(Listing):
    """Commands whose reader may go away."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise PipeClosed from error
        return result


class _Commands(Piped):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOMES)

    def sections(self, ctx: click.Context) -> dict[str, Sequence[str]]:
        return {title: list(names) for title, names in _SECTIONS.items()}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _HOMES:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = getattr(import_module(f"blockyard.cli.{_HOMES[cmd_name]}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _HOMES and not args[0].startswith("-"):
            from blockyard.suggestion import nearest

            ctx.fail(f"no command {args[0]!r}{nearest(args[0], _HOMES)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]},
             epilog="Exit codes: 0 done, 1 bad news, 2 wrong usage, 3 no answer, 4 not found, 5 refused, "
                    "6 not installed. Settings also come from BLOCKYARD_* and blockyard.toml.")  # fmt: skip
@click.version_option(package_name="blockyard", message="%(prog)s %(version)s")
@options.connected
def blockyard() -> None:
    """Blocks of warm Python workers behind a durable queue.

    \b
    blockyard local up --workers 4     start a system on this machine
    blockyard status                   see how it is
    blockyard local down               end it
    """
