"""What mpirun starts in the place of ssh (``plm_rsh_agent``): ``agent.py PART-N WORDS…``. The standard library only.

mpirun wants its daemon, orted, run on each node. On the first part's the agent becomes it. For another part it asks the
executor above it (`wide.Leading`) to have that part start it, and ends as the daemon there does.
"""

import json
import os
import shlex
import socket
import sys

AGENT_VARIABLE = "BLOCKYARD_MPI_AGENT"
SCRATCH_VARIABLE = "BLOCKYARD_MPI_SCRATCH"
NAME = "part-%d"
"""Of the node of a part, for mpirun."""


def apart(folder: str) -> dict[str, str]:
    """Variables that keep what a daemon and its ranks share in memory and in files within a folder of the part's own.

    Open MPI names such files by host, job and place among the ranks of a daemon: with two daemons on one host, ranks
    of both would write to the same memory, and compute nonsense.
    """
    return {"OMPI_MCA_btl_vader_backing_directory": folder, "OMPI_MCA_orte_tmpdir_base": folder}


def main(arguments: list[str]) -> int:
    """Returns the exit code of the daemon, which is another one than mpirun's."""
    words = shlex.split(" ".join(arguments[1:]))  # they are made for the shell that ssh would give them to
    if not words or os.path.basename(words[0]) != "orted":
        sys.stderr.write(f"agent: mpirun asks for {words[:1]}; only its daemon, orted, is started for it\n")
        return 1
    part = int(arguments[0].rpartition("-")[2])
    if part == 0:
        os.environ.update(apart(os.environ[SCRATCH_VARIABLE]))
        os.execvp(words[0], words)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as executor:
        executor.connect(os.environ[AGENT_VARIABLE])
        executor.sendall(json.dumps({"part": part, "words": words}).encode() + b"\n")
        with executor.makefile("r") as answers:
            code = answers.readline()
    return int(code) if code else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
