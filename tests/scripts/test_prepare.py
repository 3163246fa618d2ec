import ast
import sys
from pathlib import Path

import pytest

from cloudkit.imaging.images import write_image
from preparation import verification
from preparation.options import AuditOptions, GetOptions, VerifyOptions
from tests.helpers import ROOT, assert_one_error, noise, run_script, squeezed
from tests.preparation.packing import packed
from tests.preparation.verifying import damage, filled, own
from tests.scripts.test_every_script import documented_fields
from tests.trainkit.data.layouts import rice

PREPARE = ROOT / "data" / "prepare.py"
COMMANDS = {"get": GetOptions, "verify": VerifyOptions, "audit": AuditOptions}


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working directory, and a place of its own for what goes to runs/ by default."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(verification, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in (1, 2):
        rice(tmp_path / "sample", number, range(3))
    return packed(filled(tmp_path / "sample"), tmp_path / "fetched.zip", "RICE_DATASET/")


def test_a_new_dataset_is_verified(
    archive: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_script(PREPARE, "get", "rice1", "--root", tmp_path / "new", "--archive", archive) == 0
    )
    shown = capsys.readouterr().out
    for number in (1, 2):
        assert f"rice{number} is in {tmp_path / 'new' / f'RICE{number}'}" in shown
        folder = tmp_path / "new" / f"RICE{number}"
        assert f"rice{number} in {folder}, incomplete: 3 pairs, all is well" in shown
        assert (runs / "data" / f"rice{number}.sha256").is_file()
    assert (
        run_script(PREPARE, "get", "rice2", "--root", tmp_path / "new", "--archive", archive) == 0
    )
    shown = capsys.readouterr().out
    assert "rice2 is there already, so nothing was done" in shown
    assert "all is well" not in shown


def test_damage_in_a_new_dataset_gives_status_1_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        rice(tmp_path / "sample", number, range(3))
    damage(filled(tmp_path / "sample") / "RICE1" / "cloud" / "1.png")
    made = packed(tmp_path / "sample", tmp_path / "fetched.zip")
    assert run_script(PREPARE, "get", "rice1", "--root", "here", "--archive", made) == 1
    shown = capsys.readouterr()
    assert "damaged: cloud/1.png" in shown.out
    assert shown.out.splitlines()[-1].endswith("3 pairs, all is well")
    assert "Traceback" not in shown.err


def test_verify_gives_status_0_or_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = own(tmp_path / "own")
    assert run_script(PREPARE, "verify", "folder", "--root", root, "--out", "a.sha256") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"folder in {root}: 4 pairs, all is well"
    assert Path("a.sha256").is_file()
    assert run_script(PREPARE, "verify", "folder", "--root", root, "--manifest", "a.sha256") == 0
    (root / "clear" / "3.png").unlink()
    assert run_script(PREPARE, "verify", "folder", "--root", root) == 1
    capsys.readouterr()
    assert run_script(PREPARE, "verify", "folder", "--root", root, "--manifest", "a.sha256") == 1
    shown = capsys.readouterr().out
    assert "missing: clear/3.png" in shown
    assert "unpaired: cloudy/3.png" in shown


def test_audit_gives_status_0_or_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, seeds in (("train", range(4)), ("test", range(4, 6))):
        for kind in ("cloudy", "clear"):
            for seed in seeds:
                write_image(
                    tmp_path / "own" / part / kind / f"{seed}.png", noise(seed, height=64, width=64)
                )
    arguments = [
        "audit",
        "folder",
        "--root",
        tmp_path / "own",
        "--out",
        tmp_path / "audit",
        "--device",
        "cpu",
    ]
    assert run_script(PREPARE, *arguments) == 0
    for kind in ("cloudy", "clear"):
        write_image(tmp_path / "own" / "train" / kind / "9.png", noise(5, height=64, width=64))
    capsys.readouterr()
    assert run_script(PREPARE, *arguments) == 1
    assert "1 of 2 test images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["get", "tcloud", "--root", "new"],
            ["1LtkcdxMbJQTgEr-JvTM1Ug", "t63d", 'verify tcloud --root "new"'],
        ),
        (
            ["get", "rice1", "--root", "new"],
            ['gdown is not installed; run pip install -e ".[data]"', "--archive FILE"],
        ),
        (
            ["get", "rice1", "--root", "new", "--archive", "absent.zip"],
            ["there is no archive absent.zip"],
        ),
        (
            ["verify", "rice1", "--root", "."],
            ["no rice1 in", "RICE1/{cloud,label}", "data/prepare.py get rice1"],
        ),
        (["verify", "folder", "--root", "absent"], ["absent is no folder"]),
        (
            ["verify", "folder", "--manifest", "absent"],
            ["absent cannot be read as a list of SHA-256 checksums"],
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    arguments: list[str],
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    assert run_script(PREPARE, *arguments) == 2
    assert_one_error(capsys.readouterr().err, *parts)


@pytest.mark.parametrize(
    "arguments", [["get", "folder"], ["get"], [], ["verify", "rice3"], ["fetch", "rice1"]]
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(PREPARE, *arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_each_option_with_its_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(PREPARE, command, "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    for name, text in documented_fields(COMMANDS[command]):
        assert name == "dataset" or f"--{name}" in shown
        assert text[:25] in shown


def test_the_commands_of_the_manual_exist() -> None:
    manual = ast.get_docstring(ast.parse(PREPARE.read_text(encoding="utf-8"))) or ""
    commands = [
        line.split("#")[0].split() for line in manual.splitlines() if line.startswith("    python")
    ]
    assert {command[2] for command in commands} == set(COMMANDS)
    for _, script, name, _, *rest in commands:
        assert script == "data/prepare.py"
        assert {word for word in rest if word.startswith("--")} <= {
            f"--{field}" for field, _ in documented_fields(COMMANDS[name])
        }
