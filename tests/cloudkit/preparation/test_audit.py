"""The search for test images that training has seen: what it finds in folders, and what it writes."""

import csv
from pathlib import Path

import pytest
import tifffile
import torch
from torch import Tensor

from cloudkit.datasets import find_folder
from cloudkit.errors import UserError
from cloudkit.images import read_image, read_unit, write_image
from cloudkit.preparation.audit import AuditReport, audit
from cloudkit.preparation.options import AuditOptions
from cloudkit.preparation.views import look
from cloudkit.splits import WHOLE, Choice, named, read_names
from tests.cloudkit.preparation.scenes import cut, scene

SIZE = 64
WIDE = scene(1, 2 * SIZE, 2 * SIZE)


def write_pair(root: Path, name: str, clear: Tensor, cloudy: Tensor | None = None, *, suffix: str = ".png") -> None:
    write_image(root / "clear" / f"{name}{suffix}", clear)
    write_image(root / "cloudy" / f"{name}{suffix}", 0.5 * clear + 0.4 if cloudy is None else cloudy)


def other(seed: int) -> Tensor:
    """A place that no other image shows."""
    return scene(seed + 10, SIZE, SIZE)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A set with parts that share names: 1 equal, 2 turned, 3 near, 4 overlapping, 5 alone, all in the test part."""
    root, whole = tmp_path / "set", cut(WIDE, 0, 0, SIZE)
    for index in range(1, 7):
        write_pair(root / "train", str(index), other(index))
    write_pair(root / "test", "1", other(1), other(20), suffix=".tif")
    write_pair(root / "test", "2", other(2).rot90(1, (1, 2)), other(21))
    write_pair(root / "test", "3", other(3), other(22), suffix=".jpg")
    write_pair(root / "train", "7", cut(WIDE, 10, 13, SIZE))
    write_pair(root / "val", "8", other(30))
    write_pair(root / "test", "4", whole)
    write_pair(root / "test", "5", other(31))
    return root


def run(root: Path, **options: object) -> AuditReport:
    return audit(AuditOptions("folder", root, out=root.parent / "out", device="cpu", **options))  # type: ignore[arg-type]


def table(out: Path) -> list[dict[str, str]]:
    with (out / "audit.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_kind_is_found_and_written(split: Path) -> None:
    report, out = run(split), split.parent / "out"
    rows = table(out)
    assert [(row["kind"], row["test"], row["training"], row["images"], row["turn"]) for row in rows] == [
        ("equal", "1", "1", "clear", ""),
        ("turned", "2", "2", "clear", "turned by 90"),
        ("near", "3", "3", "clear", ""),
        ("overlapping", "4", "7", "clear", ""),
    ]
    assert [row["correlation"] for row in rows[:2]] == ["1.000"] * 2
    assert all(0.75 <= float(row["correlation"]) <= 1 for row in rows)
    assert (float(rows[3]["right"]), float(rows[3]["down"])) == pytest.approx((13, 10), abs=1)
    assert float(rows[3]["overlap"]) == pytest.approx(54 * 51 / SIZE**2, abs=0.03)
    assert report.leaked == 4
    assert "4 of 5 test images are also in training: 2 equal, 2 near or overlapping" in report.text
    assert (out / "leaked.txt").read_text().startswith("# ")
    assert read_names(out / "leaked.txt") == ["1", "2", "3", "4"]
    assert read_names(out / "held_out.txt") == ["train/1", "train/2", "train/3", "train/7"]
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [row["picture"] for row in rows]
    assert rows[3]["picture"] == "004_4_7.png"


def test_the_lists_do_what_scripts_want_of_them(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    scored = [pair.name for pair in find_folder(split).test]
    assert named({WHOLE: {name: name for name in scored}}, out / "leaked.txt") == (["1", "2", "3", "4"], "")
    apart = find_folder(split, Choice(held_out=out / "held_out.txt"))
    assert [pair.name for pair in apart.train] == ["4", "5", "6"]
    assert [pair.name for pair in apart.test] == scored


def test_pictures_frame_what_both_show(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    picture = read_unit(out / "pictures" / "004_4_7.png")[:, 22:]  # below the titles
    test, training = picture[:, :, :SIZE], picture[:, :, SIZE + 4 :]
    for image, place, (top, left) in ((test, cut(WIDE, 0, 0, SIZE), (10, 13)), (training, cut(WIDE, 10, 13, SIZE), (0, 0))):
        changed = ((image - place).abs().amax(dim=0) > 0.01).nonzero()
        rows, columns = changed.aminmax(dim=0)
        assert rows.tolist() == pytest.approx([top, left], abs=1)
        assert columns.tolist() == pytest.approx([top + 53, left + 50], abs=1)
    equal = read_unit(out / "pictures" / "001_1_1.png")[:, 22:]
    assert torch.allclose(equal[:, :, :SIZE], equal[:, :, SIZE + 4 :], atol=1e-3)


def test_cloudy_images_are_compared_by_their_pixels(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pair(root / "train", "a", other(1), other(2))
    write_pair(root / "train", "b", other(3), other(4))
    write_pair(root / "test", "c", other(5), other(2))
    write_pair(root / "test", "d", other(6), other(3))
    write_pair(root / "test", "e", other(3), other(4))
    write_pair(root / "test", "f", other(7), other(6).flip(2))
    report = run(root)
    assert [(row["test"], row["training"], row["images"]) for row in table(tmp_path / "out")] == [
        ("c", "a", "cloudy"),
        ("d", "b", "cloudy as clear"),
        ("e", "b", "clear, cloudy"),
    ]
    assert "equal or turned within the test part: d and e; d and f" in report.text
    assert "3 of 4 test images are also in training: 3 equal, 0 near or overlapping" in report.text


def test_a_flat_folder_is_searched_for_doubles(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, image in {"1": other(1), "2": other(2), "3": other(1), "4": other(4), "10": other(1)}.items():
        write_pair(root, name, image)
    report = run(root)
    assert [(row["test"], row["training"], row["images"]) for row in table(tmp_path / "out")] == [
        ("1", "3", "clear, cloudy"),
        ("1", "10", "clear, cloudy"),
        ("3", "10", "clear, cloudy"),
    ]
    assert "3 of 5 images have a double in the set: 3 equal" in report.text
    assert read_names(tmp_path / "out" / "leaked.txt") == ["1", "3", "10"]
    assert read_names(tmp_path / "out" / "held_out.txt") == ["3", "10"]  # one of each is left


def test_an_equal_image_is_counted_once_as_equal(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pair(root / "train", "a", cut(WIDE, 0, 0, SIZE))
    write_pair(root / "train", "b", cut(WIDE, 10, 0, SIZE))
    write_pair(root / "test", "c", cut(WIDE, 0, 0, SIZE))
    assert "1 of 1 test images are also in training: 1 equal, 0 near or overlapping" in run(root).text
    assert [row["kind"] for row in table(tmp_path / "out")] == ["equal", "overlapping"]
    assert read_names(tmp_path / "out" / "leaked.txt") == ["c"]


def test_a_list_takes_the_place_of_the_split(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, image in {"1": other(1), "2": other(1), "3": other(3), "4": other(3), "5": other(5)}.items():
        write_pair(root, name, image)
    names = tmp_path / "names.txt"
    names.write_text("1\n5.png\n")
    report = run(root, split=names)
    assert [(row["test"], row["training"]) for row in table(tmp_path / "out")] == [("1", "2")]
    assert "2 test images named by" in report.text
    assert "1 of 2 test images" in report.text
    names.write_text("".join(f"{n}\n" for n in range(1, 6)))
    with pytest.raises(UserError, match="no training images"):
        run(root, split=names)


def test_nothing_found_removes_what_an_earlier_audit_wrote_and_nothing_else(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    (out / "pictures" / "001_mine.png").write_bytes(b"mine")
    for path in (*(split / "train" / "clear").iterdir(), *(split / "train" / "cloudy").iterdir()):
        if path.stem not in ("4", "5", "6"):
            path.unlink()
    report = run(split)
    assert report.leaked == 0
    assert "0 of 5 test images are also in training: 0 equal, 0 near or overlapping" in report.text
    assert "no leaked.txt" in report.text
    assert table(out) == []
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == ["audit.csv", "pictures/001_mine.png"]


def test_files_of_others_stay(split: Path) -> None:
    """A list and a table that no audit wrote."""
    out = split.parent / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures" / "a.png").write_bytes(b"a")
    (out / "audit.csv").write_text("picture\na.png\n")
    (out / "held_out.txt").write_text("mine\n")
    for path in (*(split / "train" / "clear").iterdir(), *(split / "train" / "cloudy").iterdir()):
        if path.stem not in ("4", "5", "6"):
            path.unlink()
    run(split)
    assert (out / "pictures" / "a.png").read_bytes() == b"a"
    assert (out / "held_out.txt").read_text() == "mine\n"


def test_a_table_that_names_files_elsewhere_removes_none_of_them(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    mine = out / "mine.png"
    mine.write_bytes(b"mine")
    (out / "audit.csv").write_text((out / "audit.csv").read_text().replace("001_1_1.png", "../mine.png"))
    run(split)
    assert mine.exists()


@pytest.mark.parametrize(("pictures", "expected"), [(2, ["003_3_3.png", "004_4_7.png"]), (0, [])])
def test_the_most_doubtful_pairs_are_shown(split: Path, pictures: int, expected: list[str]) -> None:
    run(split, pictures=pictures)
    out = split.parent / "out"
    assert [row["picture"] for row in table(out) if row["picture"]] == expected
    assert sorted(path.name for path in out.glob("pictures/*")) == expected


def test_damaged_files_are_named_and_passed_over(split: Path) -> None:
    damaged = [split / "test" / "clear" / "4.png", split / "train" / "cloudy" / "1.png"]
    for path in damaged:
        path.write_bytes(b"no image")
    report = run(split)
    assert [row["test"] for row in table(split.parent / "out")] == ["1", "2", "3"]
    assert all(f"left out: {path}" in report.text for path in damaged)
    assert "2 images cannot be used" in report.text


def test_floats_that_are_no_image_are_named_and_passed_over(split: Path) -> None:
    for part, name in (("train", "3"), ("test", "5")):
        path = split / part / "clear" / f"{name}.png"
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), 9 * other(3).permute(1, 2, 0).numpy(), photometric="rgb")
    report = run(split)
    assert [row["test"] for row in table(split.parent / "out")] == ["1", "2", "4"]
    assert f"left out: {split / 'test' / 'clear' / '5.tif'}: floating pixels range from" in report.text
    assert "2 images cannot be used" in report.text


def test_tiny_images_are_only_searched_for_equal_ones(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, image in {"1": cut(WIDE, 0, 0, 16), "2": cut(WIDE, 1, 0, 16), "3": cut(WIDE, 0, 0, 16)}.items():
        write_pair(root, name, image)
    report = run(root)
    assert [(row["kind"], row["test"], row["training"]) for row in table(tmp_path / "out")] == [("equal", "1", "3")]
    assert "3 clear images are strips, or smaller than 32 pixels" in report.text


def test_images_of_other_sizes_are_shown_at_one_height(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pair(root / "train", "a", WIDE)
    write_pair(root / "test", "b", torch.nn.functional.avg_pool2d(WIDE, 2))
    run(root)
    (row,) = table(tmp_path / "out")
    assert row["kind"] == "near"
    assert read_image(tmp_path / "out" / "pictures" / row["picture"]).shape == (3, 22 + SIZE, 2 * SIZE + 4)


def test_one_image_has_no_double(tmp_path: Path) -> None:
    write_pair(tmp_path / "set", "1", other(1))
    assert "0 of 1 images have a double" in run(tmp_path / "set").text


def test_a_set_without_a_part_is_refused(tmp_path: Path) -> None:
    for index in range(3):
        write_pair(tmp_path / "set" / "train", str(index), other(index))
    with pytest.raises(UserError, match="no test images"):
        run(tmp_path / "set")


def test_pictures_never_land_among_the_images(split: Path) -> None:
    with pytest.raises(UserError, match="lies inside"):
        audit(AuditOptions("folder", split, out=split / "train" / "clear" / "out"))
    assert not (split / "train" / "clear" / "out").exists()


def test_members_are_audited_each_and_across(tmp_path: Path) -> None:
    """Two levels of SateHaze1k of three: thin has a leak of its own, thick shows what thin's test part shows."""
    thin, thick = (tmp_path / f"Haze1k_{level}" / "dataset" for level in ("thin", "thick"))
    for index, (folder, part, image) in enumerate(
        [
            (thin, "train", cut(WIDE, 0, 0, SIZE)),
            (thin, "test", cut(WIDE, 20, 0, SIZE)),
            (thin, "test", other(1)),
            (thin, "test", other(2)),
            (thick, "train", other(1)),
            (thick, "test", other(3)),
        ]
    ):
        write_image(folder / part / "target" / f"{index}-targets.png", image)
        write_image(folder / part / "input" / f"{index}-inputs.png", 0.5 * image)
    out = tmp_path / "out"
    report = audit(AuditOptions("satehaze1k", tmp_path, out=out, device="cpu"))
    assert [(row["test"], row["training"]) for row in table(out / "satehaze1k-thin")] == [("1", "0")]
    assert read_names(out / "satehaze1k-thin" / "leaked.txt") == ["1"]
    assert table(out / "satehaze1k-thick") == []
    (row,) = table(out / "across")
    assert (row["test"], row["training"]) == ("satehaze1k-thin/2", "satehaze1k-thick/4")
    assert row["picture"] == "001_satehaze1k-thin-2_satehaze1k-thick-4.png"
    assert (out / "across" / "pictures" / row["picture"]).exists()
    assert report.leaked == 1
    assert "1 of 4 test images are also in training of another set" in report.text
    assert "not there: no satehaze1k-moderate" in report.text
    with pytest.raises(UserError, match="no cuhk-cr1"):
        audit(AuditOptions("cuhk-cr", tmp_path, out=out))


def test_a_threshold_of_its_own(split: Path) -> None:
    run(split, threshold=1.0)
    assert [row["kind"] for row in table(split.parent / "out")] == ["equal", "turned"]


def test_every_pair_is_read_once(split: Path) -> None:
    pairs = find_folder(split).test
    views, unread = look([*pairs, *pairs])
    assert list(views) == pairs
    assert unread == []


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_thresholds_that_are_no_correlation_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        AuditOptions("rice1", threshold=threshold)
