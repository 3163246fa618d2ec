"""benchmarks/speed.py, run as its user runs it, and what its numbers rest on. No test looks at how long anything takes."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision

from benchmarks.speedkit import inference, measuring, settings, training
from benchmarks.speedkit.measuring import Effort, interleaved, precisions, speedup
from benchmarks.speedkit.memory import held_at_most, peak
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import Case, Restorer, TorchvisionDeformConv2d, network, noise, save_untrained, useful_flops
from benchmarks.speedkit.shares import DEFORMABLE, WHOLE, Stopwatch, parts_of
from benchmarks.speedkit.tables import markdown, written
from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM, DeformConv2d
from tests.helpers import ROOT, assert_one_error, run_script, squeezed
from tests.scripts.test_every_script import documented_fields
from thiefcloud import ThiefCloud

SPEED = ROOT / "benchmarks" / "speed.py"
TINY = ["--quick", "--sizes", 16, "--crop", 16, "--device", "cpu", "--no-memory"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def few_repetitions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Effort, "of", classmethod(lambda cls, device, *, quick: cls(seconds=0, least=2, shortest=1e-6)))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("weights") / "untrained.pt")


@pytest.fixture(scope="module")
def results(few_repetitions: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of a run on a CPU that computes in bf16, or pretends to."""
    out = tmp_path_factory.mktemp("results") / "new" / "speed.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
        assert run_script(SPEED, *TINY, "--seconds", 0.01, "--out", out) == 0
    text = out.read_text(encoding="utf-8")
    assert str(out.parent.parent) not in text
    assert str(ROOT) not in text
    return json.loads(text)


def test_every_section_is_there(results: dict[str, Any]) -> None:
    assert list(results) == ["machine", "quick", "ceilings", "inference", "training", "shares"]
    assert results["machine"]["torch"] == torch.__version__
    assert results["machine"]["cpu"]
    assert [row["what"].split(",")[0] for row in results["ceilings"]] == 2 * [
        "matrix product",
        *["3x3 convolution"] * 3,
        "copy",
    ]
    assert [(row["precision"], row["size"], row["batch"]) for row in results["inference"]] == [("fp32", 16, 1), ("bf16", 16, 1)]
    assert [row["scpm"] for row in results["training"]] == ["frozen", "tunable", "both"]
    assert len(results["shares"]) == 2 * (len(parts_of(ThiefCloud(SCPM()))) + 2)


def test_both_settings_restore_the_same(results: dict[str, Any]) -> None:
    fp32, bf16 = results["inference"]
    assert 0 < fp32["max_difference"] < 1e-4  # two ways to compute it, so not equal to the last bit
    assert fp32["psnr_db"] > 80
    assert "psnr_to_fp32_db" not in fp32
    assert 20 < bf16["psnr_to_fp32_db"] < 80


def test_rates_fit_together(results: dict[str, Any]) -> None:
    best = max(row["gflops"] for row in results["ceilings"] if row["precision"] == "fp32" and "channels" in row)
    row = results["inference"][0]
    gflop = useful_flops(ThiefCloud(SCPM()), 16) / 1e9
    for setting in ("default", "naive"):
        assert row[f"{setting}_gflops"] == pytest.approx(gflop * row[f"{setting}_images_per_s"])
        assert row[f"{setting}_share_of_ceiling"] == pytest.approx(row[f"{setting}_gflops"] / best)
    frozen, tunable, both = results["training"]
    for phase in (frozen, tunable):
        assert phase["speedup"] > 0
        assert phase["schedule_hours"] == pytest.approx(400 * 200 / phase["sustained_images_per_s"] / 3600)
    assert both["schedule_hours"] == pytest.approx(frozen["schedule_hours"] + tunable["schedule_hours"])


def test_shares_are_of_the_whole(results: dict[str, Any]) -> None:
    rows = {row["part"]: row for row in results["shares"] if row["precision"] == "fp32"}
    assert rows[WHOLE]["default_share"] == 1
    for setting in ("default", "naive"):
        assert all(row[f"{setting}_ms"] > 0 for row in rows.values())
        shares = [row[f"{setting}_share"] for part, row in rows.items() if part != WHOLE]
        assert sum(shares) == pytest.approx(1, abs=0.5)  # medians of each part over few runs
    assert rows[DEFORMABLE]["default_ms"] < rows[WHOLE]["default_ms"]


def test_the_parts_of_a_run_add_up_to_the_whole(weights: Path) -> None:
    watch = Stopwatch(Restorer.of("default", "fp32", weights, CPU))
    watch.restore(noise(1, 16))
    parts = watch.medians()
    whole = parts.pop(WHOLE)
    assert sum(parts.values()) == pytest.approx(whole)


def test_every_weight_belongs_to_one_part() -> None:
    model = ThiefCloud(SCPM())
    parts = {part: list(modules) for part, modules in parts_of(model).items() if part != DEFORMABLE}
    found = [weight for modules in parts.values() for module in modules for weight in module.parameters()]
    assert len(found) == len(set(found)) == len(list(model.parameters()))


def test_without_ceilings_and_seconds_there_is_no_share_and_no_schedule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speed.json"
    assert run_script(SPEED, *TINY, "--parts", "inference", "training", "--out", out) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert "ceilings" not in found
    assert found["inference"][0]["default_share_of_ceiling"] is None
    assert [row["scpm"] for row in found["training"]] == ["frozen", "tunable"]
    assert "schedule_hours" not in found["training"][0]
    shown = capsys.readouterr().out
    assert "### Restoring\n\n| precision | size | batch | default : naive | default images/s |" in shown
    assert "### Ceilings" not in shown


def test_the_naive_setting_is_naive(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(features: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        calls.append(tuple(features.shape))
        return torchvision.ops.deform_conv2d(features, *arguments, **named)

    monkeypatch.setattr(settings, "deform_conv2d", counted)
    naive, default = (Restorer.of(setting, "fp32", weights, CPU) for setting in measuring.SETTINGS)
    assert not any(type(module) is DeformConv2d for module in naive.model.modules())
    assert not any(isinstance(module, TorchvisionDeformConv2d) for module in default.model.modules())
    heads: list[object] = []
    for level in (naive.model.level_half, naive.model.level_quarter):
        level.head.register_forward_hook(lambda *_: heads.append(1))
    images = 0.2 + 0.6 * torch.rand(2, 3, 16, 24)
    restored = naive.restore(images)
    assert len(calls) == 4
    assert len(heads) == 2
    torch.testing.assert_close(restored, default.restore(images), atol=1e-4, rtol=0)
    assert len(calls) == 4
    assert restored.min() == 0  # clamped, as users get it
    torch.testing.assert_close(naive.restore(images, raw=True), default.restore(images, raw=True), atol=1e-4, rtol=0)
    assert default.restore(images, raw=True).min() < 0
    before = network("default", weights).state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in naive.model.state_dict().items())


@pytest.mark.parametrize("task", ["frozen", "tunable"])
@pytest.mark.parametrize("setting", measuring.SETTINGS)
def test_training_steps_change_what_they_should(
    setting: measuring.Setting, task: settings.Task, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ThiefCloud] = []

    def noted(*given: Any) -> ThiefCloud:
        made.append(network(*given))
        return made[-1]

    monkeypatch.setattr(settings, "network", noted)
    Case(setting, task, "fp32", 8, 2, "cpu", weights).call()()
    (model,) = made
    before = network(setting, weights).state_dict()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert "shallow.weight" in changed
    assert ("prior.encoder_full.0.weight" in changed) == (task == "tunable")


def test_memory_is_that_of_a_process_of_its_own(weights: Path) -> None:
    ballast = torch.ones(200 * 2**20)  # which a copy of this process would hold too
    held = held_at_most(CPU)
    del ballast
    found = peak(Case("naive", "frozen", "fp32", 16, 1, "cpu", weights))
    assert found is not None
    assert found.seconds > 0
    if held is not None:
        assert found.memory is not None
        assert found.before is not None
        assert 50 < found.before < found.memory < held - 400


def test_too_little_memory_is_no_end(weights: Path) -> None:
    assert peak(Case("default", "restore", "fp32", 2**22, 1, "cpu", weights)) is None


def test_one_large_image(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    assert run_script(SPEED, "--quick", "--parts", "large", "--out", out) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["large"]
    assert [(row["setting"], row["size"]) for row in rows] == [("default", 256), ("naive", 256)]
    for row in rows:
        assert row["seconds"] > 0
        assert row["peak_mb"] is None or row["peak_mb"] > row["before_mb"] > 50


def test_the_batch_that_fills_a_device_is_the_last_that_gains(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([s for s in (1.0, 1.2, 1.5, 2.99) for _ in range(3)])  # of batches of 1, 2, 4 and 8
    monkeypatch.setattr(inference, "seconds_of", lambda *_: next(seconds))
    assert inference.filling_batch(Case("default", "restore", "fp32", 8, 1, "cpu", weights)) == 4

    def full(*_: object) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(inference, "seconds_of", full)
    assert inference.filling_batch(Case("default", "restore", "fp32", 8, 1, "cpu", weights)) == 1


def test_each_image_of_a_batch_counts(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("default", "restore", "fp32", 16, 2, "cpu", weights)
    row = inference.compare(case, SpeedOptions(memory=False), None)
    gflop = useful_flops(network("default", weights), 16) / 1e9
    assert row["naive_gflops"] == pytest.approx(gflop * row["naive_images_per_s"])
    clock = iter(range(100))  # read once before the first step, then once before each

    def half_a_second(_: Case) -> Callable[[int], None]:
        return lambda steps: None

    monkeypatch.setattr(training, "trainer", half_a_second)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 2))
    assert training.sustained(case, 5) == pytest.approx(2 * 9 / 5)  # nine steps of two images, and a reading at the start


def test_useful_work_is_that_of_the_restored_image_alone(weights: Path) -> None:
    """18.20 billion multiplications and additions at 256x256, counted by hand from the widths."""
    assert useful_flops(network("default", weights), 256) == pytest.approx(2 * 18.20e9, rel=1e-3)
    assert useful_flops(network("default", weights), 512) == pytest.approx(8 * 18.20e9, rel=1e-3)


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    readings = interleaved(calls, CPU, Effort(seconds=0, least=3, shortest=1e-9))
    assert order[-6:] == ["a", "b"] * 3
    assert {name: len(seconds) for name, seconds in readings.items()} == {"a": 3, "b": 3}
    assert len(interleaved(calls, CPU, Effort(seconds=60, least=1, most=2, shortest=1e-9))["a"]) == 2


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
    for able, expected in (({"amx_bf16": True}, ["fp32", "bf16"]), ({"avx512_bf16": False, "avx2": True}, ["fp32"])):
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
        "| precision | default : naive | default images/s |",
        "| --- | ---: | ---: |",
        "| fp32 | 1.23 x | 12,346 |",
        "| bf16 | - | - |",
    ]
    assert [written(value, "number") for value in (0.1234, 12.34, 123.4)] == ["0.12", "12.3", "123"]
    assert written(0.456, "percent") == "46 %"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "20"], "--sizes is 20, expected positive multiples of 8."),
        (["--crop", "20"], "--crop is 20, expected a multiple of 8, for example 16."),
        (["--crop", "8"], "--crop is 8, expected 16 or more"),
        (["--seconds", "-1"], "--seconds is -1.0, expected 0 or more."),
        (["--out", "speed.txt"], "--out is speed.txt, expected a file whose name ends in .json."),
        (["--parts"], "--parts names no section"),
        (["--parts", "everything"], "everything"),
    ],
)
def test_contradictions_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(SPEED, *arguments) == 2
    shown = capsys.readouterr()
    assert message in squeezed(shown.err + shown.out)
    assert "Traceback" not in shown.err


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    official, other = tmp_path / "official.pt", tmp_path / "scpm.pt"
    model, prior = ThiefCloud(SCPM(sampling="official")), SCPM()
    save_checkpoint(official, "thiefcloud", model.config, {"model": model.state_dict()})
    save_checkpoint(other, "scpm", prior.config, {"model": prior.state_dict()})
    for arguments, part in (
        (["--device", "nonsense"], "the device 'nonsense' cannot be used here"),
        (["--checkpoint", tmp_path / "absent.pt"], "there are no weights"),
        (["--checkpoint", official], "official.pt is no checkpoint of ours with sampling=standard"),
        (["--checkpoint", other], "scpm.pt holds the network 'scpm', expected 'thiefcloud'"),
    ):
        assert run_script(SPEED, "--device", "cpu", *arguments) == 2
        assert_one_error(capsys.readouterr().err, part)


def test_help_shows_each_option_and_the_manual_has_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(SPEED, "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    fields = dict(documented_fields(SpeedOptions))
    for name, text in fields.items():
        assert f"--{name}" in shown
        assert text[:25] in shown
    manual = ast.get_docstring(ast.parse(SPEED.read_text(encoding="utf-8"))) or ""
    commands = [line.split("#")[0].split() for line in manual.splitlines() if line.startswith("    python")]
    assert len(commands) > 3
    for command in commands:
        assert command[1] == "benchmarks/speed.py"
        assert {word for word in command if word.startswith("--")} <= {f"--{name}" for name in fields}
