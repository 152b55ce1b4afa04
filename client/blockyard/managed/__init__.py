"""Managed tasks: programs under supervision, with parameters, environment, hooks, results and a full record.

Declared here and run wherever the code runs: in a plain process, or in a task on a worker. `docs/managed.md` tells how
to use them, `docs/managed-protocol.md` what a program may say. Deciding is in `course`, `states`, `argv`,
`substitution` and `frames`; processes and descriptors are in `keeper`, `launch`, `supervision` and `communicators`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blockyard.managed.argv import Argument
    from blockyard.managed.communicators import Communicator, Party, PipeCommunicator, SocketCommunicator
    from blockyard.managed.course import Policy
    from blockyard.managed.curve import CurveCommunicator
    from blockyard.managed.elog import HttpLog
    from blockyard.managed.environment import Secret
    from blockyard.managed.executor import BaseExecutor
    from blockyard.managed.executors import BinaryExecutor, Executor, MPIExecutor
    from blockyard.managed.hooks import HookEvent
    from blockyard.managed.records import AnalysisConfig, ManagedResult, ManagedTaskFailed, Output, TaskResult
    from blockyard.managed.registry import managed_task, register
    from blockyard.managed.run import ManagedSpec, run_managed
    from blockyard.managed.shim.blockyard_shim import Task, reporter
    from blockyard.managed.signals import Point, Signal
    from blockyard.managed.states import TaskStatus
    from blockyard.managed.tasklets import TaskletChanges, TaskSkipped

__all__ = [
    "BaseExecutor", "Executor", "BinaryExecutor", "MPIExecutor", "Policy", "Argument", "Output", "Secret",
    "Communicator", "PipeCommunicator", "SocketCommunicator", "CurveCommunicator", "Party",
    "Signal", "Point", "HookEvent", "TaskStatus", "TaskletChanges", "TaskSkipped", "Task", "reporter",
    "TaskResult", "ManagedResult", "AnalysisConfig", "ManagedTaskFailed",
    "HttpLog", "managed_task", "register", "ManagedSpec", "run_managed",
]  # fmt: skip

_HOMES = {
    "argv": ("Argument",),
    "communicators": ("Communicator", "Party", "PipeCommunicator", "SocketCommunicator"),
    "course": ("Policy",),
    "curve": ("CurveCommunicator",),
    "elog": ("HttpLog",),
    "environment": ("Secret",),
    "executor": ("BaseExecutor",),
    "executors": ("BinaryExecutor", "Executor", "MPIExecutor"),
    "hooks": ("HookEvent",),
    "records": ("AnalysisConfig", "ManagedResult", "ManagedTaskFailed", "Output", "TaskResult"),
    "registry": ("managed_task", "register"),
    "run": ("ManagedSpec", "run_managed"),
    "shim.blockyard_shim": ("Task", "reporter"),
    "signals": ("Point", "Signal"),
    "states": ("TaskStatus",),
    "tasklets": ("TaskletChanges", "TaskSkipped"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    # As in `blockyard`: who wants one name does not pay for all of them (PEP 562).
    if name not in _MODULES:
        raise AttributeError(f"module 'blockyard.managed' has no attribute {name!r}")
    return getattr(import_module(f"blockyard.managed.{_MODULES[name]}"), name)
