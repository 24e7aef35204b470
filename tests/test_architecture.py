"""The house: imports point one way, and importing the method stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "pipeline": {"assets", "trainers", "ladder", "dagster", "tests"},
    "assets": {"trainers", "ladder", "torch", "transformers", "vllm", "tests"},
    "trainers": {"assets", "ladder", "dagster", "tests"},
    "ladder": {"dagster", "tests"},
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{f.name}: {name}" for f in files for name in imported(f) if name in FORBIDDEN[package]
    ]
    assert wrong == []


def test_importing_the_method_loads_neither_torch_nor_vllm_nor_dagster() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "pipeline").rglob("*.py")
    ]
    code = f"import importlib, sys\nfor m in {modules}: importlib.import_module(m)\n" + (
        "print([m for m in ('torch', 'vllm', 'transformers', 'dagster') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_code_evaluates_data() -> None:
    calls = [
        f"{path.name}:{node.lineno}"
        for package in FORBIDDEN
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"})
            or (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in {"literal_eval", "unsafe_load"}
            )
        )
    ]
    assert calls == []


def test_no_error_is_swallowed_broadly() -> None:
    broad = [
        f"{path.name}:{node.lineno}"
        for package in FORBIDDEN
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    assert broad == []
