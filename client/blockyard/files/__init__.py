"""Files of a task: staged in on the node before the function runs, and out after it succeeded.

`file` is what users name them by, `staging` what a try does with them, `cache` the node's copies and `transfers` how
often and how many at once they are moved. How bytes travel is a stager's: `port` says what one is, `stagers` holds our
own, `suites` the tests that one must pass. Everything but `file` and `arrivals` is loaded only when a file has come.
"""

from __future__ import annotations

from blockyard.files.file import File, Output

__all__ = ["File", "Output"]
