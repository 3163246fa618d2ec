from pathlib import Path
from typing import Any

import pytest

from cloudkit.imaging.images import write_image
from preparation.manifests import read_checksums
from tests.helpers import noise, touch, write_images
from tests.preparation.verifying import check, damage, filled, own, problems
from tests.trainkit.data.layouts import pngs, rice, satehaze


def test_every_damaged_file_is_named_and_reading_goes_on(tmp_path: Path, runs: Path) -> None:
    folder = filled(rice(tmp_path, 1, range(12)))
    damage(folder / "cloud" / "10.png")
    damage(folder / "cloud" / "2.png")
    (folder / "label" / "0.png").write_bytes(b"")
    (folder / "label" / "3.png").write_text("<html>")
    report = check("rice1", tmp_path)
    assert not report.passed
    found = problems(report)
    assert [line.split()[1] for line in found] == [
        "cloud/2.png",
        "cloud/10.png",
        "label/0.png",
        "label/3.png",
    ]
    assert all(line.startswith("damaged: ") for line in found)
    assert "label/0.png is empty: 0 bytes" in found[2]
    assert "label/3.png is no image" in found[3]
    assert report.text.splitlines()[-1].endswith("12 pairs, not well: 4 damaged")
    assert [line.split()[-1] for line in report.text.splitlines() if "8 bits" in line] == ["2", "2"]
    assert len(read_checksums(runs / "data" / "rice1.sha256")) == 24


@pytest.mark.parametrize("dataset", ["rice2", "folder"])
def test_masks_are_read_with_their_set(dataset: str, tmp_path: Path) -> None:
    folder = filled(rice(tmp_path, 2, range(5)))
    damage(folder / "mask" / "1.png")
    (folder / "mask" / "2.png").unlink()
    write_image(folder / "mask" / "3.png", noise(height=8))
    write_image(folder / "mask" / "9.png", noise())
    found = problems(check(dataset, folder))
    if dataset == "folder":
        assert found == []
        return
    assert [line.split(" ", 3)[:2] for line in found] == [
        ["damaged:", "mask/1.png"],
        ["odd:", "mask/3.png"],
        ["unpaired:", "mask/9.png"],
        ["unpaired:", "cloud/2.png"],
        ["odd:", "mask/3.png"],
    ]
    assert found[3].endswith("has no partner in mask")


def test_unpaired_images_are_named(tmp_path: Path) -> None:
    root = filled(satehaze(tmp_path))
    parts = root / "Haze1k_thin" / "dataset"
    (parts / "train" / "input" / "10-inputs.png").unlink()
    (parts / "test" / "target" / "2-targets.png").unlink()
    assert problems(check("satehaze1k", tmp_path)) == [
        "unpaired: Haze1k_thin/dataset/train/target/10-targets.png has no partner in input",
        "unpaired: Haze1k_thin/dataset/test/input/2-inputs.png has no partner in target",
    ]


def test_no_pair_at_all_is_a_finding_and_no_failure(tmp_path: Path) -> None:
    write_images(tmp_path / "cloudy", ["a.png"])
    write_images(tmp_path / "clear", ["b.png"])
    report = check("folder", tmp_path)
    assert [line.split()[:2] for line in problems(report)] == [
        ["unpaired:", "cloudy/a.png"],
        ["unpaired:", "clear/b.png"],
    ]
    (tmp_path / "clear" / "b.png").unlink()
    assert problems(check("folder", tmp_path)) == ["unpaired: cloudy/a.png has no partner in clear"]


def test_partners_of_different_sizes(tmp_path: Path) -> None:
    own(tmp_path)
    for index, kind in enumerate(("cloudy", "clear")):
        for n in range(4):
            write_image(
                tmp_path / kind / f"{n}.png",
                noise(height=16 + n + (index if n == 2 else 0), width=20),
            )
    assert problems(check("folder", tmp_path)) == [
        "odd: cloudy/2.png is 20 x 18 pixels, its partner in clear is 20 x 19"
    ]


@pytest.mark.parametrize(
    ("name", "image", "bits", "what"),
    [
        ("1.png", noise(height=8), 8, "has pixels 16 x 8, most others here 16 x 16"),
        ("1.png", noise(bands=1), 8, "has mode 8 bits x 1, most others here 8 bits x 3"),
        ("1.png", noise(bands=4), 8, "has mode 8 bits x 4, most others here 8 bits x 3"),
        ("1.png", noise(bands=1), 16, "has mode 16 bits x 1, most others here 8 bits x 3"),
        ("1.jpg", noise(), 8, "has format JPEG, most others here PNG"),
    ],
)
def test_files_unlike_the_others_of_their_folder(
    tmp_path: Path, name: str, image: Any, bits: int, what: str
) -> None:
    own(tmp_path)
    for kind in ("cloudy", "clear"):
        (tmp_path / kind / "1.png").unlink()
        write_image(tmp_path / kind / name, image, bits=bits)
    assert problems(check("folder", tmp_path)) == [
        f"odd: {kind}/{name} {what}" for kind in ("cloudy", "clear")
    ]


def test_where_no_size_is_usual_none_is_odd(tmp_path: Path) -> None:
    for kind in ("cloudy", "clear"):
        for n in range(4):
            write_image(tmp_path / kind / f"{n}.png", noise(height=16 if n < 2 else 20))
    report = check("folder", tmp_path)
    assert report.passed
    assert "mixed" in report.text


def test_names_of_another_format_are_noted(tmp_path: Path) -> None:
    own(tmp_path)
    for path in [*tmp_path.rglob("*.png")]:
        path.rename(path.with_suffix(".jpg"))
    report = check("folder", tmp_path)
    assert report.passed
    assert report.text.splitlines()[-1] == f"folder in {tmp_path}: 4 pairs, all is well"
    for kind in ("cloudy", "clear"):
        assert (
            f"{kind}: 4 names say another format than the files hold (0.jpg holds PNG), "
            "which does no harm"
        ) in report.text.splitlines()


def test_stray_files_are_named_but_for_junk(tmp_path: Path) -> None:
    own(tmp_path)
    touch(tmp_path / "clear", ["notes.txt", ".DS_Store", "Thumbs.db", ".hidden.png", "a.png.part"])
    (tmp_path / "cloudy" / "more").mkdir()
    touch(tmp_path, ["train.txt"])
    assert problems(check("folder", tmp_path)) == [
        "stray: cloudy/more is no image file",
        "stray: clear/a.png.part is no image file",
        "stray: clear/notes.txt is no image file",
    ]


def test_two_images_of_one_name(tmp_path: Path) -> None:
    own(tmp_path)
    write_images(tmp_path / "cloudy", ["1.PNG"])
    write_images(tmp_path / "clear", ["1.PNG"])
    found = problems(check("folder", tmp_path))
    assert [line.split()[:2] for line in found] == [
        ["duplicate:", "cloudy/1.png"],
        ["duplicate:", "clear/1.png"],
    ]
    assert found[0].endswith("has the name 1, as 1.PNG has")


def test_empty_images_of_the_helpers_are_damage(tmp_path: Path) -> None:
    touch(tmp_path / "cloudy", pngs(range(3)))
    touch(tmp_path / "clear", pngs(range(3)))
    assert len(problems(check("folder", tmp_path))) == 6
