"""Values that a run cannot begin with are refused before it begins."""

import math
from collections.abc import Callable

import pytest

from cloudkit.script.checks import require_not_negative, require_positive, require_seed


@pytest.mark.parametrize("require", [require_positive, require_not_negative])
def test_infinity_is_refused_because_files_of_options_cannot_hold_it(
    require: Callable[..., None],
) -> None:
    require(max_gradient=1.0)
    with pytest.raises(ValueError, match="--max-gradient is inf, expected a finite number"):
        require(max_gradient=math.inf)


def test_seeds_are_those_that_pytorch_takes() -> None:
    require_seed(seed=2**63 - 1)
    with pytest.raises(ValueError, match=f"--seed is {2**63}, expected at most {2**63 - 1}"):
        require_seed(seed=2**63)
    with pytest.raises(ValueError, match="--seed is -1, expected 0 or more"):
        require_seed(seed=-1)
