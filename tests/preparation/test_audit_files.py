"""Audits: the files that they write, and those that they leave alone."""

from pathlib import Path

import pytest
import torch

from cloudkit.data.datasets import find_folder
from cloudkit.data.splits import UNSPLIT, SplitLists, find_listed
from cloudkit.errors import UserError
from cloudkit.imaging.images import read_image, read_unit
from preparation.audit import audit
from preparation.options import AuditOptions
from tests.preparation.auditing import SIZE, WIDE, run, table, write_pair
from tests.preparation.scenes import cut


def test_the_lists_do_what_scripts_want_of_them(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    scored = [pair.name for pair in find_folder(split).test]
    assert find_listed({UNSPLIT: {name: name for name in scored}}, out / "leaked.txt") == (
        ["1", "2", "3", "4"],
        "",
    )
    apart = find_folder(split, SplitLists(held_out=out / "held_out.txt"))
    assert [pair.name for pair in apart.train] == ["4", "5", "6"]
    assert [pair.name for pair in apart.test] == scored


def test_pictures_frame_what_both_show(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    picture = read_unit(out / "pictures" / "004_4_7.png")[:, 22:]  # below the titles
    test, training = picture[:, :, :SIZE], picture[:, :, SIZE + 4 :]
    for image, place, (top, left) in (
        (test, cut(WIDE, 0, 0, SIZE), (10, 13)),
        (training, cut(WIDE, 10, 13, SIZE), (0, 0)),
    ):
        changed = ((image - place).abs().amax(dim=0) > 0.01).nonzero()
        rows, columns = changed.aminmax(dim=0)
        assert rows.tolist() == pytest.approx([top, left], abs=1)
        assert columns.tolist() == pytest.approx([top + 53, left + 50], abs=1)
    equal = read_unit(out / "pictures" / "001_1_1.png")[:, 22:]
    assert torch.allclose(equal[:, :, :SIZE], equal[:, :, SIZE + 4 :], atol=1e-3)


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
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "audit.csv",
        "pictures/001_mine.png",
    ]


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
    (out / "audit.csv").write_text(
        (out / "audit.csv").read_text().replace("001_1_1.png", "../mine.png")
    )
    run(split)
    assert mine.exists()


@pytest.mark.parametrize(("pictures", "expected"), [(2, ["003_3_3.png", "004_4_7.png"]), (0, [])])
def test_the_most_doubtful_pairs_are_shown(split: Path, pictures: int, expected: list[str]) -> None:
    run(split, pictures=pictures)
    out = split.parent / "out"
    assert [row["picture"] for row in table(out) if row["picture"]] == expected
    assert sorted(path.name for path in out.glob("pictures/*")) == expected


def test_images_of_other_sizes_are_shown_at_one_height(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pair(root / "train", "a", WIDE)
    write_pair(root / "test", "b", torch.nn.functional.avg_pool2d(WIDE, 2))
    run(root)
    (row,) = table(tmp_path / "out")
    assert row["kind"] == "near"
    assert read_image(tmp_path / "out" / "pictures" / row["picture"]).shape == (
        3,
        22 + SIZE,
        2 * SIZE + 4,
    )


def test_pictures_never_land_among_the_images(split: Path) -> None:
    with pytest.raises(UserError, match="lies inside"):
        audit(AuditOptions("folder", split, out=split / "train" / "clear" / "out"))
    assert not (split / "train" / "clear" / "out").exists()
