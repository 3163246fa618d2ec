"""Table of released weights."""

import copy
import hashlib
import pickle
from pathlib import Path

import pytest
import torch
import tyro

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from tests.helpers import squeezed
from thiefcloud import NoPrior, RemovalNetwork, ThiefCloud, Weights
from thiefcloud.inference.options import PredictOptions
from thiefcloud.inference.released import CHECKPOINTS, RELEASED, ReleasedWeights, path_of
from thiefcloud.scoring_options import TestOptions


def assert_equal_weights(one: RemovalNetwork, other: RemovalNetwork) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_the_table_lists_all_files_of_thiefcloud() -> None:
    paths = {weights.path for weights in RELEASED.values()}
    assert paths == set(CHECKPOINTS.glob("thiefcloud-*.safetensors"))


@pytest.mark.parametrize("name", RELEASED)
def test_released_weights_load_by_name_and_tell_their_origin(name: str) -> None:
    released = RELEASED[name]
    assert released.purpose
    assert len(released.licence) > 20

    about = released.about()
    assert about["about"]
    assert about["score"] > 0
    assert "dataset" in about["options"]
    assert_equal_weights(thiefcloud.load(name), thiefcloud.load(released.path))


@pytest.mark.parametrize("name", RELEASED)
def test_checksums_are_those_of_the_files(name: str) -> None:
    """If not: `sha256sum` of the file belongs into the table."""
    weights = RELEASED[name]
    assert weights.sha256 == hashlib.sha256(weights.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", RELEASED)
def test_weights_are_members_of_an_enum(name: str) -> None:
    member = Weights[name.upper()]
    assert member is RELEASED[name]
    assert member in list(Weights)
    assert pickle.loads(pickle.dumps(member)) is copy.deepcopy(member) is member

    assert path_of(member) == path_of(name) == member.path
    assert member.purpose in member.description
    model = thiefcloud.load(member)
    assert_equal_weights(model, thiefcloud.load(name))
    assert (len(member.bands), member.input_range) == (model.in_channels, (0, 1))


def test_each_row_names_its_own_licence() -> None:
    with pytest.raises(TypeError, match="licence"):
        ReleasedWeights("file", "0" * 64, purpose="photos", data="photos")  # type: ignore[call-arg]


def test_general_weights_are_the_default() -> None:
    assert_equal_weights(thiefcloud.load(), thiefcloud.load(Weights.GENERAL))
    assert list(Weights) == list(RELEASED.values())
    assert [*Weights.__members__] == ["GENERAL", "RICE1", "RICE2"]
    assert PredictOptions(inputs=(Path("a.png"),)).checkpoint == RELEASED["general"].path


@pytest.mark.parametrize("kind", [PredictOptions, TestOptions])
def test_help_names_them(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(kind, args=["--help"])
    assert f"(released: {', '.join(RELEASED)})" in squeezed(capsys.readouterr().out)


def test_a_file_is_preferred_to_released_weights_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rice1").mkdir()
    assert path_of("rice1") == path_of(Path("rice1")) == RELEASED["rice1"].path

    model = ThiefCloud(NoPrior())
    own = tmp_path / "own.pt"
    save_checkpoint(own, model.kind, model.config, {"model": model.state_dict()})
    own.rename(tmp_path / "general")
    assert_equal_weights(thiefcloud.load("general"), model)
    assert path_of(Weights.GENERAL) == RELEASED["general"].path  # a member is never a file's name


def test_other_names_are_paths() -> None:
    assert path_of("best.pt") == Path("best.pt")
    with pytest.raises(FileNotFoundError, match=f"weights are named {', '.join(RELEASED)}"):
        thiefcloud.load("rice3")
