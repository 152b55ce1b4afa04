"""``blockyard journal check`` and ``export``: looks at a journal, in use or not, and changes nothing."""

import base64
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from blockyard import connect
from blockyard.cli import deployables, options, show
from blockyard.cli.commands import Listing
from blockyard.cli.exits import Exit, NotFound
from blockyard.cli.options import Call
from blockyard.errors import ConfigError

_WITH_FAULTS = (
    "No interchange starts on it. 'blockyard journal export --skip-damaged' saves what can be read; bring a copy back, "
    "or move the file and what is named like it away to begin anew."
)


@click.group(cls=Listing, epilog="Examples: blockyard journal check; blockyard journal export > entries.jsonl")
def journal() -> None:
    """Check a journal, or save what is in it."""


@journal.command(epilog="Examples: blockyard journal check; blockyard journal check /var/lib/journal.db")
@click.argument("url", required=False)
@options.output
@options.profile
@options.pass_call
def check(call: Call, url: str | None) -> int:
    """Read a whole journal and report every fault; exit code 1 when there is one."""
    opening = deployables.load("blockyard_interchange.journal.opening", "interchange")
    report = opening.check(_url(call, url))
    sentence = (
        f"{report.location}: {report.chunks} sound chunks with {report.entries} entries, "
        f"{show.bytes_of(report.size_bytes)}, opening {report.epoch}"
    )
    faults = [f"  chunk {fault.chunk}: {fault.text}" if fault.chunk is not None else f"  {fault.text}"
              for fault in report.faults]  # fmt: skip
    verdict = f"{len(faults)} faults:" if faults else "no faults"
    if faults:
        faults.append(_WITH_FAULTS)
    show.answer(call.settings.output, report, sentence, verdict, *faults)
    return Exit.FOUND_FAULTS if faults else Exit.DONE


@journal.command(epilog="Example: blockyard journal export --skip-damaged > entries.jsonl")
@click.argument("url", required=False)
@click.option("--skip-damaged", is_flag=True, help="Go on behind what can't be read.")
@options.output
@options.profile
@options.pass_call
def export(call: Call, url: str | None, skip_damaged: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Print each entry as one line of JSON, oldest first, whatever the output is to be. Bytes come as base64."""
    opening = deployables.load("blockyard_interchange.journal.opening", "interchange")
    entries = deployables.load("blockyard_interchange.core.entries", "interchange")
    write = sys.stdout.write
    for chunk, raw in opening.export(_url(call, url), skip_damaged=skip_damaged):
        entry = entries.decode(raw)
        line = {"chunk": chunk, "type": type(entry).__name__, "fields": plain(entry)}
        write(msgspec.json.encode(line).decode() + "\n")


def plain(value: object) -> Any:
    """Records as objects with named fields, bytes as base64, all the way down."""
    match value:
        case msgspec.Struct():
            return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [plain(one) for one in value]
        case dict():
            return {str(key): plain(one) for key, one in value.items()}
        case _:
            return value


def _url(call: Call, given: str | None) -> str:
    """Of the journal to look at; a path is that of a file of SQLite. Raises NotFound for one that is not there."""
    url = given or _own_url(call)
    if ":" not in url:
        url = f"sqlite://{Path(url).expanduser().absolute()}"
    path = url.removeprefix("sqlite://")
    if path != url and not Path(path).exists():
        raise NotFound(f"journal {path}: there is no such file")
    return url


def _own_url(call: Call) -> str:
    target = connect.find(None, call.settings)
    if target.folder is None:
        raise ConfigError(
            f"{target.name}: its journal is on another machine; run this there, or give the journal's URL"
        )
    return connect.journal_url(target.folder)
