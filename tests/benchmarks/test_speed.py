"""benchmarks/speed.py, run as its user runs it. No test depends on how long anything takes."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.speedkit.breakdown import DEFORMABLE, TOTAL, parts_of
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import count_flops
from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from tests.helpers import ROOT, assert_one_error, run_script, squeezed
from tests.scripts.test_every_script import documented_fields
from thiefcloud import ThiefCloud

SPEED = ROOT / "benchmarks" / "speed.py"
TINY = ["--quick", "--sizes", 16, "--crop", 16, "--device", "cpu", "--no-memory"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def results(few_repetitions: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of a run on a CPU that computes in bf16, or pretends to."""
    out = tmp_path_factory.mktemp("results") / "new" / "speed.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
        assert run_script(SPEED, *TINY, "--seconds", 0.01, "--out", out) == 0
    text = out.read_text(encoding="utf-8")
    assert str(out.parent.parent) not in text
    assert str(ROOT) not in text
    return json.loads(text)


def test_every_section_is_there(results: dict[str, Any]) -> None:
    assert list(results) == ["machine", "quick", "ceilings", "inference", "training", "breakdown"]
    assert results["machine"]["torch"] == torch.__version__
    assert results["machine"]["cpu"]
    assert [row["what"].split(",")[0] for row in results["ceilings"]] == 2 * [
        "matrix product",
        *["3x3 convolution"] * 3,
        "copy",
    ]
    assert [(row["precision"], row["size"], row["batch"]) for row in results["inference"]] == [
        ("fp32", 16, 1),
        ("bf16", 16, 1),
    ]
    assert [row["scpm"] for row in results["training"]] == ["frozen", "tunable", "both"]
    assert len(results["breakdown"]) == 2 * (len(parts_of(ThiefCloud(SCPM()))) + 2)


def test_both_settings_restore_the_same(results: dict[str, Any]) -> None:
    fp32, bf16 = results["inference"]
    assert 0 < fp32["max_difference"] < 1e-4  # two ways to compute it, so not equal to the last bit
    assert fp32["psnr_db"] > 80
    assert "psnr_to_fp32_db" not in fp32
    assert 20 < bf16["psnr_to_fp32_db"] < 80


def test_rates_fit_together(results: dict[str, Any]) -> None:
    best = max(
        row["gflops"]
        for row in results["ceilings"]
        if row["precision"] == "fp32" and "channels" in row
    )
    row = results["inference"][0]
    gflop = count_flops(ThiefCloud(SCPM()), 16) / 1e9
    for setting in ("default", "naive"):
        assert row[f"{setting}_gflops"] == pytest.approx(gflop * row[f"{setting}_images_per_s"])
        assert row[f"{setting}_fraction_of_ceiling"] == pytest.approx(
            row[f"{setting}_gflops"] / best
        )
    frozen, tunable, both = results["training"]
    for phase in (frozen, tunable):
        assert phase["speedup"] > 0
        assert phase["schedule_hours"] == pytest.approx(
            400 * 200 / phase["sustained_images_per_s"] / 3600
        )
    assert both["schedule_hours"] == pytest.approx(
        frozen["schedule_hours"] + tunable["schedule_hours"]
    )


def test_fractions_are_of_the_total(results: dict[str, Any]) -> None:
    rows = {row["part"]: row for row in results["breakdown"] if row["precision"] == "fp32"}
    assert rows[TOTAL]["default_fraction"] == 1
    for setting in ("default", "naive"):
        assert all(row[f"{setting}_ms"] > 0 for row in rows.values())
        fractions = [row[f"{setting}_fraction"] for part, row in rows.items() if part != TOTAL]
        assert sum(fractions) == pytest.approx(1, abs=0.5)  # medians of each part over few runs
    assert rows[DEFORMABLE]["default_ms"] < rows[TOTAL]["default_ms"]


def test_without_ceilings_and_seconds_there_is_no_fraction_and_no_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speed.json"
    assert run_script(SPEED, *TINY, "--parts", "inference", "training", "--out", out) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert "ceilings" not in found
    assert found["inference"][0]["default_fraction_of_ceiling"] is None
    assert [row["scpm"] for row in found["training"]] == ["frozen", "tunable"]
    assert "schedule_hours" not in found["training"][0]
    shown = capsys.readouterr().out
    heading = "### Restoring\n\n| precision | size | batch | default : naive | default images/s |"
    assert heading in re.sub(" +", " ", shown)
    assert "### Ceilings" not in shown


def test_one_large_image(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    assert run_script(SPEED, "--quick", "--parts", "large", "--out", out) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["large"]
    assert [(row["setting"], row["size"]) for row in rows] == [("default", 256), ("naive", 256)]
    for row in rows:
        assert row["seconds"] > 0
        assert row["peak_mb"] is None or row["peak_mb"] > row["before_mb"] > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "20"], "--sizes is 20, expected positive multiples of 8."),
        (["--crop", "20"], "--crop is 20, expected a multiple of 8, for example 16."),
        (["--crop", "8"], "--crop is 8, expected 16 or more"),
        (["--seconds", "-1"], "--seconds is -1.0, expected 0 or more."),
        (["--out", "speed.txt"], "--out is speed.txt, expected a file whose name ends in .json."),
        (["--parts"], "--parts names no section"),
        (["--parts", "everything"], "everything"),
    ],
)
def test_contradictions_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(SPEED, *arguments) == 2
    shown = capsys.readouterr()
    assert message in squeezed(shown.err + shown.out)
    assert "Traceback" not in shown.err


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official, other = tmp_path / "official.pt", tmp_path / "scpm.pt"
    model, prior = ThiefCloud(SCPM(sampling="official")), SCPM()
    save_checkpoint(official, "thiefcloud", model.config, {"model": model.state_dict()})
    save_checkpoint(other, "scpm", prior.config, {"model": prior.state_dict()})
    for arguments, part in (
        (["--device", "nonsense"], "the device 'nonsense' is unknown"),
        (["--checkpoint", tmp_path / "absent.pt"], "there are no weights"),
        (
            ["--checkpoint", official],
            "official.pt holds no ThiefCloud with a prior of sampling=standard",
        ),
        (["--checkpoint", other], "scpm.pt holds the network 'scpm', expected 'thiefcloud'"),
    ):
        assert run_script(SPEED, "--device", "cpu", *arguments) == 2
        assert_one_error(capsys.readouterr().err, part)


def test_help_shows_each_option_and_the_manual_has_options_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_script(SPEED, "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    fields = dict(documented_fields(SpeedOptions))
    for name, text in fields.items():
        assert f"--{name}" in shown
        assert text[:25] in shown
    manual = ast.get_docstring(ast.parse(SPEED.read_text(encoding="utf-8"))) or ""
    commands = [
        line.split("#")[0].split() for line in manual.splitlines() if line.startswith("    python")
    ]
    assert len(commands) > 3
    for command in commands:
        assert command[1] == "benchmarks/speed.py"
        assert {word for word in command if word.startswith("--")} <= {
            f"--{name}" for name in fields
        }
