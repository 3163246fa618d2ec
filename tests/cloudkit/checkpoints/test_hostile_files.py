"""Files that were made to do harm, or that claim more than they have, are refused at once."""

import io
import json
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import scpm
from cloudkit.checkpoints import CheckpointError, read_file, save_checkpoint, save_released
from scpm import SCPM

MARK, STOP = b"(", b"."


@pytest.fixture(autouse=True)
def quick_and_small() -> Iterator[None]:
    """Let no file take more than 8 seconds or 400 MB."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024


def archive_of(pickled: bytes, **records: bytes) -> bytes:
    """Return a PyTorch file with a pickle of one's own."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + pickled + STOP)
        archive.writestr("a/version", "3\n")
        archive.writestr("a/byteorder", "little")
        for key, record in records.items():
            archive.writestr(f"a/data/{key.removeprefix('n')}", record)
    return target.getvalue()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a" + struct.pack("<Bq", 8, value)


def storage(count: int, key: str = "0") -> bytes:
    names = text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    return MARK + names + number(count) + b"tQ"


def tensor(count: int, key: str = "0") -> bytes:
    shape, stride = number(count) + b"\x85", number(1) + b"\x85"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n"
        + MARK + storage(count, key) + number(0) + shape + stride
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def unfolding(steps: int) -> bytes:
    """Nest pairs of the same value, which unfold to 2^steps values."""
    body = b")"
    for _ in range(steps):
        body += b"q\0h\0\x86"
    return body


def growing_from_above(steps: int) -> bytes:
    """Nest lists that are filled only after others hold them."""
    body = b"".join(b"]" + b"q" + bytes([step]) for step in range(steps))
    body += b"]q\xff"
    for step in range(steps - 1):
        held = b"h" + bytes([step + 1])
        body += b"h" + bytes([step]) + held + b"a" + held + b"a"
    return body


PICKLES: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "a storage larger than its record": (b"}" + text("w") + tensor(2**40) + b"s", {"n0": bytes(8)}),
    "a storage without record": (b"}" + text("w") + tensor(2) + b"s", {}),
    "a negative storage": (b"}" + text("w") + tensor(-2) + b"s", {"n0": bytes(8)}),
    "a deep tuple as key": (b"}" + number(1) + b"\x85" * 300_000 + number(1) + b"s", {}),
    "a deep dict": (b"}" + text("a") + b"}" + b"".join([text("a") + b"}"] * 900) + b"s" * 901, {}),
    "a deep list": (b"}" + text("a") + b"]" * 200_000 + b"a" * 199_999 + b"s", {}),
    "pairs that unfold": (b"}" + text("a") + unfolding(45) + b"s", {}),
    "pairs that unfold as key": (b"}" + unfolding(45) + number(1) + b"s", {}),
    "lists that grow": (b"}" + text("a") + growing_from_above(40) + b"s", {}),
    "a value in itself": (b"}q\0" + text("a") + b"h\0s", {}),
    "ten gigabytes of zeros": (
        b"}" + text("a") + b"cbuiltins\nbytearray\n" + number(10**10) + b"\x85Rs", {},
    ),
    "a tensor by its size": (
        b"}" + text("a") + b"ctorch\nTensor\n" + number(10**10) + b"\x85Rs", {},
    ),
    "text doubled by a codec": (
        b"}" + text("a") + b"c_codecs\nencode\n" + text("aa") + text("hex") + b"\x86Rs", {},
    ),
    "a count of deep tuples": (
        b"}" + text("a") + b"ccollections\nCounter\n" + b"]" + b")" + b"\x85" * 50 + b"a\x85Rs", {},
    ),
    "many steps": (b"}" + b"Nq\0" * 1_200_000 + b"s", {}),
    "a call of the system": (b"}" + text("a") + b"cos\nsystem\n" + text("true") + b"\x85Rs", {}),
    "a call by name": (
        b"}" + text("a") + b"cbuiltins\neval\n" + text("exit()") + b"\x85Rs", {},
    ),
    "an object": (b"}" + text("a") + b"cpathlib\nPath\n)\x81s", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICKLES)
def test_a_harmful_pickle(kind: str, tmp_path: Path) -> None:
    pickled, records = PICKLES[kind]
    (tmp_path / "bad.pt").write_bytes(archive_of(pickled, **records))
    with pytest.raises(CheckpointError, match=r"bad\.pt cannot be read as a PyTorch checkpoint"):
        read_file(tmp_path / "bad.pt")


def test_the_pickles_here_are_of_pytorchs_form(tmp_path: Path) -> None:
    """Otherwise the tests above would pass for another reason."""
    sound = b"}" + text("w") + tensor(2) + b"s"
    (tmp_path / "good.pt").write_bytes(archive_of(sound, n0=struct.pack("<2f", 1, 2)))
    assert read_file(tmp_path / "good.pt")["w"].tolist() == [1, 2]
    shallow = b"}" + text("a") + unfolding(3) + b"s"
    (tmp_path / "good.pt").write_bytes(archive_of(shallow))
    assert read_file(tmp_path / "good.pt")["a"] == ((((),) * 2,) * 2,) * 2


def packed(count: int) -> bytes:
    """Six gigabytes of zeros in a small archive would take this form."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + text("w") + tensor(count // 4) + b"s.")
        with archive.open("a/data/0", "w") as record:
            for _ in range(count // 2**20):
                record.write(bytes(2**20))
    return target.getvalue()


def many_entries() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for index in range(25_000):
            archive.writestr(zipfile.ZipInfo(f"a/{index}"), b"")
        archive.writestr("a/data.pkl", b"\x80\x02}.")
    return target.getvalue()


def overlapping() -> bytes:
    """Let many entries of the directory name the same bytes."""
    content = archive_of(b"}", n0=bytes(200_000))
    start = content.rfind(b"PK\5\6")
    directory = struct.unpack_from("<I", content, start + 16)[0]
    last = content.rfind(b"PK\1\2", 0, start)
    copies = b"".join(
        content[last:start].replace(b"data/0", b"data/%d" % digit) for digit in range(1, 10)
    )
    end = bytearray(content[start:])
    struct.pack_into("<HH", end, 8, 13, 13)
    struct.pack_into("<I", end, 12, start - directory + len(copies))
    return content[:start] + copies + bytes(end)


def twice() -> bytes:
    target = io.BytesIO(archive_of(b"}"))
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("a/DATA.PKL", b"\x80\x02}.")
    return target.getvalue()


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (lambda: packed(256 * 2**20), r"it unpacks to \d+ bytes, but has \d+"),
    "many entries": (many_entries, r"it has \d+ entries, expected at most 20000"),
    "overlapping entries": (overlapping, r"it unpacks to \d+ bytes"),
    "two records of one name": (twice, "two records of one name"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_claims_too_much(kind: str, tmp_path: Path) -> None:
    make, reason = ARCHIVES[kind]
    (tmp_path / "bad.pt").write_bytes(make())
    with pytest.raises(CheckpointError, match=rf"bad\.pt cannot be read .*{reason}"):
        read_file(tmp_path / "bad.pt")


def test_a_flipped_bit_in_the_weights_shows(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"w": torch.full((1000,), 0.5)}, path)
    content = bytearray(path.read_bytes())
    content[content.find(struct.pack("<3f", 0.5, 0.5, 0.5)) + 402] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best\.pt cannot be read .*CRC"):
        read_file(path)


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "best.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_file(tmp_path / "best.pt")["w"].tolist() == [1, 1, 1]


def old_file(*pickles: bytes) -> bytes:
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    return head + b"".join(b"\x80\x02" + body + STOP for body in pickles)


@pytest.mark.parametrize(
    "pickles",
    [
        (b"}" + text("w") + tensor(2**40) + b"s", b"]" + text("0") + b"a"),
        (b"}X\xff\xff\xff\xff",),
        (b"}" + number(1) + b"\x85" * 300_000 + number(1) + b"s", b"]"),
        (b"}",),
    ],
    ids=["a large storage", "a long text", "a deep key", "a missing part"],
)
def test_files_of_the_older_format(pickles: tuple[bytes, ...], tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(old_file(*pickles))
    with pytest.raises(CheckpointError, match=r"bad\.pth cannot be read .* the older format"):
        read_file(tmp_path / "bad.pth")


def released(header: bytes, data: bytes = bytes(16), length: int | None = None) -> bytes:
    length = len(header) if length is None else length
    return struct.pack("<Q", length) + header + data


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HEADERS: dict[str, bytes] = {
    "length beyond the file": released(b"{}", length=2**40),
    "large length": released(b"{" + b" " * 2**10, length=2**62),
    "offsets beyond the file": released(json.dumps({"a": entry(0, 400, [100])}).encode()),
    "offsets that overlap": released(
        json.dumps({"a": entry(0, 16, [4]), "b": entry(8, 16, [2])}).encode()
    ),
    "offsets backwards": released(json.dumps({"a": entry(16, 0, [4])}).encode()),
    "a hole": released(json.dumps({"a": entry(8, 16, [2])}).encode()),
    "a large shape": released(json.dumps({"a": entry(0, 16, [2**62, 2**62])}).encode()),
    "an unknown type": released(json.dumps({"a": entry(0, 16, [4], "X9")}).encode()),
    "deep": released(b'{"a":' + b"[" * 100_000),
    "no JSON": released(b"{nonsense"),
    "a list as metadata": released(json.dumps({"__metadata__": [1]}).encode(), b""),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_of_safetensors_that_claims_too_much(kind: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(HEADERS[kind])
    with pytest.raises(CheckpointError, match=r"bad\.pt cannot be read as weights of ours"):
        read_file(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    "config",
    ["[" * 100_000, '{"a":' * 50_000, "{", "[1]", "null", '{"in_channels": 1' + "0" * 9000 + "}"],
    ids=["deep list", "deep dict", "no JSON", "a list", "null", "a long number"],
)
def test_descriptions_of_released_weights(config: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    model = SCPM()
    save_released(path, "scpm", model.config, model.state_dict(), {})
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["config"] = config
    path.write_bytes(released(json.dumps(header).encode(), content[8 + length :]))
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        scpm.load(path)


@pytest.mark.parametrize("bands", [2**30, 10**9, 2**70, 0, -3, "3", None, 3.0, [3], True, 4])
def test_a_network_larger_than_the_weights_is_never_built(bands: object, tmp_path: Path) -> None:
    config = {"in_channels": bands, "sampling": "standard"}
    weights = SCPM().state_dict()
    save_checkpoint(tmp_path / "bad.pt", "scpm", config, {"model": weights})
    with pytest.raises(CheckpointError, match=r"bad\.pt"):
        scpm.load(tmp_path / "bad.pt")
