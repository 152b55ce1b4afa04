"""What the URL of a journal may look like, for those who pass it on to an interchange, which opens it."""

import re
from typing import Final

_KNOWN: Final = re.compile(r"memory:|sqlite:///.+|postgres(ql)?://.+", re.DOTALL)


def fault_of(url: str) -> str:
    """What is wrong with it as far as can be seen here, '' for nothing. It is not shown: it may hold a password."""
    if not url or _KNOWN.fullmatch(url):
        return ""
    return "give memory:, sqlite:///absolute/path or postgresql://user@host/database"
