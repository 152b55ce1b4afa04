"""Starts a worker with the Python of whatever image this is: ``python3 /blockyard/start.py [FLAGS OF THE WORKER]``.

`install` puts a copy of this file into a volume, beside ``lib/any`` (ours) and ``lib/3.11``, ``lib/3.12``, … (what ours
needs, built for that Python). Those folders go to the end of the search path, so the packages of the image come first.
``-m MODULE`` before the flags starts another module than the worker in the same way.

Nothing is imported here but the standard library, and Python 3.6 can read it: it must be able to say what is wrong.
"""

import os
import sys

NOT_FOR_THIS_PYTHON = 64
"""Exit code: this image's Python cannot run a worker, and a restart would not change that. `exits` lists all."""
START_SETTING = "BLOCKYARD_WORKER_START"
"""Tells `launch` how the template must be started; it is no business of a task's."""
LIBC = (2, 28)
"""The oldest glibc for which the packages are built (manylinux_2_28, PEP 600)."""
OLDEST = {"zmq": ("pyzmq", (26,)), "msgspec": ("msgspec", (0, 19)), "cloudpickle": ("cloudpickle", (3, 0))}
"""Module to distribution and the oldest release that will do, as in pyproject.toml."""


def main() -> None:
    """Become the worker; ends the process with `NOT_FOR_THIS_PYTHON` and a line that says why when that can't be."""
    here = os.path.dirname(os.path.abspath(__file__))
    lib = os.path.join(here, "lib")
    minor = _dotted(sys.version_info[:2])
    wrong = unfit(minor, sys.implementation.name, getattr(sys, "abiflags", ""), libc(), sorted(os.listdir(lib)))
    if wrong:
        refuse(wrong)
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.getcwd()  # as with `python3 -m`; it was the folder of this file
    sys.path += [os.path.join(lib, minor), os.path.join(lib, "any")]
    for module, (distribution, oldest) in OLDEST.items():
        wrong = outdated(module, distribution, oldest, lib)
        if wrong:
            refuse(wrong)
    os.environ[START_SETTING] = os.path.join(here, os.path.basename(__file__))
    module = "blockyard_worker"
    arguments = sys.argv[1:]
    if arguments[:1] == ["-m"]:
        module, arguments = arguments[1], arguments[2:]
    sys.argv = [sys.argv[0], *arguments]
    import runpy  # it costs some milliseconds, which a refusal need not wait for

    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except ImportError as error:  # a package that is there and can't be loaded: libraries, processor
        refuse(f"{error} ({error.path or 'no file'})")


def unfit(minor: str, implementation: str, abi: str, glibc: "tuple[int, ...] | None", folders: "list[str]") -> str:
    """Why this interpreter can't use any of the folders below ``lib``; '' when it can."""
    supported = ", ".join(sorted((name for name in folders if name != "any"), key=_numbers))
    if implementation != "cpython":
        return f"it is {implementation}; CPython {supported} can run a worker"
    if minor not in folders:
        return f"it is Python {minor}; the worker is built for {supported}"
    if "t" in abi:
        return f"it is Python {minor} without the GIL (free-threaded); the worker needs an ordinary build"
    if glibc is None:
        return (
            "its C library is not glibc (Alpine's is musl); use an image made from Debian, Ubuntu, Fedora or the like"
        )
    if glibc < LIBC:
        return f"its glibc is {_dotted(glibc)}; the worker needs {_dotted(LIBC)} or newer"
    return ""


def libc() -> "tuple[int, ...] | None":
    """The version of glibc as a tuple, None when the C library is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return None
    return _numbers(version) if name == "glibc" else None


def outdated(module: str, distribution: str, oldest: "tuple[int, ...]", lib: str) -> str:
    """Why the image's own copy of a package, which comes before ours, will not do; '' when it does or there is none."""
    import importlib.util

    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or spec.origin.startswith(lib + os.sep):
        return ""
    import importlib.metadata  # only when the image has its own: it reads folders

    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
    if _numbers(version) >= oldest:
        return ""
    return f"it has {distribution} {version}, and the worker needs {_dotted(oldest)} or newer; upgrade or remove it"


def refuse(wrong: str) -> None:
    """Say it and end."""
    sys.stderr.write(f"blockyard: the Python of this image ({sys.executable}) cannot run a worker: {wrong}\n")
    sys.exit(NOT_FOR_THIS_PYTHON)


def _numbers(version: str) -> "tuple[int, ...]":
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _dotted(numbers: "tuple[int, ...]") -> str:
    return ".".join(map(str, numbers))


if __name__ == "__main__":
    main()
