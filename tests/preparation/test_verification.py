import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudkit.errors import UserError
from cloudkit.imaging.images import write_image
from preparation.manifests import read_checksums
from tests.helpers import noise, touch, write_images, write_pairs
from tests.preparation.packing import cuhk
from tests.preparation.verifying import check, damage, filled, own, problems
from tests.trainkit.data.layouts import rice, satehaze, tcloud
from trainkit.data.pairs import DataError


@pytest.mark.parametrize(
    ("dataset", "build", "base", "folders", "pairs"),
    [
        ("rice1", lambda root: rice(root, 1, range(4)), "RICE1", ["cloud", "label"], 4),
        ("rice2", lambda root: rice(root, 2, range(4)), "RICE2", ["cloud", "label", "mask"], 4),
        (
            "tcloud",
            tcloud,
            "T-CLOUD",
            ["train/cloud", "train/reference", "test/cloud", "test/reference"],
            27,
        ),
        (
            "satehaze1k",
            satehaze,
            "Haze1k",
            [
                f"Haze1k_{level}/dataset/{part}/{kind}"
                for level in ("thin", "moderate", "thick")
                for part in ("train", "valid", "test")
                for kind in ("input", "target")
            ],
            60,
        ),
        (
            "cuhk-cr",
            cuhk,
            "",
            [
                f"CUHK-CR{number}/{part}/{kind}"
                for number in (1, 2)
                for part in ("train", "test")
                for kind in ("cloud", "label")
            ],
            12,
        ),
        (
            "cuhk-cr",
            lambda root: cuhk(root, "rgb"),
            "",
            [
                f"CUHK-CR{n}/rgb/{part}/{kind}"
                for n in (1, 2)
                for part in ("train", "test")
                for kind in ("cloud", "label")
            ],
            12,
        ),
        (
            "folder",
            lambda root: rice(root, 1, range(4)).rename(root / "own"),
            "own",
            ["cloud", "label"],
            4,
        ),
    ],
)
def test_every_layout(
    dataset: str,
    build: Callable[[Path], object],
    base: str,
    folders: list[str],
    pairs: int,
    tmp_path: Path,
    runs: Path,
) -> None:
    root = tmp_path / "root"
    build(root)
    filled(root)
    given = root / base if dataset == "folder" else root
    report = check(dataset, given)
    assert report.passed
    assert problems(report) == []
    rows = [line.split()[0] for line in report.text.splitlines() if "8 bits x 3" in line]
    assert rows == folders
    verdict = report.text.splitlines()[-1]
    part = "" if dataset == "folder" else ", incomplete"
    assert verdict == f"{dataset} in {root / base}{part}: {pairs} pairs, all is well"
    sums = read_checksums(runs / "data" / f"{dataset}.sha256")
    assert sorted(sums) == sorted(
        path.relative_to(root / base).as_posix() for path in (root / base).rglob("*.png")
    )
    assert (
        subprocess.run(
            ["sha256sum", "-c", "--quiet", runs / "data" / f"{dataset}.sha256"], cwd=root / base
        ).returncode
        == 0
    )
    assert (
        f'cd "{root / base}" && sha256sum -c "{runs / "data" / f"{dataset}.sha256"}"' in report.text
    )


def test_paths_in_the_list_do_not_depend_on_how_the_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(satehaze(tmp_path))
    for level in ("moderate", "thick"):
        (tmp_path / "Haze1k" / f"Haze1k_{level}").rename(tmp_path / level)
    inner = tmp_path / "Haze1k" / "Haze1k_thin" / "dataset"
    lists = []
    for index, root in enumerate(
        (
            tmp_path,
            tmp_path / "Haze1k",
            inner.parent,
            inner,
            inner / "..",
            inner / ".." / "..",
            Path(),
        )
    ):
        monkeypatch.chdir(inner)
        out = tmp_path / f"{index}.sha256"
        report = check("satehaze1k", root, out=out)
        assert report.passed
        assert "not there: no satehaze1k-thick in " in report.text
        lists.append(read_checksums(out))
    assert all(sums == lists[0] for sums in lists)
    assert "Haze1k_thin/dataset/test/input/1-inputs.png" in lists[0]


def test_nothing_is_missing_of_a_complete_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rice(tmp_path, 1, range(500))
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"x")
    verdict = check("rice1", tmp_path).text.splitlines()[-1]
    assert verdict == f"rice1 in {tmp_path / 'RICE1'}: 500 pairs, not well: 1000 damaged"


def test_what_is_missing_of_the_complete_dataset_is_named(tmp_path: Path) -> None:
    filled(rice(tmp_path, 1, [0, *range(3, 300), 301, *range(305, 499)]))
    report = check("rice1", tmp_path)
    assert report.passed
    assert "rice1: 7 of 500 names are missing: 1-2, 300, 302-304, 499" in report.text.splitlines()
    filled(tcloud(tmp_path))
    assert "tcloud: 27 pairs, the complete dataset has 2939" in check("tcloud", tmp_path).text


def test_names_that_the_set_does_not_have(tmp_path: Path) -> None:
    filled(rice(tmp_path, 1, [5, 500]))
    touch(tmp_path / "RICE1" / "cloud", ["07.png"])
    touch(tmp_path / "RICE1" / "label", ["07.png"])
    filled(tmp_path)
    assert problems(check("rice1", tmp_path)) == [
        f"odd: {kind}/{name}.png has a name that the complete dataset does not have"
        for kind in ("cloud", "label")
        for name in ("07", "500")
    ]


def test_parts_of_ones_own_pairs(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        write_pairs(tmp_path / part, 3)
    damage(tmp_path / "valid" / "clear" / "10.png")
    report = check("folder", tmp_path)
    assert [line.split()[:2] for line in problems(report)] == [["damaged:", "valid/clear/10.png"]]
    assert report.text.splitlines()[-1] == f"folder in {tmp_path}: 9 pairs, not well: 1 damaged"


def test_a_list_of_sums_tells_what_changed(tmp_path: Path, runs: Path) -> None:
    root = own(tmp_path / "root")
    out = tmp_path / "sums.sha256"
    assert check("folder", root, out=out).passed
    before = out.read_bytes()
    assert check("folder", root, manifest=out).passed
    write_image(root / "cloudy" / "1.png", noise(99))
    for kind in ("cloudy", "clear"):
        (root / kind / "2.png").unlink()
        write_images(root / kind, ["7.png"])
    report = check("folder", root, manifest=out)
    assert not report.passed
    assert problems(report) == [
        "changed: cloudy/1.png",
        "missing: clear/2.png",
        "missing: cloudy/2.png",
        "extra: clear/7.png",
        "extra: cloudy/7.png",
    ]
    assert report.text.splitlines()[-1].endswith("4 pairs, not well: 1 changed, 2 missing, 2 extra")
    assert out.read_bytes() == before
    assert not runs.exists()


def test_the_list_to_compare_with_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = own(tmp_path / "root")
    check("folder", root, out=tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError,
        match="--out and --manifest both name a, so the list to compare with would be overwritten",
    ):
        check("folder", root, out=Path("a"), manifest=tmp_path / "root" / ".." / "a")
    assert check("folder", root, out=tmp_path / "b", manifest=tmp_path / "a").passed
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("dataset", ["rice1", "satehaze1k", "folder"])
def test_a_set_that_is_not_there(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no (rice1|satehaze1k-thin|pairs)"):
        check(dataset, tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        check(dataset, tmp_path / "absent")


def test_the_data_set_is_only_read(tmp_path: Path) -> None:
    root = filled(rice(tmp_path / "root", 1, range(3)))
    before = {path: path.stat() for path in (tmp_path / "root").rglob("*")}
    check("rice1", root)
    after = {path: path.stat() for path in (tmp_path / "root").rglob("*")}
    assert {path: stat.st_mtime_ns for path, stat in after.items()} == {
        path: stat.st_mtime_ns for path, stat in before.items()
    }
