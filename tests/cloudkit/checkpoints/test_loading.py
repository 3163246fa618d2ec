import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import scpm
from cloudkit.checkpoints import CheckpointError, load_weights, read_file, rename, save_checkpoint


class Malicious:
    """Pickles as a call that creates a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.victim,)


def test_no_code_runs_from_a_file(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "evil.pt"
    torch.save({"weight": torch.zeros(1), "best_score": Malicious(victim)}, path)
    with pytest.raises(
        CheckpointError, match=r"evil\.pt cannot be read as a PyTorch checkpoint"
    ) as caught:
        read_file(path)
    assert not victim.exists()
    assert "can still be loaded" not in str(caught.value)  # PyTorch's advice to read it carelessly

    torch.load(path, weights_only=False)
    assert victim.exists()  # the file would have harmed a careless reader


@pytest.mark.parametrize(
    "module", [b"numpy._core.multiarray", b"numpy.core.multiarray"], ids=["NumPy 2", "NumPy 1"]
)
@pytest.mark.parametrize("score", [np.float32(0.5), np.float64(0.5)])
def test_numpy_scores_are_read(score: np.floating, module: bytes, tmp_path: Path) -> None:
    path = tmp_path / "official.pth"
    torch.save(
        {"best_score": score}, path, _use_new_zipfile_serialization=False
    )  # the older format is plain bytes
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content

    path.write_bytes(content.replace(b"numpy._core.multiarray", module))
    found = read_file(path)["best_score"]
    assert found == score
    assert type(found) is type(score)


def whole_file(path: Path) -> bytes:
    torch.save({"weight": torch.zeros(1000)}, path)
    return path.read_bytes()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_damaged_file_is_named(part: float, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    content = whole_file(path)
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(
        CheckpointError, match=r"last\.pt cannot be read .* damaged .* fetch it anew"
    ):
        read_file(path)


def test_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("not weights")
    with pytest.raises(CheckpointError, match=r"notes\.pt cannot be read"):
        read_file(tmp_path / "notes.pt")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match=r"tensor\.pt holds a Tensor, expected a dict"):
        read_file(tmp_path / "tensor.pt")


@pytest.mark.parametrize("missing", ["config", "model"])
def test_a_checkpoint_that_lacks_something(missing: str, tmp_path: Path) -> None:
    content = {"format": "thiefcloud-1", "network": "scpm", "config": {}, "model": {}}
    torch.save(
        {name: value for name, value in content.items() if name != missing}, tmp_path / "half.pt"
    )
    with pytest.raises(CheckpointError, match=rf"half\.pt lacks its {missing}; it may be damaged"):
        scpm.load(tmp_path / "half.pt")


def test_missing_file_comes_with_the_hint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"best\.pt; train first\."):
        read_file(tmp_path / "best.pt", hint="train first")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 4 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python would cut the bytecode of modules, too, and keep it
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = before


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, "scpm", {}, {"model": {"weight": torch.ones(1)}})
    before = path.read_bytes()
    with (
        full_disk(),
        pytest.raises(
            OSError, match=r"last\.pt could not be written \(.+\): make room .* untouched"
        ),
    ):
        save_checkpoint(path, "scpm", {}, {"model": {"weight": torch.zeros(10_000)}})

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [OSError("no space left"), RuntimeError("write failed\nC++ trace"), KeyboardInterrupt()],
)
def test_write_that_breaks_off_midway(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    path = tmp_path / "last.pt"
    path.write_bytes(b"old")
    monkeypatch.setattr(torch, "save", break_off)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError
    with pytest.raises(expected) as caught:
        save_checkpoint(path, "scpm", {}, {"model": {}})
    assert "C++ trace" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_do_not_fit_are_named() -> None:
    weights = {
        "weight": torch.zeros(3, 2),
        **{f"extra{number}": torch.zeros(1) for number in range(5)},
    }
    with pytest.raises(CheckpointError, match=r"in my\.pt do not fit Linear") as caught:
        load_weights(nn.Linear(3, 2), weights, Path("my.pt"))

    problems = (
        "1 missing (bias); 5 unknown (extra0, extra1, extra2, ...); 1 of another shape (weight)"
    )
    assert problems in str(caught.value)
    assert "Name weights of this version, or train anew." in str(caught.value)


def test_values_that_are_no_weights_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"2 of another shape \(bias, weight\)"):
        load_weights(nn.Linear(3, 2), {"weight": 1, "bias": "x"}, Path("my.pt"))  # type: ignore[dict-item]


def test_loading_imports_no_compiler(tmp_path: Path) -> None:
    """Planning a network on the meta device would, which takes seconds."""
    model = scpm.SCPM()
    save_checkpoint(tmp_path / "a.pt", "scpm", model.config, {"model": model.state_dict()})
    code = f"import sys, scpm; scpm.load({str(tmp_path / 'a.pt')!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "scpm" in done.stdout.split()
    assert "torch._dynamo" not in done.stdout.split()


def test_rename_takes_the_first_prefix_that_fits_and_only_prefixes() -> None:
    one, two, three, four = torch.arange(4)
    weights = {"conv1.0.a": one, "conv1.a": two, "up.conv1.a": three, "a": four}
    renamed = rename(weights, [("conv1.0.", "first."), ("conv1.", "second."), ("first.", "third.")])
    assert renamed == {"first.a": one, "second.a": two, "up.conv1.a": three, "a": four}


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is a folder, .* it holds none"):
        read_file(tmp_path)
    (tmp_path / "epoch.pt").touch()
    with pytest.raises(FileNotFoundError, match=r"is a folder, .*; name .*epoch\.pt"):
        read_file(tmp_path)
    (tmp_path / "best.pt").touch()
    with pytest.raises(FileNotFoundError, match=r"is a folder, .*; name .*best\.pt"):
        read_file(tmp_path)
