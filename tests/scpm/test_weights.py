from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import scpm
from cloudkit.checkpoints import CheckpointError, save_checkpoint
from cloudkit.memory import ordered_to_restore
from scpm import SCPM
from tests.official import (
    FIXTURES,
    formula_weights,
    outside,
    prior_weights,
    relative_error,
    vectors,
)


def assert_official_outputs(model: SCPM) -> None:
    expected = vectors(FIXTURES / "official_formula_vectors.npz")
    # In float64 nearly all of the difference is rounding of the expected values.
    with torch.no_grad():
        prior = model.double()(expected["input"].double())

    for name in ("thickness", "features_full", "features_half", "features_quarter"):
        found = getattr(prior, name.removeprefix("features_"))
        assert relative_error(found, expected[name]) < 1e-5, name


def official_training_checkpoint(path: Path) -> Path:
    """A file with all that the official training of SCPM saves."""
    content = {
        "cur_itrs": 1,
        "model_state": prior_weights(formula_weights()),
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "scheduler_state": {"last_epoch": 1, "base_lrs": [1e-4]},
        "best_score": np.float32(0.25),
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize("load", [scpm.load, scpm.load_official])
def test_official_training_checkpoint(load: Callable[[Path], SCPM], tmp_path: Path) -> None:
    model = load(official_training_checkpoint(tmp_path / "official.pth"))
    assert not model.training
    assert_official_outputs(model)


def test_official_state_dict(tmp_path: Path) -> None:
    torch.save(prior_weights(formula_weights()), tmp_path / "official.pth")
    assert_official_outputs(scpm.load(tmp_path / "official.pth"))


def test_official_weights_need_official_sampling() -> None:
    model = SCPM(sampling="standard").eval()
    model.load_state_dict(scpm.from_official_names(prior_weights(formula_weights())))
    expected = vectors(FIXTURES / "official_formula_vectors.npz")
    with torch.no_grad():
        assert relative_error(model(expected["input"]).thickness, expected["thickness"]) > 0.05


def test_released_official_checkpoint() -> None:
    model = scpm.load_official(outside("official_scpm.pth"))
    assert model.config["sampling"] == "official"
    with torch.no_grad():
        assert model(torch.rand(1, 3, 16, 16)).thickness.isfinite().all()


@pytest.mark.parametrize("config", [{}, {"sampling": "official"}, {"in_channels": 4}])
def test_our_checkpoint_keeps_network_and_output(config: dict[str, object], tmp_path: Path) -> None:
    model = SCPM(**config).train()  # type: ignore[arg-type]
    images = torch.rand(2, model.in_channels, 16, 16)
    model(images)  # changes the statistics of BatchNorm

    save_checkpoint(tmp_path / "best.pt", "scpm", model.config, {"model": model.state_dict()})
    loaded = scpm.load(tmp_path / "best.pt")
    assert loaded.config == model.config
    assert not loaded.training

    with torch.no_grad():
        found, expected = loaded(images), ordered_to_restore(model).eval()(images)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"format": "thiefcloud-1", "network": "thiefcloud"},
            "holds the network 'thiefcloud', expected 'scpm'",
        ),
        ({"epoch": 3}, "holds no SCPM of the official code"),
        ({1: 2}, "holds no SCPM of the official code"),
        ({"model_state": 7}, "holds no SCPM of the official code"),
        (formula_weights(), "holds no SCPM of the official code"),
    ],
    ids=["other network", "other dict", "other keys", "no weights", "official ThiefCloud"],
)
def test_other_files_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        scpm.load(tmp_path / "other.pt")


def test_official_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = prior_weights(formula_weights())
    weights["module.final.bias"] = weights.pop("final.bias")
    torch.save(weights, tmp_path / "official.pth")
    with pytest.raises(
        CheckpointError, match=r"1 missing \(head\.bias\); 1 unknown \(module\.final\.bias\)"
    ):
        scpm.load(tmp_path / "official.pth")


def test_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt; SCPM/src/train_cd\.py trains SCPM"):
        scpm.load(tmp_path / "none.pt")
