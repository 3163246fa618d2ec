"""checkpoints/release.py, run as its user runs it, and the weights it writes."""

from pathlib import Path

import pytest
import torch

import scpm
import thiefcloud
from cloudkit.checkpoints import read_file, save_checkpoint
from scpm import SCPM
from tests.helpers import ROOT, assert_one_error, run_script, squeezed

RELEASE = ROOT / "checkpoints" / "release.py"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = thiefcloud.ThiefCloud(scpm.SCPM(sampling="official"))
    state = {
        "model": model.state_dict(),
        "score": 28.5,
        "step": 7,
        "options": {"crop": 96, "root": str(tmp_path), "clouds": {"a": 1}},
    }
    save_checkpoint(tmp_path / "best.pt", "thiefcloud", model.config, state)
    return tmp_path / "best.pt"


def test_released_weights_give_the_same_network(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "released" / "thiefcloud.safetensors"
    assert run_script(RELEASE, checkpoint, out, "--about", "a test") == 0
    before, after = thiefcloud.load(checkpoint), thiefcloud.load(out)
    assert after.config == before.config
    assert isinstance(after.prior, SCPM)
    assert after.prior.config["sampling"] == "official"

    for name, weight in before.state_dict().items():
        rounded = weight.half().float() if weight.ndim > 1 else weight
        assert torch.equal(rounded, after.state_dict()[name])
    image = torch.rand(3, 40, 56)
    torch.testing.assert_close(
        thiefcloud.restore(after, image), thiefcloud.restore(before, image), rtol=0, atol=0.5 / 255
    )

    assert out.stat().st_size < 0.6 * checkpoint.stat().st_size
    about = read_file(out)["about"]
    assert about == {
        "about": "a test",
        "score": 28.5,
        "step": 7,
        "options": {"crop": 96, "clouds": {"a": 1}},
    }
    assert str(tmp_path).encode() not in out.read_bytes()
    assert out.stat().st_mode == checkpoint.stat().st_mode


def test_mistakes_are_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(RELEASE, checkpoint, tmp_path / "a.pt") == 2
    assert "does not end in .safetensors" in squeezed(capsys.readouterr().err)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "foreign.pt")
    assert run_script(RELEASE, tmp_path / "foreign.pt", tmp_path / "a.safetensors") == 2

    assert_one_error(capsys.readouterr().err, "foreign.pt was not written by a training of ours")
    assert not (tmp_path / "a.safetensors").exists()
    assert run_script(RELEASE, checkpoint, tmp_path / "a.safetensors") == 0
    assert run_script(RELEASE, tmp_path / "a.safetensors", tmp_path / "b.safetensors") == 2

    assert_one_error(capsys.readouterr().err, "a.safetensors was not written by a training of ours")


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_released_weights(
    checkpoint: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.safetensors"
    assert run_script(RELEASE, checkpoint, out) == 0
    content = out.read_bytes()
    out.write_bytes(
        {"empty": b"", "cut": content[: len(content) // 2], "text": b"no weights"}[damage]
    )
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read as weights of ours"):
        thiefcloud.load(out)


def test_the_wrong_network_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    assert run_script(RELEASE, checkpoint, out) == 0
    with pytest.raises(ValueError, match="holds the network 'thiefcloud', expected 'scpm'"):
        scpm.load(out)
