from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import CheckpointError, save_checkpoint
from cloudkit.memory import ordered_to_restore
from scpm import SCPM
from tests.official import FIXTURES, formula_weights, outside, relative_error, vectors
from thiefcloud import RemovalNetwork, ThiefCloud
from thiefcloud.inference.weights import load_into

OFFICIAL_NAMES = {
    "restored": "restored",
    "half": "restored_x2",
    "quarter": "restored_x4",
    "thickness": "thickness",
}
PRIOR_NAMES = {"full": "features_full", "half": "features_half", "quarter": "features_quarter"}


def assert_official_outputs(
    model: RemovalNetwork, expected: dict[str, Tensor], tolerance: float
) -> None:
    """Compare all outputs that the file holds."""
    assert isinstance(model, ThiefCloud)
    images = expected["input"].to(model.shallow.weight.dtype)
    with torch.no_grad():
        result = model(images, supervision="restored_x2" in expected)
        prior = model.prior(images)

    found = {}
    for ours, theirs in OFFICIAL_NAMES.items():
        found[theirs] = getattr(result, ours)
    for ours, theirs in PRIOR_NAMES.items():
        found[theirs] = getattr(prior, ours)
    for name in found.keys() & expected.keys():
        assert relative_error(found[name], expected[name]) < tolerance, name


@pytest.mark.parametrize("load", [thiefcloud.load, thiefcloud.load_official])
def test_official_weights_give_the_official_outputs(
    load: Callable[[Path], ThiefCloud], tmp_path: Path
) -> None:
    torch.save(formula_weights(), tmp_path / "official.pth")
    expected = vectors(FIXTURES / "official_formula_vectors.npz")
    assert len(expected) == 8

    model = load(tmp_path / "official.pth")
    assert not model.training
    assert_official_outputs(model, expected, 1e-4)
    # Nearly all of this difference is the rounding of the official code.
    assert_official_outputs(model.double(), expected, 1e-5)


@pytest.mark.parametrize("name", ["official_a_vectors.npz", "official_a_136x200_vectors.npz"])
def test_random_official_weights_give_the_official_outputs(name: str) -> None:
    model = thiefcloud.load(outside("official_a_state_dict.pth"))
    assert_official_outputs(model, vectors(outside(name)), 1e-4)


def test_official_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = formula_weights()
    weights["spade9.bias"] = weights.pop("spade1.mlp_beta.bias")
    weights["cd.final.bias"] = torch.zeros(2)
    torch.save(weights, tmp_path / "official.pth")

    expected = (
        r"1 missing \(level_full\.pgff\.beta\.bias\); 1 unknown \(spade9\.bias\); "
        r"1 of another shape \(prior\.head\.bias\)"
    )
    with pytest.raises(CheckpointError, match=expected):
        thiefcloud.load(tmp_path / "official.pth")


def saved(model: ThiefCloud, path: Path) -> Path:
    save_checkpoint(path, "thiefcloud", model.config, {"model": model.state_dict()})
    return path


@pytest.mark.parametrize("config", [{}, {"sampling": "official"}, {"in_channels": 4}])
def test_our_checkpoint_keeps_network_and_output(config: dict[str, object], tmp_path: Path) -> None:
    prior = SCPM(**config)  # type: ignore[arg-type]
    model = ThiefCloud(prior, prior.in_channels).train()
    images = torch.rand(2, prior.in_channels, 16, 16)
    model(images)  # changes the statistics of the normalisation

    loaded = thiefcloud.load(saved(model, tmp_path / "best.pt"))
    assert loaded.config == model.config
    assert not loaded.training

    ordered_to_restore(model).eval()
    with torch.no_grad():
        found, expected = loaded(images, supervision=True), model(images, supervision=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_weights_go_into_a_network_that_exists(tmp_path: Path) -> None:
    source, target = ThiefCloud(SCPM()), ThiefCloud(SCPM())
    load_into(target, saved(source, tmp_path / "best.pt"))
    torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"format": "thiefcloud-1", "network": "scpm"},
            "holds the network 'scpm', expected 'thiefcloud'",
        ),
        ({"epoch": 3}, "holds no ThiefCloud of the official code"),
        ({1: 2}, "holds no ThiefCloud of the official code"),
    ],
    ids=["other network", "other dict", "other keys"],
)
def test_other_files_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        thiefcloud.load(tmp_path / "other.pt")


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = saved(ThiefCloud(SCPM()), tmp_path / "best.pt")
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="damaged"):
        thiefcloud.load(path)


def test_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"none\.pt; ThiefCloud/train\.py trains ThiefCloud"
    ):
        thiefcloud.load(tmp_path / "none.pt")
