"""``python -m blockyard_worker``: the manager of one node of a block. Exit codes are listed in ``docs/worker.md``."""

import os
import sys

from blockyard_worker.launch import launch, named_block


def main() -> int:
    """Start the template first, if flags or environment name the block; everything else is `program`'s."""
    asks_for_help = "-h" in sys.argv or "--help" in sys.argv
    block = "" if asks_for_help else named_block(sys.argv[1:], os.environ)
    launched = launch(block) if block else None
    from blockyard_worker import program  # only now: it imports much, and so does the template, at the same time

    return program.main(launched)


if __name__ == "__main__":
    sys.exit(main())
