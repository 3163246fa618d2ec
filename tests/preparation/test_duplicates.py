"""The matching of images: equal ones, and those of one place."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from preparation import duplicates
from preparation.duplicates import Match, digests, is_comparable, search, thumbnail
from tests.helpers import noise
from tests.preparation.scenes import cut, scene

SIZE = 128
WIDE = scene(1, 2 * SIZE, 2 * SIZE)
PLACE = cut(WIDE, 0, 0, SIZE)


def found(first: Tensor, second: Tensor) -> Match | None:
    """The match of two images, if there is one."""
    matches = search([thumbnail(first)], [thumbnail(second)])
    return matches[0] if matches else None


def recompressed(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()).save(
        file, "JPEG", quality=quality
    )
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


def test_the_digest_of_each_transform_is_that_of_the_transformed_image() -> None:
    image = (noise(height=5, width=5) * 255).byte()
    own = digests(image)
    assert len(set(own.values())) == len(own) == 8
    by_name = {
        "": image,
        "rotated by 90": image.rot90(1, (1, 2)),
        "rotated by 180": image.flip(1, 2),
        "flipped": image.flip(2),
        "flipped, rotated by 270": image.flip(2).rot90(3, (1, 2)),
    }
    for name, transformed in by_name.items():
        sums = digests(transformed)
        assert sums[""] == own[name]
        assert min(sums.values()) == min(own.values())


def test_digests_tell_shapes_and_types_apart() -> None:
    flat = torch.zeros(3, 2, 8, dtype=torch.uint8)
    alike = (
        flat,
        flat.reshape(3, 4, 4),
        flat.reshape(3, 2, 8)[:, :, ::2].contiguous().view(torch.uint16),
        flat + 1,
    )
    assert len({min(digests(image).values()) for image in alike}) == len(alike)
    assert digests(flat)[""] == digests(flat)["rotated by 180"]


@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.1, 0.25, 0.4, 0.48])
@pytest.mark.parametrize("direction", [(1, 1), (1, -1)])
def test_overlapping_crops_are_found_with_their_shift(
    fraction: float, direction: tuple[int, int]
) -> None:
    down, right = (round(fraction * SIZE * sign) for sign in direction)
    start = (SIZE // 2, SIZE // 2)
    one = cut(WIDE, *start, SIZE)
    match = found(one, cut(WIDE, start[0] + down, start[1] + right, SIZE))
    assert match
    assert match.correlation > 0.9
    assert (match.down, match.right) == pytest.approx((2 * down, 2 * right), abs=2)
    assert match.overlap == pytest.approx((1 - fraction) ** 2, abs=0.03)


@pytest.mark.parametrize(("fraction", "visible"), [(0.7, True), (0.85, False)])
def test_how_far_one_side_may_be_shifted(fraction: float, visible: bool) -> None:
    match = found(cut(WIDE, 0, 10, SIZE), cut(WIDE, round(fraction * SIZE), 10, SIZE))
    assert (match is not None) == visible


@pytest.mark.parametrize(
    "changed",
    [
        recompressed(PLACE, 40),
        0.5 * PLACE + 0.4,
        PLACE**1.8,
        (PLACE + 0.04 * torch.randn(PLACE.shape, generator=torch.Generator().manual_seed(0))).clamp(
            0, 1
        ),
        recompressed(cut(WIDE, 3, 2, SIZE) * 0.8, 75),
        F.interpolate(PLACE[None], (200, 200), mode="bilinear", antialias=True)[0],
        F.interpolate(PLACE[None], (97, 97), mode="bilinear", antialias=True)[0],
        PLACE[:, :90],
    ],
    ids=["JPEG", "brightness", "gamma", "noise", "shift and JPEG", "larger", "smaller", "cut"],
)
def test_small_changes_do_not_hide_a_place(changed: Tensor) -> None:
    match = found(PLACE, changed)
    assert match
    assert match.overlap > 0.9


def grain(seed: int, deviation: float = 0.01) -> Tensor:
    """The noise of a sensor."""
    return deviation * torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def shore(seed: int) -> Tensor:
    """Return sea and land with a straight edge between them, at a row that depends on the seed."""
    rows = torch.arange(SIZE)[None, :, None].expand(3, SIZE, SIZE)
    return (0.3 + 0.4 * (rows > 50 + seed)).float() + grain(seed, 0.002)


ramp = torch.linspace(0.2, 0.6, SIZE)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (scene(2, SIZE, SIZE), scene(3, SIZE, SIZE)),
        (noise(1, height=SIZE, width=SIZE), noise(2, height=SIZE, width=SIZE)),
        (0.3 + grain(1), 0.3 + grain(2)),
        (recompressed(0.3 + grain(1), 30), recompressed(0.3 + grain(2), 30)),
        (ramp.expand(3, SIZE, SIZE), 0.9 * ramp.expand(3, SIZE, SIZE)),
        (
            recompressed(ramp.expand(3, SIZE, SIZE) + grain(1, 0.002), 50),
            recompressed(ramp.expand(3, SIZE, SIZE) + grain(2, 0.002), 50),
        ),
        (torch.full((3, SIZE, SIZE), 0.3), torch.full((3, SIZE, SIZE), 0.3)),
        (shore(0), shore(9)),
    ],
    ids=[
        "scenes",
        "noise",
        "sea",
        "sea in JPEG",
        "gradients",
        "gradients in JPEG",
        "constant",
        "shores",
    ],
)
def test_what_is_unrelated_or_featureless_does_not_match(first: Tensor, second: Tensor) -> None:
    assert found(first, second) is None


def test_many_unrelated_scenes_do_not_match() -> None:
    thumbs = [thumbnail(scene(seed, 64, 64)) for seed in range(2, 26)]
    assert search(thumbs) == []


class Bar:
    """Progress bar that counts."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        self.count += count


def test_a_set_is_compared_with_itself_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever blocks, and with images of other sizes between."""
    bars: list[Bar] = []

    def progress_bar(*, total: int, **options: object) -> Bar:
        bars.append(Bar(total))
        return bars[-1]

    monkeypatch.setattr(duplicates, "progress_bar", progress_bar)
    images = [scene(5, SIZE, SIZE), PLACE, scene(6, SIZE, 100), cut(WIDE, 40, 0, SIZE), PLACE]
    thumbs = [thumbnail(image) for image in images]
    matches = search(thumbs)
    assert [(match.first, match.second) for match in matches] == [(1, 3), (1, 4), (3, 4)]
    monkeypatch.setattr(duplicates, "_BLOCK", 2)
    assert search(thumbs) == matches
    matches = search(thumbs[:2], thumbs[2:])
    assert [(match.first, match.second) for match in matches] == [(1, 1), (1, 2)]
    assert [(bar.total, bar.count) for bar in bars] == [(10, 10), (10, 10), (6, 6)]


def test_nothing_is_compared_with_nothing() -> None:
    assert search([]) == search([thumbnail(PLACE)]) == search([thumbnail(PLACE)], []) == []


def test_a_threshold_of_its_own() -> None:
    first, second = thumbnail(PLACE), thumbnail(recompressed(PLACE, 20))
    correlation_then = search([first], [second])[0].correlation
    assert search([first], [second], threshold=correlation_then + 0.001) == []


@pytest.mark.parametrize(
    ("height", "width", "room"),
    [(32, 32, True), (31, 200, False), (32, 256, True), (32, 257, False)],
)
def test_small_images_and_strips_have_no_room(height: int, width: int, room: bool) -> None:
    assert is_comparable(torch.zeros(3, height, width)) == room


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(512, 512, (256, 256)), (100, 50, (256, 128)), (33, 256, (32, 256))],
)
def test_thumbnails_keep_the_aspect(height: int, width: int, expected: tuple[int, int]) -> None:
    image = thumbnail(torch.full((3, height, width), 0.5))
    assert tuple(image.shape) == expected
    assert image.float().sub(0.5).abs().max() < 1e-3
