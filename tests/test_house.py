"""The order of the house: imports point one way, and no file finds its modules by path."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"cloudkit": ROOT / "cloudkit", "scpm": ROOT / "SCPM/src/scpm", "thiefcloud": ROOT / "ThiefCloud/thiefcloud"}
MAY_IMPORT = {"cloudkit": set(), "scpm": {"cloudkit"}, "thiefcloud": {"cloudkit", "scpm"}}
FOLDERS = ("cloudkit", "SCPM", "ThiefCloud", "checkpoints", "data", "Figure", "benchmarks", "tests")


def imported(path: Path) -> set[str]:
    """Top-level names of the absolute imports of a module, wherever in it they stand."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    modules = sorted(PACKAGES[package].rglob("*.py"))
    assert len(modules) > 5
    forbidden = {*PACKAGES, "benchmarks", "tests"} - MAY_IMPORT[package] - {package}
    wrong = {str(path.relative_to(ROOT)): found for path in modules if (found := imported(path) & forbidden)}
    assert wrong == {}


def changes_module_path(path: Path) -> bool:
    """Whether a module names sys.path."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "sys" and "path" in [alias.name for alias in node.names]:
            return True
    return False


def test_no_file_changes_where_modules_are_found() -> None:
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 50
    assert [str(path.relative_to(ROOT)) for path in sources if changes_module_path(path)] == []
