import csv
import json
import re
from pathlib import Path

import pytest

from cloudkit.errors import UserError
from trainkit.scoring.collector import ImageScores
from trainkit.scoring.comparison import UNTOUCHED, find_doubts, read_results, render
from trainkit.scoring.results import summarise, write_scores


def result(
    folder: Path,
    method: str,
    restored: float,
    *,
    dataset: str = "rice1",
    images: str = "abc",
    mae: float = 0.1,
) -> Path:
    """Write a metrics.json of two images as test.py does. Returns the file."""
    before = {"plain": {"psnr": 20.0, "ssim": 0.5, "mae": 0.2}, "sui": {"psnr": 21.0, "ssim": 0.6}}
    rows = []
    for name, psnr in (("a", restored - 1), ("b", restored + 1)):
        after = {
            "plain": {"psnr": psnr, "ssim": 0.9, "mae": mae},
            "sui": {"psnr": restored + 1, "ssim": 0.95},
        }
        rows.append(ImageScores(name, before, after))

    about = {"method": method, "dataset": dataset, "images": images}
    write_scores(folder / method, summarise(rows, ("plain", "sui"), about=about), rows)
    return folder / method / "metrics.json"


def test_markdown_holds_the_input_once_and_the_best_in_bold(tmp_path: Path) -> None:
    files = [result(tmp_path, "ours_|1", 30.0, mae=0.05), result(tmp_path, "theirs", 28.0)]
    lines = render(read_results(files), "markdown").splitlines()
    columns = re.sub("-+", "-", lines.pop(1))
    assert columns == "|:-|:-|:-|:-|-:|-:|-:|"  # text to the left, numbers to the right
    assert [" ".join(line.split()) for line in lines] == [
        "| method | dataset | images | protocol | PSNR | SSIM | MAE |",
        "| untouched input | rice1 | 2 | plain | 20.00 | 0.5000 | 0.2000 |",
        "| ours\\_\\|1 | rice1 | 2 | plain | **30.00** | **0.9000** | **0.0500** |",
        "| theirs | rice1 | 2 | plain | 28.00 | **0.9000** | 0.1000 |",
        "| untouched input | rice1 | 2 | sui | 21.00 | 0.6000 | - |",
        "| ours\\_\\|1 | rice1 | 2 | sui | **31.00** | **0.9500** | - |",
        "| theirs | rice1 | 2 | sui | 29.00 | **0.9500** | - |",
    ]


def test_intervals_and_a_method_alone_is_not_bold(tmp_path: Path) -> None:
    results = read_results([result(tmp_path, "ours", 30.0)])
    table = render(results, "markdown", intervals=True)
    expected = "| ours | rice1 | 2 | plain | 30.00 [29.00, 31.00] | 0.9000 [0.9000, 0.9000] |"
    assert expected in " ".join(table.split())


def test_csv_has_all_digits(tmp_path: Path) -> None:
    files = [result(tmp_path, "o,urs", 30.123456789), result(tmp_path, "theirs", 28.0)]
    table = render(read_results(files), "csv", intervals=True)
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["method"] for row in rows] == [UNTOUCHED, "o,urs", "theirs"] * 2
    assert float(rows[1]["psnr"]) == pytest.approx(30.123456789, abs=1e-12)
    assert float(rows[1]["psnr_low"]) == pytest.approx(29.123456789, abs=1e-12)
    assert rows[4]["mae"] == ""
    assert rows[0]["images_sha256"] == "abc"


def test_latex_is_escaped(tmp_path: Path) -> None:
    files = [result(tmp_path, r"a_b%\c", 30.0), result(tmp_path, "d", 1.0)]
    table = render(read_results(files), "latex").splitlines()
    assert table[0] == r"\begin{tabular}{llllrrr}"
    row = (
        r"a\_b\%\textbackslash{}c & rice1 & 2 & plain & "
        r"\textbf{30.00} & \textbf{0.9000} & \textbf{0.1000} \\"
    )

    assert row in [" ".join(line.split()) for line in table]
    assert table[-1] == r"\end{tabular}"


def test_methods_scored_on_other_images_are_reported(tmp_path: Path) -> None:
    same = [
        result(tmp_path, "ours", 30.0),
        result(tmp_path, "theirs", 28.0),
        result(tmp_path, "far", 28.0, dataset="tcloud"),
    ]
    assert find_doubts(read_results(same)) == []

    results = read_results([*same, result(tmp_path, "other", 40.0, images="def")])
    (doubt,) = find_doubts(results)
    assert doubt.startswith("rice1: ours, theirs and other were scored on different images")

    table = render(results, "markdown")
    assert "**30.00**" in table
    assert "**40.00**" not in table
    # one for each protocol of each set of images
    assert [result.method for result in results].count(UNTOUCHED) == 6


def test_a_single_protocol_is_an_object(tmp_path: Path) -> None:
    path = result(tmp_path, "ours", 30.0)
    path.write_text(json.dumps(json.loads(path.read_text())[0]))
    assert [result.protocol for result in read_results([path])] == ["plain", "plain"]


def test_a_method_may_not_come_twice(tmp_path: Path) -> None:
    path = result(tmp_path, "ours", 30.0)
    with pytest.raises(UserError, match="second file with the method ours on rice1"):
        read_results([path, path])
    with pytest.raises(UserError, match="absent"):
        read_results([tmp_path / "absent.json"])


@pytest.mark.parametrize("content", ["", "[1]", "{}"])
def test_files_of_another_kind(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content)
    message = r"metrics\.json (cannot be read as|is no) metrics\.json of test\.py"
    with pytest.raises(UserError, match=message):
        read_results([path])


@pytest.mark.parametrize(
    "change",
    [
        {"count": "two"},
        {"count": -3},
        {"count": True},
        {"input": None},
        {"images": None},
        {"restored": {}},
        {"restored": {"psnr": 1.0, "ssim": "0.8"}},
        {"restored": {"psnr": float("nan")}},
        {"interval": {"input": {}, "restored": {"psnr": [1.0]}}},
        {"interval": {"input": {}, "restored": {"psnr": ["a", "b"]}}},
    ],
)
def test_damaged_results(tmp_path: Path, change: dict[str, object]) -> None:
    path = result(tmp_path, "ours", 30.0)
    good = json.loads(path.read_text())[0]
    path.write_text(json.dumps({**good, **change}))
    message = r"metrics\.json cannot be read as metrics\.json of test\.py"
    with pytest.raises(UserError, match=message):
        read_results([path])

    del good["images"]
    path.write_text(json.dumps(good))
    message = r"metrics\.json is no metrics\.json of test\.py: it has no 'images'"
    with pytest.raises(UserError, match=message):
        read_results([path])


def test_a_missing_file_is_named_in_words(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "a.json", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=rf"{problem}; expected a metrics\.json") as raised:
            read_results([path])
        assert "Errno" not in str(raised.value)
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(UserError, match=r"notes\.txt cannot be read .*: it is no JSON"):
        read_results([tmp_path / "notes.txt"])
