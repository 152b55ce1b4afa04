"""Two kinds of import-linter contract that the stock ones do not offer; pyproject.toml lists who must keep them.

`home`: a third-party (or standard library) module may be imported by its homes only, wherever the importer is.
`pure`: a package imports nothing that reads a clock, draws a number or does I/O, and of our own code only what is
listed; so its decisions are functions of their arguments.

Both look at direct imports: a package's `__init__` that offers public names would otherwise taint each of its modules.
A rule about a module that does not exist is broken, so that a renamed package does not quietly lose its rule.
"""

from collections.abc import Iterable

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

# fmt: off
IMPURE = frozenset({
    "asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "platform", "queue", "random", "resource", "secrets", "select", "selectors", "shutil", "signal",
    "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "pickle",
    "cloudpickle", "click", "kopf", "kubernetes", "prometheus_client", "psycopg", "rich", "sqlalchemy", "zmq",
})
# fmt: on
"""Modules that reach outside a function's arguments."""


def is_inside(module: str, package: str) -> bool:
    """Whether `module` is `package` or below it. ``*.name`` stands for every module of that name."""
    if package.startswith("*."):
        return f"{module}.".find(f"{package[1:]}.") >= 0
    return module == package or module.startswith(package + ".")


def inside_any(module: str, packages: Iterable[str]) -> bool:
    return any(is_inside(module, package) for package in packages)


def where(graph: ImportGraph, importer: str, imported: str) -> str:
    """One line for the report: who imports what, with the line and its text."""
    details = graph.get_import_details(importer=importer, imported=imported)
    lines = ", ".join(f"line {detail['line_number']}: {detail['line_contents']}" for detail in details)
    return f"{importer} imports {imported} ({lines})"


def strangers(graph: ImportGraph, third_party: Iterable[str], homes: Iterable[str]) -> list[str]:
    """Imports of `third_party` modules by modules outside `homes`."""
    homes = list(homes)
    return [
        where(graph, importer, imported)
        for imported in sorted(graph.modules)
        if inside_any(imported, third_party)
        for importer in sorted(graph.find_modules_that_directly_import(imported))
        if not inside_any(importer, homes) and not inside_any(importer, third_party)
    ]


def impurities(graph: ImportGraph, packages: Iterable[str], may_import: Iterable[str], ours: set[str]) -> list[str]:
    """Imports by `packages` of impure modules, and of modules of ours (by their root); `may_import` excepts some."""
    packages, allowed = list(packages), [*packages, *may_import]
    return [
        where(graph, importer, imported)
        for importer in sorted(graph.modules)
        if inside_any(importer, packages)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
        if (imported.split(".")[0] in ours or inside_any(imported, IMPURE)) and not inside_any(imported, allowed)
    ]


def missing(graph: ImportGraph, modules: Iterable[str]) -> list[str]:
    return [
        f"{module} does not exist; name it anew in pyproject.toml"
        for module in modules
        if module[0] != "*" and module not in graph.modules
    ]


def listed(value: object) -> list[str]:
    """What import-linter put in a field's place: a list of names, or None where the field was left out."""
    return [str(name) for name in value] if isinstance(value, list) else []


class _Listing(Contract):
    """A contract whose report is a list of sentences."""

    def faults(self, graph: ImportGraph) -> list[str]:
        raise NotImplementedError

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001 - their signature
        faults = self.faults(graph)
        return ContractCheck(kept=not faults, metadata={"faults": faults})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for fault in check.metadata["faults"]:
            output.print_error(fault, bold=False)


class HomeContract(_Listing):
    """`third_party` modules are imported inside `homes` only."""

    third_party = fields.ListField(subfield=fields.StringField())
    homes = fields.ListField(subfield=fields.StringField())

    def faults(self, graph: ImportGraph) -> list[str]:
        homes = listed(self.homes)
        return missing(graph, homes) + strangers(graph, listed(self.third_party), homes)


class PureContract(_Listing):
    """`packages` import nothing impure, and of our own code only themselves; `may_import` lists the exceptions."""

    packages = fields.ListField(subfield=fields.StringField())
    may_import = fields.ListField(subfield=fields.StringField(), required=False)

    def faults(self, graph: ImportGraph) -> list[str]:
        packages, allowed = listed(self.packages), listed(self.may_import)
        ours = {name.split(".")[0] for name in graph.modules if not graph.is_module_squashed(name)}
        return missing(graph, [*packages, *allowed]) + impurities(graph, packages, allowed, ours)
