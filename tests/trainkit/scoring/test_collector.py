import numpy as np
import pytest
import torch
import torch.distributed as dist

from cloudkit.errors import UserError
from cloudkit.processes import Processes
from tests.helpers import noise
from trainkit.data.scenes import Scene
from trainkit.scoring.collector import Collector
from trainkit.scoring.results import summarise


def scene(name: str, seed: int = 0, size: int = 16) -> Scene:
    cloudy, clear = (noise(number, height=size, width=size) for number in (seed, seed + 1))
    return Scene(name, cloudy, clear)


def test_the_network_s_raw_output_reaches_protocols_that_do_not_clamp() -> None:
    collector = Collector(["geocr"])
    row = collector.add(scene("a"), 1.5 * torch.ones(3, 16, 16))
    clear = scene("a").truth.double().numpy()
    for protocol, value in (("geocr", 1.5), ("plain", 1)):
        expected = -10 * np.log10(np.mean((value - clear) ** 2))
        assert row.restored[protocol]["psnr"] == pytest.approx(expected)
    assert collector.protocols == ["plain", "geocr"]


def test_optional_metrics_stand_with_plain_and_get_clamped_values() -> None:
    row = Collector(metrics=["mae"]).add(scene("a"), 1.5 * torch.ones(3, 16, 16))
    assert row.restored["plain"]["mae"] == pytest.approx(float((1 - scene("a").truth).mean()))
    assert list(row.restored) == ["plain"]


def test_all_protocols_but_those_that_cannot_score_an_image() -> None:
    collector = Collector(None)
    collector.add(scene("large", size=140), noise(3, height=140, width=140))
    assert len(collector.protocols) == 8

    row = collector.add(scene("small"), noise(3))
    assert "rsdformer" not in collector.protocols
    assert "rsdformer" not in row.restored
    reason = collector.left_out["rsdformer"]
    assert reason.startswith("small: the protocol rsdformer cannot score 16x16")

    summaries = summarise(collector.rows, collector.protocols)
    assert "rsdformer" not in [summary["protocol"] for summary in summaries]

    with pytest.raises(UserError, match="small cannot be scored: the protocol rsdformer"):
        Collector(["rsdformer"]).add(scene("small"), noise(3))
    with pytest.raises(UserError, match=r"a cannot be scored: .* 9x9"):
        Collector(None).add(scene("a", size=9), noise(3, height=9, width=9))


@pytest.mark.parametrize("small", [0, 1, 2])
def test_two_processes_gather_the_scores_of_one(
    monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    scenes = [scene(f"{n}", n, size=16 if n in (small, 3) else 140) for n in range(5)]
    alone, *parts = (Collector(None, ["mae"]) for _ in range(3))
    for number, each in enumerate(scenes):
        for collector in (alone, parts[number % 2]):
            collector.add(each, each.truth)

    rows = [list(part.rows) for part in parts]
    monkeypatch.setattr(
        dist, "all_gather_object", lambda gathered, mine: gathered.__setitem__(slice(None), rows)
    )
    for rank, part in enumerate(parts):
        part.gather(Processes(rank, 2, torch.device("cpu")))
        assert part.protocols == alone.protocols
        assert [row.name for row in part.rows] == [row.name for row in alone.rows]
        assert list(part.left_out.items()) == list(alone.left_out.items())
        assert part.images == alone.images
        assert summarise(part.rows, part.protocols) == summarise(alone.rows, alone.protocols)

    assert list(alone.left_out) == ["rsdformer"]
    assert alone.left_out["rsdformer"].startswith(f"{small}: ")


def test_the_digest_knows_the_images_not_their_order_or_what_was_restored() -> None:
    def digest(*scenes: Scene, restored: int = 5) -> str:
        collector = Collector()
        for each in scenes:
            collector.add(each, noise(restored))
        return collector.images

    one = digest(scene("a"), scene("b", 7))
    assert digest(scene("b", 7), scene("a"), restored=9) == one
    assert digest(scene("a"), scene("b", 8)) != one
    assert digest(scene("a"), scene("c", 7)) != one
    assert digest(scene("a")) != one
