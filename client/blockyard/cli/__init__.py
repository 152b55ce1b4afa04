"""The command line ``blockyard``: what is typed, asked of an interchange, and shown. `docs/cli.md` describes it.

One module for each group of commands; `rim` turns errors into exit codes, `show` answers into tables or JSON. Nothing
here decides anything about tasks or blocks.
"""

from blockyard.cli.rim import main

__all__ = ["main"]
