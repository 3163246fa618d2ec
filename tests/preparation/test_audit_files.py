"""Audits: the files that they write, and those that they leave alone."""

from pathlib import Path

import pytest

from cloudkit.errors import UserError
from preparation.audit import audit
from preparation.options import AuditOptions
from tests.preparation.auditing import run, table
from trainkit.data.datasets import find_folder
from trainkit.data.splits import SplitLists, find_listed
from trainkit.data.trees import UNSPLIT


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


def test_nothing_found_removes_what_an_earlier_audit_wrote_and_nothing_else(split: Path) -> None:
    run(split)
    out = split.parent / "out"
    (out / "mine.png").write_bytes(b"mine")
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
        "mine.png",
    ]


def test_a_list_of_others_stays(split: Path) -> None:
    out = split.parent / "out"
    out.mkdir()
    (out / "held_out.txt").write_text("mine\n")
    for path in (*(split / "train" / "clear").iterdir(), *(split / "train" / "cloudy").iterdir()):
        if path.stem not in ("4", "5", "6"):
            path.unlink()
    run(split)
    assert (out / "held_out.txt").read_text() == "mine\n"


def test_results_never_land_among_the_images(split: Path) -> None:
    with pytest.raises(UserError, match="lies inside"):
        audit(AuditOptions("folder", split, out=split / "train" / "clear" / "out"))
    assert not (split / "train" / "clear" / "out").exists()
