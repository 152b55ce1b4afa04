"""What a person may have meant by a name that there is not, as the end of a sentence that says so."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], most: int | None = None, *, empty: str = "", then: str = "") -> str:
    """``; did you mean '…'?``, or when nothing is near what there is, at most so many; `empty` when there is nothing.

    `then`: a sentence to follow; what comes before it ends with its full stop, if it is no question.
    """
    known = list(known)
    if near := difflib.get_close_matches(name, known, n=1):
        return f"; did you mean {near[0]!r}?{then and ' '}{then}"
    said = f"; there are: {', '.join(sorted(known)[:most])}" if known else empty
    return f"{said}. {then}" if then else said


def hint(name: str, known: Iterable[str]) -> str:
    """``did you mean '…'? ``, for before a list of what there is; '' when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""
