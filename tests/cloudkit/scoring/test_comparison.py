import csv
import json
from pathlib import Path

import pytest

from cloudkit.errors import UserError
from cloudkit.scoring.comparison import UNTOUCHED, doubts, read_lines, render
from cloudkit.scoring.results import ImageScores, summarise, write_scores


def result(folder: Path, method: str, restored: float, *, dataset: str = "rice1", images: str = "abc", mae: float = 0.1) -> Path:
    """A metrics.json of two images as test.py writes it. Returns the file."""
    rows = [
        ImageScores(
            name,
            {"plain": {"psnr": 20.0, "ssim": 0.5, "mae": 0.2}, "sui": {"psnr": 21.0, "ssim": 0.6}},
            {"plain": {"psnr": restored + shift, "ssim": 0.9, "mae": mae}, "sui": {"psnr": restored + 1, "ssim": 0.95}},
        )
        for name, shift in (("a", -1.0), ("b", 1.0))
    ]
    about = {"method": method, "dataset": dataset, "images": images}
    write_scores(folder / method, summarise(rows, ("plain", "sui"), about=about), rows)
    return folder / method / "metrics.json"


def test_markdown_holds_the_input_once_and_the_best_in_bold(tmp_path: Path) -> None:
    files = [result(tmp_path, "ours_|1", 30.0, mae=0.05), result(tmp_path, "theirs", 28.0)]
    assert render(read_lines(files), "markdown").splitlines() == [
        "| method | data set | images | protocol | PSNR | SSIM | MAE |",
        "| --- | --- | --- | --- | ---: | ---: | ---: |",
        "| untouched input | rice1 | 2 | plain | 20.00 | 0.5000 | 0.2000 |",
        "| ours\\_\\|1 | rice1 | 2 | plain | **30.00** | **0.9000** | **0.0500** |",
        "| theirs | rice1 | 2 | plain | 28.00 | **0.9000** | 0.1000 |",
        "| untouched input | rice1 | 2 | sui | 21.00 | 0.6000 | - |",
        "| ours\\_\\|1 | rice1 | 2 | sui | **31.00** | **0.9500** | - |",
        "| theirs | rice1 | 2 | sui | 29.00 | **0.9500** | - |",
    ]


def test_intervals_and_a_method_alone_is_not_bold(tmp_path: Path) -> None:
    lines = read_lines([result(tmp_path, "ours", 30.0)])
    assert "| ours | rice1 | 2 | plain | 30.00 [29.00, 31.00] | 0.9000 [0.9000, 0.9000] |" in render(
        lines, "markdown", intervals=True
    )


def test_csv_has_all_digits(tmp_path: Path) -> None:
    lines = read_lines([result(tmp_path, "o,urs", 30.123456789), result(tmp_path, "theirs", 28.0)])
    rows = list(csv.DictReader(render(lines, "csv", intervals=True).splitlines()))
    assert [row["method"] for row in rows] == [UNTOUCHED, "o,urs", "theirs"] * 2
    assert float(rows[1]["psnr"]) == pytest.approx(30.123456789, abs=1e-12)
    assert float(rows[1]["psnr_low"]) == pytest.approx(29.123456789, abs=1e-12)
    assert rows[4]["mae"] == ""
    assert rows[0]["images_sha256"] == "abc"


def test_latex_is_escaped(tmp_path: Path) -> None:
    table = render(read_lines([result(tmp_path, r"a_b%\c", 30.0), result(tmp_path, "d", 1.0)]), "latex").splitlines()
    assert table[0] == r"\begin{tabular}{llllrrr}"
    assert r"a\_b\%\textbackslash{}c & rice1 & 2 & plain & \textbf{30.00} & \textbf{0.9000} & \textbf{0.1000} \\" in table
    assert table[-1] == r"\end{tabular}"


def test_methods_scored_on_other_images_are_told(tmp_path: Path) -> None:
    same = [result(tmp_path, "ours", 30.0), result(tmp_path, "theirs", 28.0), result(tmp_path, "far", 28.0, dataset="tcloud")]
    assert doubts(read_lines(same)) == []
    other = result(tmp_path, "other", 40.0, images="def")
    lines = read_lines([*same, other])
    assert [text.split(",")[0] for text in doubts(lines)] == ["rice1: ours"]
    assert "ours, theirs and other were scored on different images" in doubts(lines)[0]
    table = render(lines, "markdown")
    assert "**30.00**" in table
    assert "**40.00**" not in table
    assert [line.method for line in lines].count(UNTOUCHED) == 6  # for each protocol of each set of images


def test_a_single_protocol_is_an_object(tmp_path: Path) -> None:
    path = result(tmp_path, "ours", 30.0)
    path.write_text(json.dumps(json.loads(path.read_text())[0]))
    assert [line.protocol for line in read_lines([path])] == ["plain", "plain"]


def test_files_that_do_not_serve(tmp_path: Path) -> None:
    path = result(tmp_path, "ours", 30.0)
    with pytest.raises(UserError, match="second file with the method ours on rice1"):
        read_lines([path, path])
    good = json.loads(path.read_text())[0]
    broken = [
        "",
        "[1]",
        "{}",
        json.dumps({**good, "count": "two"}),
        json.dumps({**good, "count": -3}),
        json.dumps({**good, "count": True}),
        json.dumps({**good, "restored": {**good["restored"], "ssim": "0.8"}}),
        json.dumps({**good, "restored": {**good["restored"], "psnr": float("nan")}}),
        json.dumps({**good, "interval": {**good["interval"], "restored": {"psnr": [1.0]}}}),
        json.dumps({**good, "interval": {**good["interval"], "restored": {"psnr": ["a", "b"]}}}),
        json.dumps({**good, "input": None}),
        json.dumps({**good, "restored": {}}),
        json.dumps({name: value for name, value in good.items() if name != "images"}),
    ]
    for content in broken:
        path.write_text(content)
        with pytest.raises(UserError, match=r"metrics\.json (cannot be read as|is no) metrics\.json of test\.py"):
            read_lines([path])
    with pytest.raises(UserError, match="absent"):
        read_lines([tmp_path / "absent.json"])
