"""ThiefCloud/compare.py, run as its user runs it."""

from pathlib import Path

import pytest

from tests.helpers import ROOT, TEST, assert_one_error, run_script, squeezed, write_pairs

COMPARE = ROOT / "ThiefCloud" / "compare.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("results")
    pairs = write_pairs(folder / "pairs", 2)
    for method, images in (("nothing", pairs / "cloudy"), ("perfect", pairs / "clear")):
        data = ("--dataset", "folder", "--root", pairs, "--restored", images)
        scores = ("--panels", 0, "--protocol", "thiefcloud", "--method", method)
        assert run_script(TEST, *data, *scores, "--out", folder / method) == 0
    return [folder / method / "metrics.json" for method in ("nothing", "perfect")]


def test_the_results_of_test_py_make_a_table(
    results: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(COMPARE, *results) == 0
    printed = capsys.readouterr()
    rows = [" ".join(line.split()) for line in printed.out.splitlines()[2:]]
    methods = [row.split(" | ")[0] for row in rows]
    assert methods == ["| untouched input", "| nothing", "| perfect"] * 2
    assert rows[0].split(" | ")[1:] == rows[1].split(" | ")[1:]
    assert "| folder | 2 | plain | - | **1.0000** |" in rows[2]  # an infinite PSNR has no mean
    assert printed.err == ""
    assert run_script(COMPARE, *results, "--format", "csv", "--protocol", "thiefcloud") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_mistakes_are_one_line(
    results: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, part in (
        (
            [*results, "--protocol", "sui"],
            "no file has scores under the protocol sui; run test.py with --protocol sui",
        ),
        ([tmp_path / "absent.json"], "absent.json does not exist"),
        ([results[0], results[0]], "second file with the method nothing"),
    ):
        assert run_script(COMPARE, *arguments) == 2
        assert_one_error(capsys.readouterr().err, part)

    assert run_script(COMPARE) == 2
    assert "expected at least one metrics.json" in squeezed(capsys.readouterr().err)
