import errno

import pytest
import torch

from cloudkit.errors import UserError
from cloudkit.processes import Processes
from cloudkit.script.each_image import LeftOut, attempt, for_each_image, refuse_left_out

ALONE = Processes(0, 1, torch.device("cpu"))


def fail(error: BaseException, cause: BaseException | None = None) -> None:
    raise error from cause


def test_results_keep_their_order_around_what_is_left_out() -> None:
    def half(number: int) -> float:
        if number % 2:
            raise UserError(f"{number} is odd.")
        return number / 2

    outcomes = for_each_image(range(5), half, ALONE, title="halving")
    assert outcomes == [0, LeftOut("1 is odd."), 1, LeftOut("3 is odd."), 2]
    with pytest.raises(UserError, match=r"no mean, because of:\n  1 is odd.\n  3 is odd.$"):
        refuse_left_out(outcomes, title="no mean, because of")
    refuse_left_out(outcomes[::2])


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError("1 GB"), None),
        (UserError("it may be damaged"), MemoryError("1 GB")),
        (OSError(errno.ENOMEM, "1 GB"), None),
        (RuntimeError("CUDA out of memory: 1 GB"), None),
        (RuntimeError("MPS backend out of memory (1 GB)"), None),
        (RuntimeError("std::bad_alloc for 1 GB"), None),
    ],
)
def test_errors_of_memory(error: Exception, cause: Exception | None) -> None:
    found = attempt(lambda: fail(error, cause), "a.png")
    assert isinstance(found, LeftOut)
    assert found.reason.startswith("a.png needs more memory than there is (")
    assert "1 GB" in found.reason
    assert "damaged" not in found.reason


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        OSError(errno.EROFS, "read-only"),
        RuntimeError("wrong dtype"),
        NotImplementedError("no such kernel"),
        KeyboardInterrupt(),
        KeyError("x"),
        ValueError("a mistake of ours"),
    ],
)
def test_other_errors_end_all(error: BaseException) -> None:
    with pytest.raises(type(error)):
        attempt(lambda: fail(error), "a.png")


def test_errors_of_one_file() -> None:
    too_long = OSError(errno.ENAMETOOLONG, "File name too long", "a.png")
    assert "too long" in str(attempt(lambda: fail(too_long), "a.png"))
