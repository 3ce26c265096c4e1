# SPDX-License-Identifier: MIT
"""The shape of the package: who imports whom, what an import costs, and where the cgroup version may be asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycgroup

PACKAGE = Path(pycgroup.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))

# Lowest first; a module imports only from rows above its own. A new module needs a place here.
ROWS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (layer, frozenset(names.split()))
    for layer, names in (
        ("L0", "_types"),
        ("L0", "errors _lazy _locks"),
        ("L0", "codecs names"),
        ("L0", "stats cpusets quotas"),
        ("L0", "devices happenings"),
        ("L1", "_kernfs _codes _log _ownership _removals _waiting mountinfo"),
        ("L1", "_native"),
        ("L1", "_systemd"),
        ("L1", "subtrees"),
        ("L2", "hierarchy"),
        ("L2", "hosts"),
        ("L3", "delegation"),
        ("L2", "settings"),
        ("L2", "actions sized"),
        ("L2", "victims proclist"),
        ("L3", "_tasks _signals _aio"),
        ("L3", "events"),
        ("L3", "oom watches observer sources"),
        ("L3", "openers view"),
        ("L3", "members"),
        ("L3", "base"),
        ("L3", "freezing"),
        ("L4", "controllers"),
        ("L5", "calming limits owners spawn turns"),
        ("L5", "ending making placed"),
        ("L5", "steps"),
        ("L5", "combined"),
        ("L5", "starting"),
        ("L5", "results worker"),
        ("L5", "running asynchronous functions"),
        ("L5", "group"),
        ("L6", "limiting executor reaping"),
        ("L6", "__init__"),
        ("L6", "remedies"),
        ("L6", "doctor"),
        ("L7", "pytest_child"),
        ("L7", "pytest_limited"),
        ("L7", "pytest_plugin cli"),
        ("L7", "__main__"),
    )
)
RANKS = {name: rank for rank, (_, names) in enumerate(ROWS) for name in names}

# Differences between the versions live in the columns (read by settings.py), the codecs and _signals.py, nowhere else.
MAY_ASK_FOR_THE_VERSION = {"settings", "codecs", "_signals"}


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def imported(module: str) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports anywhere, without the leading `pycgroup.`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("pycgroup.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = (node.module or "").removeprefix("pycgroup.")
            if node.level == 0 and not (node.module or "").startswith("pycgroup"):
                yield source
            elif source in ("", "pycgroup"):
                yield from (
                    alias.name if alias.name in [*MODULES, "_libcgroup"] else "__init__" for alias in node.names
                )
            else:
                yield source


def own_imports(module: str) -> set[str]:
    return {"__init__" if name == "pycgroup" else name for name in imported(module) if name in [*MODULES, "pycgroup"]}


@pytest.mark.parametrize("module", MODULES)
def test_module_has_a_layer(module: str) -> None:
    assert module in RANKS, f"{module} has no row in the table of layers (DESIGN section 4)"


@pytest.mark.parametrize("module", [module for module in MODULES if module in RANKS])
def test_module_imports_only_lower_layers(module: str) -> None:
    above = {name for name in own_imports(module) if RANKS.get(name, -1) >= RANKS[module]}
    assert not above, f"{module} ({ROWS[RANKS[module]][0]}) imports its own or a higher layer: {sorted(above)}"


@pytest.mark.parametrize("module", MODULES)
def test_only_native_imports_the_extension(module: str) -> None:
    assert module == "_native" or not any("_libcgroup" in name for name in imported(module))


def compares_the_version(node: ast.AST) -> bool:
    """Tell whether a node branches on something called `version`."""
    match node:
        case ast.Compare():
            operands = [node.left, *node.comparators]
        case ast.If() | ast.IfExp() | ast.While():
            operands = [node.test]
        case ast.Match():
            operands = [node.subject]
        case _:
            return False
    names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in operands}
    return "version" in names or "column" in names


@pytest.mark.parametrize("module", sorted(set(MODULES) - MAY_ASK_FOR_THE_VERSION))
def test_nobody_else_branches_on_the_version(module: str) -> None:
    lines = [
        node.lineno
        for node in ast.walk(tree(module))
        if isinstance(node, ast.expr | ast.stmt) and compares_the_version(node)
    ]
    assert not lines, f"{module}.py branches on the cgroup version in lines {lines}"


@pytest.mark.parametrize("code", ["d.version == 2", "1 if version else 2", "version in (1, 2)", "1 != self.version"])
def test_the_search_for_versions_finds_them(code: str) -> None:
    assert any(compares_the_version(node) for node in ast.walk(ast.parse(code)))


def test_build_script_imports_nothing_of_the_package() -> None:
    script = PACKAGE.parent / "build_libcgroup.py"
    if not script.exists():
        pytest.skip("pycgroup is not run from its source tree")
    found = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any("pycgroup" in ast.unparse(node) for node in found)


IMPORT = """
import sys
before = set(sys.modules)
import pycgroup
print(*sorted(set(sys.modules) - before))
"""


def modules_loaded_by_import() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["asyncio", "subprocess", "concurrent.futures", "pytest", "ctypes"])
def test_import_does_not_load(module: str) -> None:
    assert module not in modules_loaded_by_import()


def test_import_does_not_load_the_library() -> None:
    assert "pycgroup._libcgroup" not in modules_loaded_by_import()


@pytest.mark.parametrize("module", MODULES)
def test_every_module_names_its_licence(module: str) -> None:
    assert (PACKAGE / f"{module}.py").read_text().startswith("# SPDX-License-Identifier: MIT\n")
