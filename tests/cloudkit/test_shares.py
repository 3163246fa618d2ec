"""Parts of the work for several machines, and the rights of those that write at the same time."""

import itertools
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudkit import shares
from cloudkit.errors import UserError
from cloudkit.folders import FolderInUseError, FolderLock, writing_to
from cloudkit.shares import Share, share_of_task, writing_share

HOLD = """
import sys, time
from pathlib import Path
from cloudkit.shares import Share, writing_share
with writing_share(Path(sys.argv[1]), Share.parse(sys.argv[2])):
    (Path(sys.argv[1]) / f".{sys.argv[2][0]}.part-x.png").touch()
    print("locked", flush=True)
    time.sleep(float(sys.argv[3]))
"""
NAMES = [f"region {number % 7}/scene_{number}.tif" for number in range(3000)]


def held(folder: Path, share: str, seconds: float = 60) -> subprocess.Popen[bytes]:
    """Start a process that writes a share, and wait until it has the right."""
    command = [sys.executable, "-c", HOLD, str(folder), share, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 0.0)


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_each_name_is_in_one_part_and_parts_are_of_like_size(count: int) -> None:
    parts = [Share(number + 1, count).of(NAMES, str) for number in range(count)]
    assert sorted(itertools.chain(*parts)) == sorted(NAMES)
    expected = len(NAMES) / count
    for part in parts:
        assert abs(len(part) - expected) < 5 * expected**0.5 + 1


def test_a_part_depends_on_the_name_alone() -> None:
    """These answers hold for all machines and versions: a resumed job array rests on them."""
    given = ["a.png", "b.png", "deep/a.png", "é.tif"]
    assert Share(1, 3).of(given, str) == ["b.png", "deep/a.png"]
    assert Share(2, 3).of(given, str) == ["é.tif"]
    assert Share(3, 3).of(given, str) == ["a.png"]
    shuffled = random.Random(0).sample(NAMES, 50)
    assert set(Share(2, 5).of(shuffled, str)) == set(Share(2, 5).of(NAMES, str)) & set(shuffled)
    assert Share(1, 3).takes("e\u0301.tif") == Share(1, 3).takes("\u00e9.tif")
    assert Share(1, 3).takes(Path("deep/a.png")) == Share(1, 3).takes("deep/a.png")
    Share(1, 3).takes("\udcff.tif")  # no text in UTF-8, as a file on Linux may be named


@pytest.mark.parametrize("text", ["1/4", " 4 / 4 ", "01/1"])
def test_text(text: str) -> None:
    assert str(Share.parse(text)) == text.replace(" ", "").replace("01", "1")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "0/0"])
def test_parts_that_do_not_exist(text: str) -> None:
    with pytest.raises(ValueError, match=rf"the share {text} does not exist.* is 1/"):
        Share.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/4", "-1/4", "1/4/2", "1.0/4", "a/b", "٣/٤", "1:4"]
)
def test_text_of_another_form(text: str) -> None:
    with pytest.raises(ValueError, match="expected I/N"):
        Share.parse(text)


def slurm(number: object, count: object, **others: object) -> dict[str, str]:
    values = {"ID": number, "COUNT": count} | {
        name.upper(): value for name, value in others.items()
    }
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


AWS = {"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "3"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (slurm(0, 4, min=0, max=3, step=1), "1/4"),
        (slurm(4, 4, min=1, max=4, step=1), "4/4"),
        (slurm(106, 3, min=100, max=106, step=3), "3/3"),
        (slurm(106, 3, min=100, step=3), "3/3"),
        (slurm(5, 1, min=5, max=5, step=1), "1/1"),
        (slurm(5, 1, min=5, max=5, step=0), "1/1"),
        (slurm(1, 2), "2/2"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, None),
        ({"SLURM_ARRAY_TASK_COUNT": "3"}, None),
        (AWS, "3/3"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "2"}, None),
        (AWS | {"AWS_BATCH_JOB_ARRAY_SIZE": ""}, None),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "2"}, "1/2"),
        ({"JOB_COMPLETION_INDEX": "0"}, None),
        (AWS | {"RANK": "0", "WORLD_SIZE": "2"}, None),
        (slurm(0, 4, min=0, max=3, step=1) | {"RANK": "1"}, None),
    ],
)
def test_tasks_of_job_arrays(environment: dict[str, str], expected: str | None) -> None:
    share = share_of_task(environment)
    assert (None if share is None else str(share)) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (slurm(7, 3, min=1, max=7, step=1), "3 tasks .* 1 to 7 in steps of 1, leave gaps"),
        (slurm(4, 3, min=1, max=7, step=2), "3 tasks .* leave gaps"),
        (slurm(2, 4, min=1, max=7, step=2), "leave gaps"),
        (slurm("x", 4), "SLURM_ARRAY_TASK_ID of Slurm is 'x', expected a whole number"),
        (AWS | {"AWS_BATCH_JOB_ARRAY_INDEX": "3"}, "AWS Batch calls this task number 3 .* of 3"),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "0"}, "Kubernetes calls this task"),
        (slurm(0, 3, min=1, max=3, step=1), "Slurm calls this task number -1"),
    ],
)
def test_variables_that_contradict_each_other(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=f"{message}.*--share I/N"):
        share_of_task(environment)


def test_parts_are_written_at_the_same_time(tmp_path: Path) -> None:
    first = held(tmp_path, "1/3")
    with writing_share(tmp_path, Share(2, 3)):
        # What the other is writing stays, though this part began later.
        assert names(tmp_path) == [
            ".1.part-x.png",
            ".share-1-of-3.json",
            ".share-1-of-3.lock",
            ".share-2-of-3.json",
            ".share-2-of-3.lock",
        ]
        for share in (Share(1, 3), Share(2, 3), Share(1, 4), None):
            with pytest.raises(FolderInUseError, match="in use by"), writing_share(tmp_path, share):
                pass
    first.send_signal(signal.SIGKILL)
    first.wait()

    # The next to begin alone takes over the lock of the killed one, with its unfinished files.
    with writing_share(tmp_path, Share(1, 3)):
        assert names(tmp_path) == [".share-1-of-3.json", ".share-1-of-3.lock"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("share", [None, Share(1, 4)], ids=str)
def test_other_work_removes_what_killed_parts_left(tmp_path: Path, share: Share | None) -> None:
    process = held(tmp_path, "1/3")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ".share-1-of-3.lock" in names(tmp_path)
    with writing_share(tmp_path, share):
        assert ".share-1-of-3.lock" not in names(tmp_path)
    with writing_share(tmp_path, share):
        pass
    assert names(tmp_path) == []


def test_all_of_the_work_excludes_parts(tmp_path: Path) -> None:
    with writing_to(tmp_path):
        for share in (None, Share(1, 2)):
            with pytest.raises(FolderInUseError, match="in use by"), writing_share(tmp_path, share):
                pass
    with writing_share(tmp_path, Share(1, 2)):
        with writing_to(tmp_path, purpose="other"):
            pass
        with pytest.raises(FolderInUseError), writing_to(tmp_path):
            pass
    assert names(tmp_path) == []


def test_tasks_that_begin_together_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 30.0)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    tasks = []
    for number in range(1, 4):
        tasks.append(subprocess.Popen([*command, f"{number}/3", "0.3"], stdout=subprocess.DEVNULL))
    assert [task.wait() for task in tasks] == [0] * 3
    assert [name for name in names(tmp_path) if "part-x" not in name] == []


def test_a_lock_that_is_left_by_an_error(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, "share-1-of-9")
    lock.acquire()
    with pytest.raises(FolderInUseError), writing_share(tmp_path, Share(1, 2)):
        pass
    lock.release()
    assert names(tmp_path) == []
