from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import CheckpointError, save_checkpoint, save_released
from cloudkit.errors import UserError
from prior_ablation.arms import label_priors, make_arms, sort_arms
from prior_ablation.options import KINDS, AblationOptions
from scpm import SCPM


def save_prior(path: Path, step: int | None, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = SCPM()
    state = {"model": model.state_dict(), **({} if step is None else {"step": step})}
    save_checkpoint(path, "scpm", model.config, state)
    return path


def test_all_arms_with_two_priors(tmp_path: Path) -> None:
    priors = save_prior(tmp_path / "one.pt", 500), save_prior(tmp_path / "two.pt", 20_000, seed=1)
    arms = {arm.name: arm for arm in make_arms(AblationOptions(priors=priors))}
    assert list(arms) == [
        "no-prior",
        "untrained-frozen",
        "trained-frozen-500",
        "trained-frozen-20000",
        "trained-tunable",
        "trained-then-tunable",
        "unet",
    ]
    assert sort_arms(sorted(arms)) == list(arms)
    frozen, last = ["--epochs-frozen", "7", "--epochs-tunable", "0"], ["--prior", str(priors[1])]
    assert {name: arm.train_arguments(7) for name, arm in arms.items()} == {
        "no-prior": [*frozen, "--no-prior"],
        "untrained-frozen": [*frozen, "--untrained-prior"],
        "trained-frozen-500": [*frozen, "--prior", str(priors[0])],
        "trained-frozen-20000": [*frozen, *last],
        "trained-tunable": ["--epochs-frozen", "0", "--epochs-tunable", "7", *last],
        "trained-then-tunable": ["--epochs-frozen", "4", "--epochs-tunable", "3", *last],
        "unet": [*frozen, "--network", "unet"],
    }
    assert arms["trained-tunable"].digest == arms["trained-frozen-20000"].digest
    assert arms["trained-frozen-500"].digest != arms["trained-frozen-20000"].digest
    assert arms["no-prior"].digest is None


def test_arms_without_a_prior_need_no_file() -> None:
    untrained = AblationOptions(
        priors=(Path("absent.pt"),), arms=("unet", "no-prior", "untrained-frozen")
    )
    assert [arm.name for arm in make_arms(untrained)] == ["no-prior", "untrained-frozen", "unet"]
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        make_arms(AblationOptions(priors=(Path("absent.pt"),), arms=KINDS[:3]))


def test_labels(tmp_path: Path) -> None:
    released, model = tmp_path / "released.safetensors", SCPM()
    save_released(released, "scpm", model.config, model.state_dict(), {"step": 1500})
    assert label_priors([save_prior(tmp_path / "a.pt", 0), released]) == ["0", "1500"]
    assert label_priors([save_prior(tmp_path / "b.pt", None), released]) == ["b", "1500"]
    assert label_priors([save_prior(tmp_path / "c.pt", 0), tmp_path / "a.pt"]) == [
        "c",
        "a",
    ]  # equal steps
    deep = [save_prior(tmp_path / folder / "best.pt", 9) for folder in ("x", "y")]
    assert label_priors(deep) == ["x-best", "y-best"]
    with pytest.raises(UserError, match=r"cannot be told apart by name"):
        label_priors([deep[0], tmp_path / "x" / ".." / "x" / "best.pt"])
    save_checkpoint(tmp_path / "other.pt", "unet", {}, {"model": {}})
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        label_priors([tmp_path / "other.pt"])
