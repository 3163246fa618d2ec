"""The order of the house: imports point one way, and no file finds its modules by path."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THIEFCLOUD = ROOT / "ThiefCloud/thiefcloud"
# Folders with the name of the package in them, and the packages that it may import.
PACKAGES = {
    "cloudkit": (ROOT / "cloudkit", set[str]()),
    "trainkit": (ROOT / "trainkit", {"cloudkit"}),
    "scpm": (ROOT / "SCPM/src/scpm", {"cloudkit", "trainkit"}),
    "thiefcloud": (THIEFCLOUD, {"cloudkit", "trainkit", "scpm"}),
    "preparation": (ROOT / "data/preparation", {"cloudkit", "trainkit"}),
    "prior_ablation": (ROOT / "experiments", {"cloudkit", "trainkit", "scpm", "thiefcloud"}),
    "benchmarks": (ROOT / "benchmarks", {"cloudkit", "trainkit", "scpm", "thiefcloud"}),
    "examples": (ROOT / "examples", {"cloudkit", "thiefcloud"}),
    "webpage": (ROOT / "ThiefCloud/webpage", {"cloudkit", "scpm", "thiefcloud"}),
}
# Packages that serve training and scoring alone.
LEARNING = {"trainkit", "scpm.data", "scpm.batches", "thiefcloud.data", "thiefcloud.training"}
LEARNING |= {"thiefcloud.scoring_options"}
# Rooms of thiefcloud, and what they do not import. The network imports none.
ROOMS = {
    "inference": LEARNING,
    "training": {"thiefcloud.scoring_options"},
    "baselines": LEARNING | {"thiefcloud.inference"},
    "data": {"thiefcloud.inference", "thiefcloud.training", "thiefcloud.scoring_options"},
}
FOLDERS = ["cloudkit", "trainkit", "SCPM", "ThiefCloud", "checkpoints", "data", "experiments"]
FOLDERS += ["Figure", "benchmarks", "examples", "tests"]


def syntax_of(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imported(path: Path) -> set[str]:
    """Return the full names of a module's imports, at the top and within functions."""
    names = set()
    for node in syntax_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_of(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def wrong_imports(folder: Path, forbidden: set[str]) -> dict[str, list[str]]:
    """Return the imports of forbidden packages, by module."""
    modules = sorted(folder.rglob("*.py"))
    assert modules
    wrong = {}
    for path in modules:
        found = [name for name in imported(path) if is_of(name, forbidden)]
        if found:
            wrong[str(path.relative_to(ROOT))] = sorted(found)
    return wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    folder, allowed = PACKAGES[package]
    forbidden = {*PACKAGES, "tests"} - allowed - {package}
    assert wrong_imports(folder, forbidden) == {}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_of_thiefcloud_point_one_way(room: str) -> None:
    assert wrong_imports(THIEFCLOUD / room, ROOMS[room]) == {}


def test_the_network_imports_nothing_else_of_its_package() -> None:
    modules = sorted((THIEFCLOUD / "network").rglob("*.py"))
    assert modules
    for path in modules:
        own = {name for name in imported(path) if is_of(name, {"thiefcloud"})}
        assert all(is_of(name, {"thiefcloud.network"}) for name in own), path


# Packages that Python programs do not need: those for training, scoring and the command line.
UNUSED = LEARNING | {"scpm.options", "tensorboard", "tyro"}
# Packages that take longer to load than PyTorch itself, or nearly so, and serve few runs.
SLOW = {"torchvision", "torch._dynamo", "scipy.stats", "skimage", "lpips", "matplotlib", "onnx"}
# Starts scripts as their user does, with --help, and prints what they loaded.
START = """
import sys
from pathlib import Path
from tests.helpers import run_script

assert [run_script(Path(script), "--help") for script in sys.argv[1:]] == [0] * len(sys.argv[1:])
print("LOADED", *sys.modules)
"""
SCRIPTS = ["SCPM/src/train_cd.py", "ThiefCloud/train.py", "ThiefCloud/test.py"]
SCRIPTS += ["ThiefCloud/predict.py", "experiments/ablation.py"]
RESTORING = ["ThiefCloud/predict.py", "ThiefCloud/app.py", "ThiefCloud/export.py"]
# Modules that the examples and the page restore with.
PARTS = "thiefcloud.inference.scene_options, thiefcloud.inference.image_files, webpage.work"


def modules_after(statement: str) -> list[str]:
    """Return the names of the modules that a new process has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    return subprocess.check_output([sys.executable, "-c", code], text=True).split()


def test_the_package_loads_no_training_code() -> None:
    loaded = modules_after("import thiefcloud")
    assert "thiefcloud.network.model" in loaded
    assert [name for name in loaded if is_of(name, UNUSED)] == []


def loaded_by(scripts: list[str]) -> list[str]:
    """Return the names of the modules that scripts load when they start."""
    command = [sys.executable, "-c", START, *(str(ROOT / script) for script in scripts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.partition("LOADED ")[2].split()
    assert "thiefcloud.network.model" in loaded
    return loaded


def test_scripts_start_without_slow_packages() -> None:
    assert [name for name in loaded_by(SCRIPTS) if is_of(name, SLOW)] == []


def test_programs_that_restore_load_no_training_code() -> None:
    for loaded in (loaded_by(RESTORING), modules_after(f"import {PARTS}")):
        assert "thiefcloud.inference.options" in loaded
        assert [name for name in loaded if is_of(name, LEARNING)] == []


def test_programs_that_restore_import_no_training_code_later() -> None:
    """An import within a function counts. Ray and Dask, which examples need, may be missing."""
    assert wrong_imports(ROOT / "examples", LEARNING) == {}
    for script in RESTORING:
        assert [name for name in imported(ROOT / script) if is_of(name, LEARNING)] == []


def test_locks_of_folders_load_no_pytorch() -> None:
    """Tasks that wait for each other then start at once."""
    code = "import sys, cloudkit.shares; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def mentions_resume(path: Path) -> bool:
    """Tell whether code, not docstrings, comments or messages, names the option `resume`."""
    for node in syntax_of(path):
        for field in ("id", "attr", "arg", "value"):  # names, attributes, arguments, strings
            if getattr(node, field, None) in ("resume", "--resume"):
                return True
    return False


def test_one_object_alone_decides_what_resume_means() -> None:
    """The options declare it, and only the run reads it."""
    found = set()
    for folder in ("trainkit", "cloudkit", "SCPM", "ThiefCloud"):
        found |= {path for path in (ROOT / folder).rglob("*.py") if mentions_resume(path)}
    run = ROOT / "trainkit/training/run.py"
    options = {ROOT / "SCPM/src/scpm/options.py", THIEFCLOUD / "training/options.py"}
    assert found == {run} | options


def changes_module_path(path: Path) -> bool:
    """Tell whether a module names sys.path."""
    for node in syntax_of(path):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            return True
    return "sys.path" in imported(path)


def test_no_file_changes_where_modules_are_found() -> None:
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 50
    assert [str(path.relative_to(ROOT)) for path in sources if changes_module_path(path)] == []
