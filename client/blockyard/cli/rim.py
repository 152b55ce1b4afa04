"""The rim of the command line: one call of a command in, one exit code out, and no traceback on the way."""

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence

import click

from blockyard.cli.exits import Exit, exit_of
from blockyard.config import DEBUG_VARIABLE
from blockyard.errors import BlockyardError


def main() -> None:
    """Entry point of the program ``blockyard``."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def kubectl_main() -> None:
    """Entry point of the program ``kubectl-blockyard``, which kubectl calls for ``kubectl blockyard``."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:], "kubectl blockyard"))


class _Terminated(KeyboardInterrupt):
    """SIGTERM ends a command as Ctrl-C does: what it has begun ends in good order."""


def _terminate(*_: object) -> None:
    raise _Terminated


def run(arguments: Sequence[str], program: str = "blockyard") -> int:
    """Carry out a command; returns its exit code."""
    # Inside, so that Ctrl-C during the imports ends cleanly, too.
    from blockyard.cli.commands import PipeClosed, blockyard

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names are the users', and an encoding need not have all letters
    group: click.Group = blockyard
    if program != "blockyard":
        from blockyard.cli.kubectl import kubectl_blockyard

        group = kubectl_blockyard
    try:
        code = group.main(list(arguments), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error, _Terminated) or isinstance(error.__cause__, _Terminated):
            return _say("terminated", Exit.TERMINATED)
        return _say("interrupted", Exit.INTERRUPTED)
    except PipeClosed:
        # The interpreter would try to flush at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED
    except BlockyardError as error:
        return _say(str(error), exit_of(error))
    except Exception as error:
        if fault := _of_arguments(error, arguments):
            return _say(fault, Exit.USAGE)
        if os.environ.get(DEBUG_VARIABLE):
            raise
        what = f"{type(error).__name__}: {error}"
        return _say(f"unexpected error, a fault of Blockyard's: {what}; {DEBUG_VARIABLE}=1 shows where", Exit.BUG)
    return int(code or 0)


def _of_arguments(error: Exception, arguments: Sequence[str]) -> str:
    """What is wrong with a word of the command that nothing could be named by; '' when the error is another one."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"no file has so long a name: {str(error.filename)[:80]!r}…"
    if isinstance(error, UnicodeEncodeError):
        for word in arguments:
            if any("\ud800" <= letter <= "\udfff" for letter in word):
                return f"{word[:80]!r} is not UTF-8, as names of tasks, runs and pools are"
    return ""


def _say(sentence: str, code: Exit) -> Exit:
    click.echo(f"blockyard: {sentence}", err=True)
    return code
