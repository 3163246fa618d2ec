"""Start of every script: options from the command line, errors as one line."""

import argparse
import dataclasses
import glob
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import tyro
from tabulate import tabulate
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from cloudkit.errors import UserError, describe_error
from cloudkit.imaging.finding import natural_key
from cloudkit.memory import keep_freed_memory

Options = TypeVar("Options")

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
RUNS = ROOT / "runs"
CHOICES = ConstructorRegistry()  # rules of all command lines, for `tyro.cli`


@CHOICES.primitive_rule
def _sort_choices(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Sort the choices of an option that are written as a union; tyro lists them at random."""
    if kind.type_origin not in (Union, types.UnionType):
        return None
    values: list[Any] = []
    for part in get_args(kind.type):
        if part is not type(None) and get_origin(part) is not Literal:
            return None
        values += get_args(part) or (None,)

    merged: Any = Literal[tuple(sorted(values, key=str))]
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(merged, kind.markers))
    return spec if isinstance(spec, PrimitiveConstructorSpec) else None


def run_script(
    main: Callable[[Options], object],
    parse: Callable[[Sequence[str]], Options],
    arguments: Sequence[str] | None = None,
) -> None:
    """Parse the command line and run `main`.

    Errors that a user can fix are printed as one line, with exit status 2. With
    THIEFCLOUD_TRACEBACK=1 in the environment the traceback is shown instead.

    Args:
        main: the script.
        parse: the parser of its options, see `parser`.
        arguments: the command line. Default: that of this process.
    """
    keep_freed_memory()
    try:
        main(parse(sys.argv[1:] if arguments is None else arguments))
    except (UserError, OSError) as error:
        if os.environ.get("THIEFCLOUD_TRACEBACK") == "1":
            raise
        print(f"error: {describe_error(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def parser(kind: type[Options], description: str | None) -> Callable[[Sequence[str]], Options]:
    """Return a parser for a dataclass: each field is an option, its docstring the help."""
    return lambda arguments: tyro.cli(
        kind, args=arguments, description=description, registry=CHOICES
    )


def expand(paths: Iterable[Path]) -> list[Path]:
    """Replace patterns such as "*.tif", which Windows does not expand, by what they match.

    Raises:
        UserError: a pattern matches nothing.
    """
    expanded: list[Path] = []
    for path in paths:
        if path.exists() or not glob.has_magic(str(path)):
            expanded.append(path)
            continue
        # Unlike Path.glob, this passes over hidden files.
        found = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207
        if not found:
            raise UserError(
                f"no file or folder matches the pattern {path}; correct it, or name the files."
            )
        expanded += map(Path, found)
    return expanded


def peek(arguments: Sequence[str], *names: str) -> dict[str, str]:
    """Return the values of some options before the command line is parsed.

    Defaults of other options may depend on them.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        early.add_argument(f"--{name}", dest=name, nargs="?", const="", default=argparse.SUPPRESS)
    try:
        known, _ = early.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return {}  # the real parser will report the error
    return vars(known)


def plain(options: Any) -> dict[str, Any]:
    """Return a dataclass as a dict for JSON and checkpoints; paths become absolute strings."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Path):
            value = str(value.resolve())
        elif dataclasses.is_dataclass(value):
            value = plain(value)
        values[field.name] = value
    return values


def format_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows of equal keys as aligned text with a header line."""
    cells: list[list[object]] = [list(rows[0])]
    for row in rows:
        cells.append(list(row.values()))
    alignment = ["left"] + ["right"] * (len(rows[0]) - 1)
    return tabulate(cells, tablefmt="plain", colalign=alignment, disable_numparse=True)
