import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudkit.errors import UserError
from cloudkit.script.command_line import format_table, parser, peek, plain, run_script
from tests.helpers import squeezed


@dataclass(frozen=True)
class Inner:
    low: float = 0.5
    pair: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class Options:
    """Some options."""

    path: Path = Path("x")
    """Place."""
    count: int = 1
    """Number."""
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count is {self.count}, expected 0 or more.")


READ = parser(Options, "words")


def test_options_reach_main() -> None:
    received: list[Options] = []
    run_script(received.append, READ, ["--count", "3", "--inner.pair", "4", "5"])
    assert received == [Options(count=3, inner=Inner(pair=(4, 5)))]


@pytest.mark.parametrize("error", [UserError("no such thing"), FileNotFoundError("no such thing")])
def test_errors_of_users_are_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def main(options: Options) -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        run_script(main, READ, [])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: no such thing\n"


def test_contradictions_in_options_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_script(lambda options: None, READ, ["--count", "-1"])
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert "count is -1, expected 0 or more." in squeezed(shown)
    assert "Traceback" not in shown


def test_bugs_keep_their_traceback() -> None:
    def main(options: Options) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_script(main, READ, [])


def test_the_traceback_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(options: Options) -> None:
        raise UserError("no such thing")

    monkeypatch.setenv("THIEFCLOUD_TRACEBACK", "1")
    with pytest.raises(UserError):
        run_script(main, READ, [])


def test_interrupted_from_the_keyboard(capsys: pytest.CaptureFixture[str]) -> None:
    def main(options: Options) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run_script(main, READ, [])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], {}),
        (["--preset", "quick", "--out", "x"], {"preset": "quick", "out": "x"}),
        (["--preset=quick", "--crop", "8", "positional"], {"preset": "quick"}),
        (["--pre", "quick"], {}),
        (["--out"], {"out": ""}),
    ],
)
def test_options_are_read_early(arguments: list[str], found: dict[str, str]) -> None:
    assert peek(arguments, "preset", "out") == found


def test_options_become_plain(tmp_path: Path) -> None:
    values = plain(Options(path=tmp_path))
    assert json.loads(json.dumps(values)) == {
        "path": str(tmp_path.resolve()),
        "count": 1,
        "inner": {"low": 0.5, "pair": [1, 2]},
    }


def test_table_is_aligned() -> None:
    assert format_table([{"name": "a", "x": 1}, {"name": "long", "x": 22}]).splitlines() == [
        "name   x",
        "a      1",
        "long  22",
    ]
