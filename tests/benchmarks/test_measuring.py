"""Timing and tables of the benchmark."""

from typing import Any

import pytest
import torch

from benchmarks.speedkit import inference
from benchmarks.speedkit.measuring import Effort, interleaved, precisions, speedup
from benchmarks.speedkit.tables import format_value, markdown

CPU = torch.device("cpu")


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    readings = interleaved(calls, CPU, Effort(seconds=0, least=3, shortest=1e-9))
    assert order[-6:] == ["a", "b"] * 3
    assert {name: len(seconds) for name, seconds in readings.items()} == {"a": 3, "b": 3}
    assert (
        len(interleaved(calls, CPU, Effort(seconds=60, least=1, most=2, shortest=1e-9))["a"]) == 2
    )


def test_what_is_quick_is_called_several_times_for_a_reading() -> None:
    order: list[int] = []
    interleaved({"": lambda: order.append(1)}, CPU, Effort(seconds=0, least=1, shortest=0.002))
    assert len(order) > 10


def test_the_ratio_is_of_neighbours() -> None:
    """The machine slows down by ten in the second round: the ratio of the medians would be 6.5."""
    assert speedup({"naive": [2.0, 30.0, 40.0], "default": [1.0, 10.0, 10.0]}) == 3


def test_images_are_compared_by_peak_1() -> None:
    largest, psnr = inference.difference(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1))
    assert (largest, psnr) == (pytest.approx(0.1), pytest.approx(20))
    assert inference.difference(torch.ones(2), torch.ones(2)) == (0, None)


def test_bf16_is_measured_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in (
        ({"amx_bf16": True}, ["fp32", "bf16"]),
        ({"avx512_bf16": False, "avx2": True}, ["fp32"]),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert precisions(CPU) == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert precisions(CPU) == ["fp32"]


def test_tables_are_markdown() -> None:
    rows: list[dict[str, Any]] = [
        {"precision": "fp32", "speedup": 1.234, "default_images_per_s": 12345.6},
        {"precision": "bf16", "speedup": None},
    ]
    assert markdown(rows).splitlines() == [
        "| precision   |   default : naive |   default images/s |",
        "|:------------|------------------:|-------------------:|",
        "| fp32        |            1.23 x |             12,346 |",
        "| bf16        |                 - |                  - |",
    ]
    assert [format_value(value, "3") for value in (0.1234, 12.34, 123.4)] == ["0.12", "12.3", "123"]
    assert format_value(0.456, "{:.0%}") == "46%"
