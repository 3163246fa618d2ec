"""Pickles of PyTorch files, followed without running them.

PyTorch's safe reader runs no code, but a pickle can still make it allocate any amount, hash deep
tuples until the process crashes, or unfold small values without end. So every pickle is followed
here first, with a description in place of each value. Only what PyTorch itself writes for weights
passes.
"""

import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import torch

_MOST_STEPS = 400_000  # of a pickle; a training's state of the networks here has about 50,000
_LARGEST = 2_000_000  # values within a value, where shared ones count each time
_DEEPEST = 60  # values within values


class PickleError(Exception):
    """Error of a pickle that holds more than weights, or that claims too much."""


class ForeignObjectError(PickleError):
    """Error of a pickle with Python objects besides weights."""


@dataclass(slots=True, eq=False)
class _Value:
    """Description of a value that a pickle makes."""

    atom: object = None
    """Text, number or name of a function; the type of a dict or list; else None."""
    parts: "Sequence[_Value]" = ()
    """Parts of a tuple."""
    grows: bool = False
    """A list or dict, which may get more parts until another value holds it."""
    size: int = 1
    depth: int = 1


class _Function(str):
    """Name of a function or class."""

    __slots__ = ()


# Functions that rebuild values, each with a test of its arguments.
_REBUILD = {
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch Size",
    "torch device",
    "numpy._core.multiarray scalar",
    "numpy.core.multiarray scalar",
}
_EMPTY = {"collections OrderedDict"}
_COUNTER = "collections Counter"  # schedulers with milestones save it
_ENCODE = "_codecs encode"
_DTYPE = "numpy dtype"
_ATOMS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}
_ATOMS |= {"NONE", "NEWTRUE", "NEWFALSE"}
# Bytes of a value in each class of storages.
_STORAGES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2}
_STORAGES |= {"Char": 1, "Byte": 1, "Bool": 1, "ComplexDouble": 16, "ComplexFloat": 8, "Untyped": 1}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def storages_of(stream: IO[bytes]) -> dict[str, int]:
    """Follow a pickle, and return the bytes that each storage of numbers claims.

    Args:
        stream: at the begin of the pickle; afterwards at its end.

    Raises:
        PickleError: it is damaged, holds other things than weights, or would do harm.
    """
    machine = _Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if step > _MOST_STEPS:
                raise PickleError(f"its pickle has more than {_MOST_STEPS} steps")
            machine.follow(opcode.name, argument)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise PickleError("its pickle is damaged") from error
    return machine.storages


class _Machine:
    """Stack and memory of a pickle that is followed."""

    def __init__(self) -> None:
        self.storages: dict[str, int] = {}
        self._stack: list[_Value] = []
        self._outer: list[list[_Value]] = []
        self._memory: dict[int, _Value] = {}

    def follow(self, name: str, argument: object) -> None:
        """Follow one step."""
        if name in _ATOMS:
            self._stack.append(_Value(argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memory[_number(argument)] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memory[_number(argument)])
        elif name == "GLOBAL":
            self._stack.append(_Value(_allowed(str(argument))))
        elif name == "MARK":
            self._outer.append(self._stack)
            self._stack = []
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            self._stack.append(_Value(dict if name == "EMPTY_DICT" else list, grows=True))
        elif name == "EMPTY_TUPLE":
            self._stack.append(_Value())
        elif name not in ("PROTO", "STOP"):
            self._join(name)

    def _join(self, name: str) -> None:
        """Follow a step that takes values from the stack."""
        if name in _TUPLES:
            self._stack.append(_holding(self._take(_TUPLES[name])))
        elif name == "TUPLE":
            parts = self._take_marked()
            self._stack.append(_holding(parts))
        elif name in ("APPEND", "APPENDS"):
            parts = self._take(1) if name == "APPEND" else self._take_marked()
            _grow(self._stack[-1], parts)
        elif name in ("SETITEM", "SETITEMS"):
            parts = self._take(2) if name == "SETITEM" else self._take_marked()
            _check_keys(parts[::2])
            _grow(self._stack[-1], parts)
        elif name == "BUILD":
            parts = self._take(1)
            _grow(self._stack[-1], parts)
        elif name == "REDUCE":
            function, arguments = self._take(2)
            self._stack.append(_called(function, arguments))
        elif name == "BINPERSID":
            (storage,) = self._take(1)
            self._note(storage)
            self._stack.append(_Value())
        else:
            raise ForeignObjectError(f"a pickle with {name}, which PyTorch does not write")

    def _take(self, count: int) -> list[_Value]:
        if len(self._stack) < count:
            raise PickleError("its pickle is damaged")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _take_marked(self) -> list[_Value]:
        taken, self._stack = self._stack, self._outer.pop()
        return taken

    def _note(self, storage: _Value) -> None:
        """Note a storage: ("storage", its class, its key, its device, its number of values)."""
        atoms = [part.atom for part in storage.parts]
        if len(atoms) not in (5, 6) or atoms[0] != "storage":
            raise PickleError("its pickle names no storage where one belongs")
        if len(atoms) == 6 and storage.parts[5].parts:
            raise PickleError("its storages are parts of others, which only old versions wrote")

        kind, key, count = atoms[1], atoms[2], atoms[4]
        if not (isinstance(kind, _Function) and isinstance(key, str) and isinstance(count, int)):
            raise PickleError("its pickle describes a storage wrongly")
        if count < 0:
            raise PickleError("its pickle claims a storage of negative size")
        self.storages[key] = max(
            count * _STORAGES.get(_storage_name(kind), 1), self.storages.get(key, 0)
        )


def _number(argument: object) -> int:
    assert isinstance(argument, int)
    return argument


def _allowed(name: str) -> _Function:
    """Return the name of a function or class that weights need, such as a type of numbers."""
    module, _, attribute = name.partition(" ")
    if name in _REBUILD | _EMPTY | {_COUNTER, _ENCODE, _DTYPE}:
        return _Function(name)
    is_storage = _storage_name(name) in _STORAGES
    is_type = module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype)
    if is_storage or is_type:
        return _Function(name)
    raise ForeignObjectError(name.replace(" ", ".")[:100])


def _storage_name(name: str) -> str:
    """Return "Float" of "torch FloatStorage"; "" if the name is of no class of storages."""
    module, _, attribute = name.partition(" ")
    is_storage = module in ("torch", "torch.storage") and attribute.endswith("Storage")
    return attribute.removesuffix("Storage") if is_storage else ""


def _holding(parts: Sequence[_Value]) -> _Value:
    """Return a value that holds others."""
    value = _Value(parts=parts)
    _add(value, parts)
    return value


def _grow(target: _Value, parts: Sequence[_Value]) -> None:
    """Add parts to a list or dict. None that another value holds already may grow."""
    if not target.grows or any(part is target for part in parts):
        raise PickleError("its pickle changes a value that it has used, or holds one in itself")
    _add(target, parts)


def _add(target: _Value, parts: Sequence[_Value]) -> None:
    for part in parts:
        part.grows = False
        target.size += part.size
        target.depth = max(target.depth, part.depth + 1)
    if target.size > _LARGEST or target.depth > _DEEPEST:
        raise PickleError(
            f"it holds values {target.depth} deep, or {target.size} in all, expected at most "
            f"{_DEEPEST} and {_LARGEST}"
        )


def _check_keys(keys: Sequence[_Value]) -> None:
    for key in keys:
        if key.size > 1 or key.grows:
            raise PickleError("its pickle has keys that are no texts or numbers")


def _called(function: _Value, arguments: _Value) -> _Value:
    """Return the value of a function that rebuilds one."""
    name, atoms = function.atom, [part.atom for part in arguments.parts]
    if not isinstance(name, _Function):
        raise ForeignObjectError("a call of what is no function")
    is_sound = (
        name in _REBUILD
        or (name in _EMPTY and not arguments.parts)
        or (name == _COUNTER and len(atoms) == 1 and atoms[0] is dict)
        or (name == _ENCODE and len(atoms) == 2 and atoms[1] == "latin1")
        or (name == _DTYPE and len(atoms) == 3 and atoms[0] in ("f4", "f8", "i4", "i8"))
    )
    if not is_sound:
        raise ForeignObjectError(f"a call of {name.replace(' ', '.')[:100]} with other arguments")

    value = _holding([function, arguments])
    value.parts = ()
    value.grows = True  # BUILD may follow
    return value
