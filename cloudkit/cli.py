"""How every script starts: options from the command line, errors as one line."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from cloudkit.errors import UserError
from cloudkit.tuning import keep_freed_memory

Options = TypeVar("Options")

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample"
RUNS = ROOT / "runs"


def run(
    main: Callable[[Options], object], parse: Callable[[Sequence[str]], Options], arguments: Sequence[str] | None = None
) -> None:
    """Parse the command line and run `main`; what a user can mend is printed as one line, with exit status 2.

    With THIEFCLOUD_TRACEBACK=1 in the environment the traceback is shown instead.
    """
    keep_freed_memory()
    try:
        main(parse(sys.argv[1:] if arguments is None else arguments))
    except (UserError, OSError) as error:
        if os.environ.get("THIEFCLOUD_TRACEBACK") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def parser(kind: type[Options], description: str | None) -> Callable[[Sequence[str]], Options]:
    """A parser for a dataclass: each field is an option, the docstring under it its help."""
    return lambda arguments: tyro.cli(kind, args=arguments, description=description)


def peek(arguments: Sequence[str], *names: str) -> dict[str, str]:
    """The values given for some options, before the whole command line is parsed: what other defaults depend on."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        early.add_argument(f"--{name}", nargs="?", const="")
    try:
        known, _ = early.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return {}  # the real parser will say what is wrong
    return {name: value for name in names if (value := getattr(known, name.replace("-", "_"))) is not None}


def plain(options: Any) -> dict[str, Any]:
    """A dataclass as a dict that JSON and the safe checkpoint reader take: paths become strings."""
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {
        name: str(value.resolve()) if isinstance(value, Path) else plain(value) if dataclasses.is_dataclass(value) else value
        for name, value in fields.items()
    }


def format_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as aligned text with a header line."""
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )
