"""ThiefCloud/fit_overlay.py, run as its user runs it."""

import re
from pathlib import Path

import pytest
import torch

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from cloudkit.imaging.images import write_image
from tests.helpers import FIT_OVERLAY, assert_one_error, noise, run_script, squeezed, write_images
from tests.thiefcloud.network.inversions import randomised
from tests.thiefcloud.network.overlays import laid_over
from thiefcloud import UNet

MIXTURE = """
[[source]]
dataset = "folder"
folder = "pairs"
overlay = true
pairs = 2

[[source]]
dataset = "clear"
folder = "land"
simulated = 1
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a U-Net that changes nothing yet."""
    torch.manual_seed(5)
    path, model = tmp_path_factory.mktemp("weights") / "unet.pt", UNet(residual=True)
    save_checkpoint(path, "unet", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs under overlays, clear images, and a mixture of both."""
    root = tmp_path_factory.mktemp("data")
    for index in range(8):
        clear = 0.05 + 0.5 * noise(index, height=24, width=24) ** (1 + index / 4)
        write_image(root / "pairs" / "clear" / f"{10 * index}.png", clear)
        cloudy = laid_over(clear, 0.3 + 0.05 * index)
        write_image(root / "pairs" / "cloudy" / f"{10 * index}.png", cloudy)
    write_images(root / "land", ["a.png", "b.png"], height=40, width=36)
    (root / "mixture.toml").write_text(MIXTURE, encoding="utf-8")
    return root


def arguments(root: Path, weights: Path, out: Path, *more: object) -> list[object]:
    common = ["--dataset", "folder", "--root", root / "pairs", "--checkpoint", weights]
    return [*common, "--steps", 20, "--out", out, *more]


def test_weights_get_an_overlay_and_keep_all_others(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "overlay.pt"
    assert run_script(FIT_OVERLAY, *arguments(root, weights, out)) == 0
    shown = capsys.readouterr().out
    assert "overlays are recognised in" in shown
    assert "validation PSNR" in shown
    assert str(out) in shown

    before, after = thiefcloud.load(weights), thiefcloud.load(out)
    assert after.overlay is not None
    assert after.config == before.config | {"overlay": True}
    state = after.state_dict()
    for name, weight in before.state_dict().items():
        assert torch.equal(state.pop(name), weight)
    assert state.keys() == {f"overlay.{name}" for name in after.overlay.state_dict()}
    assert state["overlay.opacity.last.weight"].any()
    assert state["overlay.recognition.last.weight"].any()


def test_the_fit_restores_the_images_of_validation(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlay.pt"
    assert run_script(FIT_OVERLAY, *arguments(root, weights, out, "--steps", 200)) == 0
    text = capsys.readouterr().out.split("validation PSNR ")[1].split("\n")[0]
    before, after = re.findall(r"\d+\.\d+", text)
    assert float(after) > float(before) + 6


def test_validation_decides_how_far_an_inversion_is_followed(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "behind an overlay the inversion is followed by"
    assert run_script(FIT_OVERLAY, *arguments(root, weights, tmp_path / "out.pt")) == 0
    assert said not in squeezed(capsys.readouterr().out)

    model, path = UNet(residual=True, inversion=True), tmp_path / "inverting.pt"
    model.inversion = randomised()  # it harms
    save_checkpoint(path, "unet", model.config, {"model": model.state_dict()})
    assert run_script(FIT_OVERLAY, *arguments(root, path, tmp_path / "out.pt", "--steps", 200)) == 0
    assert f"{said} 0 (" in squeezed(capsys.readouterr().out)
    overlay = thiefcloud.load(tmp_path / "out.pt").overlay
    assert overlay is not None
    assert overlay.trust == 0


def test_equal_seeds_write_equal_weights(root: Path, weights: Path, tmp_path: Path) -> None:
    states = []
    for name, seed in (("a.pt", 1), ("b.pt", 1), ("c.pt", 2)):
        more = ["--seed", seed, "--steps", 3]
        assert run_script(FIT_OVERLAY, *arguments(root, weights, tmp_path / name, *more)) == 0
        states.append(thiefcloud.load(tmp_path / name).state_dict())
    first, again, other = states
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    changed = {name for name, weight in first.items() if not torch.equal(weight, other[name])}
    assert changed
    assert all(name.startswith("overlay.") for name in changed)


def test_an_overlay_is_fitted_anew(root: Path, weights: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.pt", tmp_path / "twice.pt"
    assert run_script(FIT_OVERLAY, *arguments(root, weights, once)) == 0
    assert run_script(FIT_OVERLAY, *arguments(root, once, twice)) == 0
    first, second = (thiefcloud.load(path) for path in (once, twice))
    assert first.config == second.config
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def test_a_mixture_says_which_sources_are_under_overlays(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlay.pt"
    mixture = ["--dataset", "mixture", "--mixture", root / "mixture.toml", "--root", root]
    fit = ["--checkpoint", weights, "--steps", 20, "--out", out]
    assert run_script(FIT_OVERLAY, *mixture, *fit) == 2
    assert_one_error(capsys.readouterr().err, "choose a smaller --crop")
    assert run_script(FIT_OVERLAY, *mixture, *fit, "--crop", 32) == 0
    # Of eight pairs one serves for validation. The others are clear images of pairs, both images
    # of each clear pair, and a crop for each sample of a pass, up to whole batches of eight.
    shown = squeezed(capsys.readouterr().out)
    assert "of 7 images under one" in shown
    assert "of 19 others" in shown
    assert thiefcloud.load(out).overlay is not None


@pytest.mark.parametrize("dataset", ["simulated", "clear"])
def test_clear_images_alone_are_refused(
    dataset: str, root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "land", ["a.png", "b.png", "c.png"])
    fit = ["--checkpoint", weights, "--out", tmp_path / "out.pt", "--root", tmp_path / "land"]
    assert run_script(FIT_OVERLAY, "--dataset", dataset, *fit) == 2
    assert_one_error(capsys.readouterr().err, "there is no pair of images under an overlay")
    assert not (tmp_path / "out.pt").exists()


def test_the_default_dataset_is_refused(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["--checkpoint", weights, "--out", tmp_path / "out.pt"]
    assert run_script(FIT_OVERLAY, *fit) == 2
    assert_one_error(capsys.readouterr().err, "there is no pair of images under an overlay")
    assert not (tmp_path / "out.pt").exists()


def test_pairs_that_are_left_out_are_restored_too(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlay.pt"
    assert (
        run_script(FIT_OVERLAY, *arguments(root, weights, out, "--steps", 200, "--folds", 7)) == 0
    )
    shown = capsys.readouterr().out
    left_out, rest = shown.split("in 7 blocks: ")[1].split(" dB", 1)
    untouched = shown.split("training pairs: ")[1].split(" dB")[0]
    assert float(left_out) > float(untouched) + 6
    assert re.search(r"which is so in \d of 7", rest)


def test_more_folds_than_pairs_are_refused(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlay.pt"
    assert run_script(FIT_OVERLAY, *arguments(root, weights, out, "--folds", 8)) == 2
    assert_one_error(capsys.readouterr().err, "at most one for each of the 7")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value", "least"), [("steps", 0, 1), ("steps", -1, 1), ("folds", 1, 2), ("crop", 0, 1)]
)
def test_numbers_that_are_too_small(
    name: str,
    value: int,
    least: int,
    root: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [f"--{name}", value]
    assert run_script(FIT_OVERLAY, *arguments(root, weights, tmp_path / "out.pt", *more)) == 2
    shown = squeezed(capsys.readouterr().err)
    assert f"--{name} is {value}, expected at least {least}" in shown
    assert not (tmp_path / "out.pt").exists()


def test_mistakes_are_one_error(
    root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    for more, part in (
        (["--checkpoint", tmp_path / "absent.pt"], "absent.pt"),
        (["--root", tmp_path / "folder"], "folder"),
        (["--out", tmp_path / "folder"], "is a folder, expected a file"),
        (["--out", weights / "out.pt"], "unet.pt is a file, expected a folder to write to"),
    ):
        assert run_script(FIT_OVERLAY, *arguments(root, weights, tmp_path / "out.pt", *more)) == 2
        assert_one_error(capsys.readouterr().err, part)


def test_help_shows_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(FIT_OVERLAY, "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    for option in ("--checkpoint", "--out", "--steps", "--seed", "--dataset", "--mixture"):
        assert option in shown
    assert "Give weights the removal of overlays" in shown
