"""The house rules that a machine can hold: who imports whom, what a core may touch, who starts tasks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAITS_READS_OR_ASKS = (
    *("aiohttp", "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "nats", "os"),
    *("pathlib", "picows", "prometheus_client", "queue", "random", "rich", "secrets", "select"),
    *(
        "selectors",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "structlog",
        "subprocess",
        "sys",
        "tempfile",
    ),
    *("threading", "time", "typer", "urllib.request", "uuid", "uvloop", "websockets"),
)
"""Modules that wait, read, or ask for the time or for randomness: a core gets these as arguments."""
PURE_SHARED = (
    "shared.codec",
    "shared.consent",
    "shared.contracts",
    "shared.identifiers",
    "shared.identity",
    "shared.parts",
    "shared.replica",
    "shared.subjects",
)
TASK_STARTERS = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
BROAD_EXCEPT_PLACES = {
    # the message boundary: a callback's fault is handed to the supervised task, which raises it
    "shared/bus/bus.py": 2,
    # the command line's boundary: an error becomes one line and a status
    "shared/cli/__init__.py": 1,
    # a client's frame: our own fault at it closes that socket and nobody else's
    "services/gateway/service.py": 1,
}
"""Files outside shared/runtime that may catch Exception, and how often, each with its reason."""


def modules(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.is_file()
    )


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, `from a import b` as `a.b`, inside functions too."""
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                skipped |= {inner for line in node.body for inner in ast.walk(line)}
    for node in ast.walk(tree(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are folder paths"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offenders(paths: list[Path], *packages: str) -> list[str]:
    return [
        f"{name_of(path)}:{line} imports {module}"
        for path in paths
        for line, module in imports(path)
        if is_in(module, *packages)
    ]


def is_core(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return parts[0] == "services" and ("core" in parts[2:-1] or path.name == "core.py")


def cores() -> list[Path]:
    return [path for path in modules("services") if is_core(path)]


def test_there_is_something_to_check() -> None:
    assert len(modules("shared")) > 20
    assert len(cores()) >= 1


def test_shared_imports_no_service_no_load_and_no_test() -> None:
    assert offenders(modules("shared"), "services", "load", "tests") == []


def test_a_service_imports_no_other_service() -> None:
    found = []
    for path in modules("services"):
        parts = path.relative_to(ROOT).parts
        # services/city is the supervisor: it starts the others by name
        own = f"services.{parts[1].removesuffix('.py')}"
        for line, module in imports(path):
            if is_in(module, "services") and module != "services" and not is_in(module, own):
                found.append(f"{name_of(path)}:{line} imports {module}")
    assert found == []


def test_nothing_imports_the_tests_or_the_load() -> None:
    assert offenders(modules("services", "shared"), "tests", "load") == []
    # a benchmark measures a core by itself; all else of the load goes through the door
    driving = [path for path in modules("load") if "bench" not in path.parts]
    assert offenders(modules("load"), "tests") == []
    assert offenders(driving, "services") == []


def test_a_room_of_the_load_imports_only_those_before_it() -> None:
    rooms = ("story", "swarm", "judge", "report", "play", "replay")
    for place, room in enumerate(rooms):
        # the two runs stand beside each other
        later = {*rooms[place + 1 :], *(("play",) if room == "replay" else ())}
        paths = modules(f"load/{room}")
        assert paths, room
        assert offenders(paths, "load.commands", *(f"load.{each}" for each in later)) == []


def test_only_the_bus_imports_nats() -> None:
    outside = [
        path
        for path in modules("shared", "services", "load", "tests")
        if not name_of(path).startswith("shared/bus/")
    ]
    assert offenders(outside, "nats", "nkeys") == []


def test_the_pure_part_of_shared_imports_only_itself() -> None:
    found = []
    for path in modules("shared"):
        if not is_in(module_of(path), *PURE_SHARED):
            continue
        for line, module in imports(path):
            if is_in(module, *WAITS_READS_OR_ASKS) or (
                is_in(module, "shared") and not is_in(module, *PURE_SHARED)
            ):
                found.append(f"{name_of(path)}:{line} imports {module}")
    assert found == []


@cache
def reaches(module: str) -> str | None:
    """The chain by which a module of shared comes to something impure, None if it does not."""
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.exists():  # a name within a module
        parent = module.rpartition(".")[0]
        return reaches(parent) if is_in(parent, "shared") and parent != "shared" else None
    for _, imported in imports(path, at_run_time=True):
        if is_in(imported, *WAITS_READS_OR_ASKS):
            return f"{module} → {imported}"
        if is_in(imported, "shared") and not is_in(imported, module):
            chain = reaches(imported)
            if chain is not None:
                return f"{module} → {chain}"
    return None


def test_a_core_waits_reads_and_asks_for_nothing() -> None:
    found = []
    for path in cores():
        for line, module in imports(path, at_run_time=True):
            chain = None
            if is_in(module, *WAITS_READS_OR_ASKS):
                chain = module
            elif is_in(module, "shared"):
                chain = reaches(module)
            if chain is not None:
                found.append(f"{name_of(path)}:{line} imports {chain}")
    assert found == []


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                yield node.lineno, function.attr, node
            elif isinstance(function, ast.Name):
                yield node.lineno, function.id, node


def own_name(node: ast.AST | None) -> str | None:
    """`group` of `group` and of `self.group`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def task_groups(path: Path) -> Iterator[str | None]:
    """The names under which a file holds task groups."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.AsyncWith):
            for item in node.items:
                if "TaskGroup" in ast.dump(item.context_expr):
                    yield own_name(item.optional_vars)
        elif isinstance(node, ast.Assign) and "'TaskGroup'" in ast.dump(node.value):
            yield from map(own_name, node.targets)
        elif isinstance(node, ast.arg) and "TaskGroup" in ast.dump(node.annotation or node):
            yield node.arg


def test_tasks_are_started_in_a_task_group_or_by_the_runner() -> None:
    """A task that nobody awaits loses its error, and may be collected while it runs."""
    found = []
    for path in modules("shared", "services", "load"):
        if name_of(path).startswith("shared/runtime/"):
            continue
        groups = set(task_groups(path))
        awaited = {
            node.value
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr == "result"
        }
        for line, name, call in calls(path):
            if name not in TASK_STARTERS or call in awaited:
                continue
            owner = call.func.value if isinstance(call.func, ast.Attribute) else None
            if name == "create_task" and own_name(owner) in groups:
                continue
            found.append(f"{name_of(path)}:{line} calls {name}")
    assert found == []


def test_exceptions_are_caught_by_name() -> None:
    found = {}
    for path in modules("shared", "services", "load"):
        if name_of(path).startswith("shared/runtime/"):
            continue
        broad = sum(
            isinstance(node, ast.ExceptHandler)
            and (node.type is None or "'Exception'" in ast.dump(node.type))
            and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in node.body)
            for node in ast.walk(tree(path))
        )
        if broad != BROAD_EXCEPT_PLACES.get(name_of(path), 0):
            found[name_of(path)] = broad
    assert found == {}


def test_a_main_is_one_call_to_the_runner() -> None:
    for path in modules("services"):
        if path.name == "__main__.py":  # imports and one call, so it needs no docstring either
            statements = [
                node
                for node in tree(path).body
                if not isinstance(node, ast.Import | ast.ImportFrom | ast.If)
                and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            ]
            assert len(statements) <= 1, f"{name_of(path)} does more than run"


def test_nothing_runs_without_assertions() -> None:
    """`python -O` and PYTHONOPTIMIZE drop assertions, and ours stay on in production."""
    for path in (*ROOT.glob("deploy/**/*"), *ROOT.glob("k8s/**/*"), ROOT / "Makefile"):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            assert "PYTHONOPTIMIZE" not in text, path
            assert "python -O" not in text, path
            assert "python3 -O" not in text, path


@pytest.mark.parametrize("path", modules("shared", "services", "load", "tests"), ids=name_of)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    if path.name != "__main__.py" and path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree(path)), f"{name_of(path)} has no docstring"
