"""Damage to bytes, to zip archives, and to nested values."""

import io
import math
import random
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Bytes


def flip_bits(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def flip_bits_at_the_ends(content: bytes, dice: random.Random) -> bytes:
    """Change the head, or the tail where zip archives keep their directory."""
    changed = bytearray(content)
    reach = min(len(changed), 4000)
    for _ in range(dice.choice((1, 2, 4, 16))):
        place = dice.randrange(reach)
        place = place if dice.random() < 0.5 else len(changed) - 1 - place
        changed[place] = dice.randrange(256)
    return bytes(changed)


def cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def drop_a_piece(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    return content[:start] + content[start + dice.choice((1, 7, 512, 5000)) :]


def repeat_a_piece(content: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(content))
    return content[: start + 700] + content[start:]


def zero_a_piece(content: bytes, dice: random.Random) -> bytes:
    start, length = dice.randrange(len(content)), dice.choice((1, 16, 512, 20_000))
    return (content[:start] + bytes(length) + content[start + length :])[: len(content)]


def put_large_numbers(content: bytes, dice: random.Random) -> bytes:
    """Write lengths that claim too much, in the first bytes or anywhere."""
    start = dice.choice((0, 4, 8, dice.randrange(len(content)), dice.randrange(len(content))))
    number = dice.choice((2**63 - 1, 2**64 - 1, 2**32 - 1, 2**31, 2**40, 0))
    return content[:start] + number.to_bytes(8, "little") + content[start + 8 :]


def put_other_digits(content: bytes, dice: random.Random) -> bytes:
    """Change digits of the first kilobytes, which are those of a JSON header."""
    changed = bytearray(content)
    digits = [place for place in range(8, min(len(changed), 60_000)) if 48 <= changed[place] < 58]
    for _ in range(dice.choice((1, 3, 20))):
        if digits:
            changed[dice.choice(digits)] = dice.choice(b'0123456789-."[{')
    return bytes(changed)


BYTES: list[Callable[[bytes, random.Random], bytes]] = [
    flip_bits,
    flip_bits_at_the_ends,
    cut,
    drop_a_piece,
    repeat_a_piece,
    zero_a_piece,
    put_large_numbers,
    put_other_digits,
]

# Zip archives


def rewrite_zip(content: bytes, dice: random.Random) -> bytes:
    """Change records of an archive, with checksums that fit the change."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        entries = source.infolist()
        victim = dice.choice([entries[0], dice.choice(entries)])
        way = dice.choice(("damage", "damage", "remove", "rename", "compress", "twice", "longer"))
        for entry in entries:
            record, name = source.read(entry), entry.filename
            if entry is victim and way == "remove":
                continue
            if entry is victim and way == "damage" and record:
                record = dice.choice(BYTES)(record, dice)
            if entry is victim and way == "longer":
                record += bytes(1000)
            if entry is victim and way == "rename":
                name = dice.choice((name.upper(), "../" + name, name + "x", "other/" + name))
            packed = zipfile.ZIP_DEFLATED if way == "compress" else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), record, packed)
            if entry is victim and way == "twice":
                archive.writestr(zipfile.ZipInfo(name.upper()), record)
    return target.getvalue()


# Nested values


def deep(depth: int, *, as_list: bool = False) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


def odd_value(dice: random.Random) -> object:
    """Return a value that does not belong into a file of weights."""
    values: list[object] = [
        None, True, "", "x" * 5000, -1, 0, 2**40, 2**200, -0.5, math.nan, math.inf, 1e300, [], {},
        (), [1, "a", None], {1: 2}, {"module": 3}, {None: 1}, (("a",), 1), torch.Size([3, 2**40]),
        torch.float64, deep(50), deep(50, as_list=True), {f"k{n}": n for n in range(300)},
    ]  # fmt: skip
    return dice.choice(values) if dice.random() < 0.6 else odd_tensor(torch.zeros(2, 3), dice)


def odd_tensor(tensor: Tensor, dice: random.Random) -> object:
    """Return a tensor with other values, of another type or of another shape."""
    changed = tensor.detach().clone()
    if changed.numel():
        place = dice.randrange(changed.numel())
        value = dice.choice((math.nan, math.inf, -math.inf, -1.0, 3e38, 1e30))
        if not changed.is_floating_point():
            value = dice.choice((-1, 2**40, 7))
        changed.view(-1)[place] = value

    ways: list[Callable[[], object]] = [
        lambda: changed,
        lambda: changed,
        lambda: tensor.double() / 3,
        lambda: tensor.double(),
        lambda: tensor.to(torch.bfloat16),
        lambda: tensor.long(),
        lambda: tensor.bool(),
        lambda: tensor.to(torch.complex64),
        lambda: tensor.to_sparse(),
        lambda: tensor.flatten()[:-1],
        lambda: tensor[None],
        lambda: torch.zeros(1).expand(2**20, 2**20),
        lambda: torch.zeros(()).expand(tensor.shape),
        lambda: torch.zeros(tensor.shape, device="meta"),
        lambda: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor,
        lambda: tensor.tolist(),
        lambda: torch.zeros(0),
    ]
    return dice.choice(ways)()


def change_value(content: dict[Any, Any], dice: random.Random) -> None:
    """Replace, remove or add one value somewhere in nested dicts and lists, in place."""
    holder: Any = content
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            break
        key = dice.choice(keys)
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.25:
            break
        holder = inner

    way = dice.choice(("replace", "replace", "replace", "remove", "add", "rename", "nest"))
    if way == "add" or not keys:
        name = dice.choice((7, None, "more", "x" * 3000, -1.5, "module", "_orig_mod.x"))
        if isinstance(holder, dict):
            holder[name] = odd_value(dice)
        else:
            holder.append(odd_value(dice))
    elif way == "remove":
        del holder[key]
    elif way == "rename" and isinstance(holder, dict):
        holder[dice.choice((3, "other", f"module.{key}"))] = holder.pop(key)
    elif way == "nest":
        holder[key] = {"inner": holder[key]}
    elif isinstance(holder[key], Tensor) and dice.random() < 0.8:
        holder[key] = odd_tensor(holder[key], dice)
    else:
        holder[key] = odd_value(dice)
