import io

import pytest
from tqdm import tqdm

from cloudkit.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, *, show: bool = True) -> str:
    assert list(progress_bar(range(3), show=show, desc="working", file=stream)) == [0, 1, 2]
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_a_bar_is_drawn_on_a_terminal_alone() -> None:
    assert "working" in drawn(Terminal())
    assert drawn(io.StringIO()) == ""
    assert drawn(Terminal(), show=False) == ""


@pytest.mark.parametrize(("value", "hidden"), [("1", True), ("0", False), ("", False)])
def test_the_environment_hides_it(
    monkeypatch: pytest.MonkeyPatch, value: str, hidden: bool
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", value)
    assert (drawn(Terminal()) == "") == hidden


def test_without_items_updates_are_counted() -> None:
    stream = Terminal()
    bar: tqdm[int] = progress_bar(total=10, desc="comparing", file=stream)
    with bar:
        bar.update(10)
    assert bar.n == 10
    assert "10/10" in stream.getvalue()
