"""Audits of folders: the findings."""

from pathlib import Path

import pytest
import tifffile

from cloudkit.errors import UserError
from cloudkit.imaging.images import write_image
from preparation.audit import audit
from preparation.features import read_features
from preparation.options import AuditOptions
from tests.preparation.auditing import SIZE, WIDE, other, run, table, titles, write_pair
from tests.preparation.scenes import cut
from trainkit.data.datasets import find_folder
from trainkit.data.splits import read_names


def test_every_kind_is_found_and_written(split: Path) -> None:
    report, out = run(split), split.parent / "out"
    rows = table(out)
    assert [
        (row["kind"], row["test"], row["training"], row["images"], row["transform"]) for row in rows
    ] == [
        ("equal", "1", "1", "clear", ""),
        ("turned", "2", "2", "clear", "rotated by 90"),
        ("near", "3", "3", "clear", ""),
        ("overlapping", "4", "7", "clear", ""),
    ]
    assert [row["correlation"] for row in rows[:2]] == ["1.000"] * 2
    assert all(0.75 <= float(row["correlation"]) <= 1 for row in rows)
    assert (float(rows[3]["right"]), float(rows[3]["down"])) == pytest.approx((13, 10), abs=1)
    assert float(rows[3]["overlap"]) == pytest.approx(54 * 51 / SIZE**2, abs=0.03)
    assert report.leaked == 4
    assert "4 of 5 test images are also in training: 2 equal, 2 near or overlapping" in report.text
    assert titles(out) == [
        "folder: these test images are also in training",
        "folder: training images in the test part",
    ]
    assert read_names(out / "leaked.txt") == ["1", "2", "3", "4"]
    assert read_names(out / "held_out.txt") == ["train/1", "train/2", "train/3", "train/7"]


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
    assert "equal, flipped or rotated within the test part: d and e; d and f" in report.text
    assert "3 of 4 test images are also in training: 3 equal, 0 near or overlapping" in report.text


def test_a_flat_folder_is_searched_for_duplicates(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, image in {
        "1": other(1),
        "2": other(2),
        "3": other(1),
        "4": other(4),
        "10": other(1),
    }.items():
        write_pair(root, name, image)
    report = run(root)
    assert [(row["test"], row["training"], row["images"]) for row in table(tmp_path / "out")] == [
        ("1", "3", "clear, cloudy"),
        ("1", "10", "clear, cloudy"),
        ("3", "10", "clear, cloudy"),
    ]
    assert "3 of 5 images have a duplicate: 3 equal" in report.text
    assert read_names(tmp_path / "out" / "leaked.txt") == ["1", "3", "10"]
    assert read_names(tmp_path / "out" / "held_out.txt") == ["3", "10"]  # one of each is left
    assert titles(tmp_path / "out") == [
        "folder: these images have a duplicate",
        "folder: without these, no image has a duplicate",
    ]


def test_an_equal_image_is_counted_once_as_equal(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pair(root / "train", "a", cut(WIDE, 0, 0, SIZE))
    write_pair(root / "train", "b", cut(WIDE, 10, 0, SIZE))
    write_pair(root / "test", "c", cut(WIDE, 0, 0, SIZE))
    assert (
        "1 of 1 test images are also in training: 1 equal, 0 near or overlapping" in run(root).text
    )
    assert [row["kind"] for row in table(tmp_path / "out")] == ["equal", "overlapping"]
    assert read_names(tmp_path / "out" / "leaked.txt") == ["c"]


def test_a_list_takes_the_place_of_the_split(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, image in {
        "1": other(1),
        "2": other(1),
        "3": other(3),
        "4": other(3),
        "5": other(5),
    }.items():
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
        tifffile.imwrite(
            path.with_suffix(".tif"), 9 * other(3).permute(1, 2, 0).numpy(), photometric="rgb"
        )
    report = run(split)
    assert [row["test"] for row in table(split.parent / "out")] == ["1", "2", "4"]
    assert (
        f"left out: {split / 'test' / 'clear' / '5.tif'}: floating pixels range from" in report.text
    )
    assert "2 images cannot be used" in report.text


def test_tiny_images_are_only_searched_for_equal_ones(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, image in {
        "1": cut(WIDE, 0, 0, 16),
        "2": cut(WIDE, 1, 0, 16),
        "3": cut(WIDE, 0, 0, 16),
    }.items():
        write_pair(root, name, image)
    report = run(root)
    assert [(row["kind"], row["test"], row["training"]) for row in table(tmp_path / "out")] == [
        ("equal", "1", "3")
    ]
    assert "3 clear images are strips, or smaller than 32 pixels" in report.text


def test_one_image_has_no_duplicate(tmp_path: Path) -> None:
    write_pair(tmp_path / "set", "1", other(1))
    assert "0 of 1 images have a duplicate" in run(tmp_path / "set").text


def test_a_set_without_a_part_is_refused(tmp_path: Path) -> None:
    for index in range(3):
        write_pair(tmp_path / "set" / "train", str(index), other(index))
    with pytest.raises(UserError, match="no test images"):
        run(tmp_path / "set")


def test_members_are_audited_each(tmp_path: Path) -> None:
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
    assert [(row["test"], row["training"]) for row in table(out / "satehaze1k-thin")] == [
        ("1", "0")
    ]
    assert read_names(out / "satehaze1k-thin" / "leaked.txt") == ["1"]
    assert table(out / "satehaze1k-thick") == []
    assert report.leaked == 1
    assert "not there: no satehaze1k-moderate" in report.text
    with pytest.raises(UserError, match="no cuhk-cr1"):
        audit(AuditOptions("cuhk-cr", tmp_path, out=out))


def test_a_threshold_of_its_own(split: Path) -> None:
    run(split, threshold=1.0)
    assert [row["kind"] for row in table(split.parent / "out")] == ["equal", "turned"]


def test_every_pair_is_read_once(split: Path) -> None:
    pairs = find_folder(split).test
    features, errors = read_features([*pairs, *pairs])
    assert list(features) == pairs
    assert errors == []


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_thresholds_that_are_no_correlation_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        AuditOptions("rice1", threshold=threshold)
