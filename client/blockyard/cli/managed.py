"""``blockyard task run|help|list``: managed tasks by their name, run here. An interchange is not asked."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from blockyard.cli import options, show
from blockyard.cli.exits import Faulty, NotFound
from blockyard.cli.options import Call
from blockyard.errors import ConfigError, NotInstalled

if TYPE_CHECKING:
    from blockyard.managed.run import ManagedSpec


@click.command(epilog="Example: blockyard task run my_package.tasks:find-peaks -c run12.yaml")
@click.argument("name", required=False, default="")
@click.option("-c", "--config", "file", metavar="FILE", default="",
              help="YAML: a header, and a section for each task; without NAME, what `config` wrote.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="A parameter; JSON, or else text.")
@click.option("--folder", metavar="DIR", default="", help="Keep record, streams and artefacts there.")
@options.output
@options.pass_call
def run(call: Call, name: str, file: str, changes: tuple[str, ...], folder: str) -> None:
    """Run a managed task here, with its section of a file as parameters. NAME may be module:name."""
    from blockyard.managed.registry import UnknownTask
    from blockyard.managed.run import run_managed, spec_of

    parameters = dict(_change(one) for one in changes)
    try:
        if not name:
            spec = _spec_in(file)
        elif file:
            from blockyard.managed.documents import read_document

            spec = spec_of(name, read_document(file))
        else:
            spec = spec_of(name)
        spec = msgspec.structs.replace(spec, parameters={**spec.parameters, **parameters}, folder=folder or spec.folder)
        found = run_managed(spec)
    except UnknownTask as error:
        raise NotFound(str(error)) from error
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    payload = msgspec.json.encode(found.payload, enc_hook=repr).decode()
    files = [f"{one.name}: {one.path} ({show.bytes_of(one.size_bytes)})" for one in found.outputs]
    sentence = f"{found.result.task_name}: {found.status.name} in {found.seconds:.3f} s; payload {payload}"
    why = f"{found.result.task_name}: {found.status.name} ({found.reason}): {found.message}"
    show.answer(call.settings.output, found, why if found.status.name == "SKIPPED" else sentence, *files)
    if not found.status.is_well:
        raise Faulty(why)


def _spec_in(file: str) -> "ManagedSpec":
    """A file of one `ManagedSpec`; its ``{{ name }}`` are filled in when it runs."""
    from blockyard import yaml_text
    from blockyard.managed.run import read_spec

    if not file:
        raise click.UsageError("give the task's NAME, or -c FILE with what is to be run")
    try:
        found = yaml_text.objects(Path(file).read_text(), "managed")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error
    if len(found) != 1 or not isinstance(found[0], dict):
        raise ConfigError(
            f"{file}: without a NAME, one YAML document is expected, an object with fields of ManagedSpec"
        )
    return read_spec(found[0])


@click.command("help", epilog="Example: blockyard task help my_package.tasks:find-peaks")
@click.argument("name")
@options.output
@options.pass_call
def help_(call: Call, name: str) -> None:
    """List a managed task's parameters, with type and default."""
    from blockyard.managed.registry import UnknownTask, find

    try:
        task = find(name)
    except UnknownTask as error:
        raise NotFound(str(error)) from error
    lines: list[tuple[str, str, str, str]] = []
    if task.parameters is not None:
        try:
            from blockyard.managed import models
        except ModuleNotFoundError as error:
            raise _not_installed(error) from error
        lines = models.described(task.parameters)
    elif inspect.isfunction(task.target):
        lines = _signature(task.target)
    view = {
        "task": task.name,
        "kind": task.kind.__name__,
        "description": task.description,
        "parameters": [dict(zip(("name", "type", "default", "description"), line, strict=True)) for line in lines],
    }
    sentence = f"{task.name} ({task.kind.__name__}): {task.description or 'no description'}"
    is_open = task.parameters is None and not inspect.isfunction(task.target)
    empty = "any parameters" if is_open else "no parameters"
    show.answer(call.settings.output, view, sentence, show.Table(("PARAMETER", "TYPE", "DEFAULT", ""), lines, empty))


def _signature(function: Callable[..., Any]) -> list[tuple[str, str, str, str]]:
    """The parameters of a function that has no model, as `models.described` has them."""
    found = []
    for one in inspect.signature(function).parameters.values():
        said = "" if one.annotation is one.empty else one.annotation
        kind = said if isinstance(said, str) else inspect.formatannotation(said)
        is_rest = one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        default = "any others" if is_rest else "required" if one.default is one.empty else repr(one.default)
        found.append((one.name, kind, default, ""))
    return found


@click.command("list", epilog="Example: blockyard task list")
@options.output
@options.pass_call
def list_(call: Call) -> None:
    """List the managed tasks that distributions have registered."""
    from blockyard.managed.registry import names

    found = names()
    show.answer(call.settings.output, found, *(found or ["no managed tasks; entry points blockyard.tasks name them"]))


def _change(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {text!r}: write NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _not_installed(error: ModuleNotFoundError) -> NotInstalled:
    return NotInstalled(f"{error.name} is not installed; pip install 'blockyard[managed]'")
