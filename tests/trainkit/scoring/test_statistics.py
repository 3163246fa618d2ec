import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudkit.errors import UserError
from trainkit.scoring.statistics import Comparison, interval, paired, thirds


def ends(values: list[float]) -> tuple[float, float]:
    found = interval(values)
    assert found is not None
    return found


def test_as_resampled_by_numpy() -> None:
    """Another generator gives the same ends, up to the noise of 10,000 resamples."""
    generator = np.random.default_rng(5)
    sample = generator.gamma(2, size=40)
    means = sample[generator.integers(0, 40, (200_000, 40))].mean(axis=1)
    expected = np.percentile(means, [2.5, 97.5])
    assert ends(sample.tolist()) == pytest.approx(expected, abs=0.05 * (expected[1] - expected[0]))


def test_near_the_normal_interval_for_many_values() -> None:
    sample = np.random.default_rng(1).normal(30, 4, 400)
    half = 1.96 * sample.std(ddof=1) / math.sqrt(400)
    assert ends(sample.tolist()) == pytest.approx(
        (sample.mean() - half, sample.mean() + half), abs=0.1 * half
    )


def test_coverage_on_simulated_data() -> None:
    """The true mean lies inside 95 of 100 times; intervals of 30 values are a little short."""
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        low, high = ends(generator.normal(25, 3, 30).tolist())
        inside += low <= 25 <= high
    assert 0.88 <= inside / 200 <= 0.985


def test_the_same_in_every_run_and_order() -> None:
    values = np.random.default_rng(3).normal(size=57).tolist()
    expected = ends(values)
    np.random.default_rng().normal(size=5)
    shuffled = values.copy()
    random.Random(0).shuffle(shuffled)
    assert ends(values) == expected
    assert ends(shuffled) == expected
    assert ends([*values[:-1], values[-1] + 1]) != expected


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=12), st.integers(-40, 40))
def test_inside_the_values_and_moved_with_them(values: list[int], shift: int) -> None:
    low, high = ends([float(value) for value in values])
    assert min(values) <= low <= high <= max(values)
    assert ends([float(value + shift) for value in values]) == pytest.approx(
        (low + shift, high + shift), abs=1e-9
    )


def test_few_and_constant_values() -> None:
    assert interval([]) is None
    assert interval([3.0]) is None
    assert interval([1.0, 3.0]) == (1, 3)  # a quarter of the resamples draws either value twice
    assert interval([0.1] * 7) == (0.1, 0.1)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_infinite_values_are_rejected(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        interval([1.0, bad, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        interval([bad])


def test_paired_is_the_interval_of_the_differences() -> None:
    generator = np.random.default_rng(4)
    theirs = {str(n): float(value) for n, value in enumerate(generator.normal(28, 5, 50))}
    ours = {name: value + float(generator.normal(0.5, 0.4)) for name, value in theirs.items()}
    differences = [ours[name] - theirs[name] for name in theirs]
    found = paired(ours, theirs)
    assert found == (pytest.approx(np.mean(differences)), *ends(differences), 50)
    assert found.excludes_zero
    assert paired(theirs, ours).difference == pytest.approx(-found.difference)
    assert paired(theirs, ours).excludes_zero
    # the images vary much more than the methods: unpaired intervals would overlap
    assert ends(list(ours.values()))[0] < ends(list(theirs.values()))[1]
    assert paired(dict(reversed(ours.items())), theirs) == found


def test_paired_sees_no_difference_in_noise() -> None:
    generator = np.random.default_rng(6)
    ours, theirs = (
        {str(n): float(value) for n, value in enumerate(generator.normal(28, 1, 60))}
        for _ in range(2)
    )
    assert not paired(ours, theirs).excludes_zero

    equal = paired(ours, ours)
    assert equal == (0, 0, 0, 60)
    assert not equal.excludes_zero


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.2, True),
        (-0.2, -0.1, True),
        (-0.1, 0.1, False),
        (0.0, 0.1, False),
        (-0.1, 0.0, False),
        (None, None, False),
    ],
)
def test_excludes_zero(low: float | None, high: float | None, expected: bool) -> None:
    assert Comparison(0.1, low, high, 3).excludes_zero is expected


def test_paired_takes_the_common_names() -> None:
    ours = {"a": 3.0, "b": 5.0, "mine": 100.0, "inf": math.inf, "theirs inf": 1.0}
    theirs = {"b": 4.0, "a": 1.0, "other": -100.0, "inf": math.inf, "theirs inf": math.inf}
    assert paired(ours, theirs) == (1.5, 1.0, 2.0, 2)
    assert paired({"a": 3.0}, {"a": 1.0}) == (2.0, None, None, 1)


def test_paired_without_common_names() -> None:
    with pytest.raises(
        UserError, match=r"no image in common \(a1 and b7\), expected scores of the same images"
    ):
        paired({"a1": 1.0}, {"b7": 1.0})

    with pytest.raises(UserError, match=r"no image in common \(none and b7\)"):
        paired({}, {"b7": 1.0})
    with pytest.raises(
        UserError, match="each of the 2 common images has a value that is not finite"
    ):
        paired({"a": math.inf, "b": 1.0}, {"a": 1.0, "b": math.inf})


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ([], []),
        ([5.0], [0]),
        ([2.0, 1.0], [1, 0]),
        ([3.0, 1.0, 2.0], [2, 0, 1]),
        ([9.0, 1.0, 8.0, 2.0, 7.0, 3.0], [2, 0, 2, 0, 1, 1]),
        ([4.0, 3.0, 2.0, 1.0], [2, 1, 0, 0]),
        ([1.0, 1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1, 2]),
        ([math.inf, 20.0, 10.0], [2, 1, 0]),
    ],
)
def test_thirds(values: list[float], groups: list[int]) -> None:
    assert thirds(values) == groups


@given(st.lists(st.floats(allow_nan=False), max_size=40))
def test_thirds_are_even_and_ordered(values: list[float]) -> None:
    groups = thirds(values)
    sizes = [groups.count(group) for group in range(3)]
    assert sum(sizes) == len(values)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[2] <= 1

    for group in range(2):
        below = [value for value, g in zip(values, groups, strict=True) if g <= group]
        above = [value for value, g in zip(values, groups, strict=True) if g > group]
        assert not below or not above or max(below) <= min(above)


def test_thirds_need_numbers() -> None:
    with pytest.raises(ValueError, match="not a number"):
        thirds([1.0, math.nan])
