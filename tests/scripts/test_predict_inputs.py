"""Inputs of predict.py: which images it takes, and where it may write."""

from pathlib import Path

import pytest

from tests.helpers import assert_one_error, squeezed, write_images
from tests.scripts.predicting import files, predict


@pytest.mark.parametrize(
    ("first", "second"),
    [("in/a.png", "other/a.png"), ("in/a.png", "other/a.tif"), ("in/a.tif", "in/a.TIF")],
)
def test_two_images_for_one_file(
    tmp_path: Path, checkpoint: Path, first: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, [first, second])
    assert predict(checkpoint, tmp_path / first, tmp_path / second, "--out", tmp_path / "out") == 2
    assert_one_error(capsys.readouterr().err, first, second, "restore them into different folders")
    assert not (tmp_path / "out").exists()


def test_results_inside_the_folder_of_inputs_are_no_inputs(
    tmp_path: Path, checkpoint: Path
) -> None:
    write_images(tmp_path, ["a.png"])
    for _ in range(2):
        assert predict(checkpoint, tmp_path, "--out", tmp_path / "out") == 0
        assert files(tmp_path) == ["a.png", "out/a.png"]


@pytest.mark.parametrize("given", ["in", "in/a.jpg"])
def test_inputs_are_never_replaced(
    tmp_path: Path, checkpoint: Path, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["a.jpg"])
    before = (tmp_path / "in" / "a.jpg").read_bytes()
    assert predict(checkpoint, tmp_path / given, "--out", tmp_path / "in") == 2
    assert_one_error(capsys.readouterr().err)
    assert files(tmp_path) == ["in/a.jpg"]
    assert (tmp_path / "in" / "a.jpg").read_bytes() == before


def test_a_thickness_map_never_takes_the_place_of_another_image(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["a.png", "a_thickness.png"])
    assert predict(checkpoint, tmp_path / "in", "--thickness", "--out", tmp_path / "out") == 2
    assert_one_error(capsys.readouterr().err, "a_thickness")
    assert not (tmp_path / "out").exists()
    assert predict(checkpoint, tmp_path / "in", "--out", tmp_path / "out") == 0


def test_missing_inputs_are_named_before_any_work(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, ["a.png"])
    (tmp_path / "empty").mkdir()
    for absent, part in (
        (tmp_path / "absent.png", "there is no image or folder"),
        (tmp_path / "empty", "holds no image"),
    ):
        assert predict(checkpoint, tmp_path / "a.png", absent, "--out", tmp_path / "out") == 2
        assert_one_error(capsys.readouterr().err, part, absent)

    assert predict(tmp_path / "absent.pt", tmp_path / "a.png", "--out", tmp_path / "out") == 2
    assert_one_error(capsys.readouterr().err, "absent.pt", "ThiefCloud/train.py")
    assert not (tmp_path / "out").exists()


def test_shares_make_together_what_one_machine_makes(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, one, two = tmp_path / "in", tmp_path / "one", tmp_path / "two"
    write_images(source, ["a.png", "b.png", "deep/a.png", "deep/b.tif", "deep/b.jpg"])
    assert predict(checkpoint, source, "--out", one, "--thickness") == 0
    assert "share 1/" not in capsys.readouterr().out

    # The first share is named, the second is that of a task in a job array.
    assert predict(checkpoint, source, "--out", two, "--thickness", "--share", "1/2") == 0
    first = files(two)
    assert 0 < len(first) < 10
    assert f"share 1/2: {len(first) // 2} of 5 images\n" in capsys.readouterr().out
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "2")
    assert predict(checkpoint, source, "--out", two, "--thickness") == 0
    assert f"share 2/2: {5 - len(first) // 2} of 5 images\n" in capsys.readouterr().out
    assert files(two) == files(one)
    for name in files(one):
        assert (two / name).read_bytes() == (one / name).read_bytes()

    # More machines than images.
    assert predict(checkpoint, source, "--out", tmp_path / "no", "--share", "11/1000") == 0
    shown = capsys.readouterr().out
    assert "share 11/1000: 0 of 5 images" in shown
    assert "0 of 0 images restored" in shown


def test_a_share_of_another_form_is_one_error(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["a.png"])
    for share, message in (("2", "expected I/N"), ("0/4", "the first of 4 is 1/4")):
        assert predict(checkpoint, tmp_path / "in", "--share", share) == 2
        assert message in squeezed(capsys.readouterr().err)


def test_an_image_given_twice_is_restored_once(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["a.png", "b.png"])
    image = tmp_path / "in" / "a.png"
    again = tmp_path / "in" / ".." / "in" / "a.png"
    folder = tmp_path / "in" / ".." / "in"
    given = (image, image, again, tmp_path / "in", folder)
    assert predict(checkpoint, *given, "--out", tmp_path / "out") == 0
    assert "2 of 2 images restored" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["a.png", "b.png"]
