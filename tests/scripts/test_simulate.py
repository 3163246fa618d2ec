import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import scpm.data
import simulate
from cloudkit.errors import UserError
from cloudkit.imaging.images import read_image, read_unit, write_image
from cloudkit.script.command_line import parser, run_script
from scpm import CloudOptions, simulate_clouds
from simulate import SimulateOptions, main

SIZE = (20, 33)


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    """Two folders that hold an image of the same name, and a 16-bit TIFF."""
    folder = tmp_path / "clear"
    for name, bits in (("town/a1.png", 8), ("sea/a1.png", 8), ("b.tif", 16)):
        random = torch.Generator().manual_seed(len(name))
        write_image(folder / name, torch.rand(3, *SIZE, generator=random), bits=bits)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder by their relative path."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def read_triple(folder: Path, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Read a cloudy image, its thickness map and its clear image."""
    cloudy, clear = read_unit(folder / "cloudy" / name), read_unit(folder / "clear" / name)
    return cloudy, read_unit(folder / "thickness" / name, bands=1), clear


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_three_files_of_one_name_for_each_image(clear: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    main(SimulateOptions(clear=clear, out=out))
    for folder in ("cloudy", "thickness", "clear"):
        assert file_names(out / folder) == ["b.png", "sea_a1.png", "town_a1.png"]

    thickness = read_image(out / "thickness" / "b.png", bands=1)
    assert thickness.dtype == torch.uint16
    assert thickness.shape == (1, *SIZE)
    assert read_image(out / "cloudy" / "b.png").dtype == torch.uint8
    assert torch.equal(
        read_image(out / "clear" / "town_a1.png"), read_image(clear / "town" / "a1.png")
    )

    rounded, original = read_unit(out / "clear" / "b.png"), read_unit(clear / "b.tif")
    torch.testing.assert_close(rounded, original, rtol=0, atol=0.5 / 255 + 1e-6)

    saved = json.loads((out / "options.json").read_text())
    assert saved["clouds"]["opacity"] == list(CloudOptions().opacity)


def test_files_hold_a_cloud_and_its_thickness(clear: Path, tmp_path: Path) -> None:
    """The thickness of gray clouds of known colour follows from the cloudy and the clear file."""
    options = CloudOptions(
        angstrom=(0.0, 0.0),
        even_brightness=(1.0, 1.0),
        patchy_brightness=(1.0, 1.0),
        tint=0.0,
        blueness=(0.0, 0.0),
        opacity=(0.5, 0.9),
    )
    main(SimulateOptions(clear=clear, out=tmp_path / "out", clouds=options))

    for name in ("b.png", "sea_a1.png", "town_a1.png"):
        cloudy, thickness, ground = read_triple(tmp_path / "out", name)
        expected = ground * (1 - thickness) + thickness
        torch.testing.assert_close(cloudy, expected, rtol=0, atol=1.01 / 255)
        assert thickness.max() > 0.1


def test_copies_differ_and_seeds_repeat(clear: Path, tmp_path: Path) -> None:
    for out, seed in (("first", 1), ("second", 1), ("third", 2)):
        main(SimulateOptions(clear=clear, out=tmp_path / out, copies=2, seed=seed))
    first, second = files(tmp_path / "first"), files(tmp_path / "second")
    third = files(tmp_path / "third")

    pictures = [name for name in first if name.endswith(".png")]
    assert len(pictures) == 3 * 3 * 2
    for name in pictures:
        assert first[name] == second[name]

    maps = [name for name in pictures if name.startswith("thickness")]
    for name in maps:
        assert first[name] != third[name]
    assert len({first[name] for name in maps}) == len(maps)
    assert first["clear/b_1.png"] == first["clear/b_2.png"]


def test_a_full_folder_is_unchanged_without_overwrite(
    clear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--clear", str(clear), "--out", str(out)]
    parse = parser(SimulateOptions, simulate.__doc__)
    run_script(main, parse, [*arguments, "--copies", "2"])
    before = files(out)

    with pytest.raises(SystemExit):
        run_script(main, parse, arguments)
    assert "--overwrite" in capsys.readouterr().err
    assert files(out) == before

    (out / "notes.txt").write_text("mine")
    run_script(main, parse, [*arguments, "--overwrite"])
    assert (out / "notes.txt").read_text() == "mine"
    assert file_names(out / "cloudy") == ["b.png", "sea_a1.png", "town_a1.png"]


def test_overwrite_refuses_a_folder_of_another_origin(clear: Path, tmp_path: Path) -> None:
    out = tmp_path / "real"
    write_image(out / "cloudy" / "1.png", torch.rand(3, 4, 4))
    write_image(out / "clear" / "1.png", torch.rand(3, 4, 4))
    before = files(out)
    with pytest.raises(ValueError, match="no earlier simulation"):
        main(SimulateOptions(clear=clear, out=out, overwrite=True))
    assert files(out) == before


def test_damaged_images_are_named_and_nothing_is_left(clear: Path, tmp_path: Path) -> None:
    for path in clear.rglob("*.*"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"all were left out:\n.*b\.tif(.|\n)*town.a1\.png"):
        main(SimulateOptions(clear=clear, out=tmp_path / "out"))
    assert file_names(tmp_path) == ["clear", "out"]
    assert file_names(tmp_path / "out") == []


def test_out_inside_clear_is_refused(clear: Path) -> None:
    with pytest.raises(ValueError, match="separate folders"):
        SimulateOptions(clear=clear, out=clear / "simulated")
    with pytest.raises(ValueError, match="separate folders"):
        SimulateOptions(clear=clear, out=clear.parent)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"copies": 0}, "copies"),
        ({"seed": -1}, "seed"),
        ({"clouds": CloudOptions(wavelengths=(0.6,))}, "wavelengths"),
        ({"backend": "scg", "clouds": CloudOptions(tint=0.0)}, "scg"),
    ],
)
def test_contradictory_options_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulateOptions(**given)


def test_two_images_of_the_same_name_are_refused(clear: Path, tmp_path: Path) -> None:
    write_image(clear / "Town_a1.tif", torch.rand(3, *SIZE))
    with pytest.raises(UserError, match="two images named"):
        main(SimulateOptions(clear=clear, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_clouds_are_those_of_the_package(
    clear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line's ranges reach the simulation, and each image has a seed of its own."""
    calls: list[tuple[int, CloudOptions]] = []

    def spy(images: Tensor, seeds: list[int], options: CloudOptions, *, fields: None) -> object:
        calls.append((seeds[0], options))
        return simulate_clouds(images, seeds, options)

    monkeypatch.setattr(scpm.data, "simulate_clouds", spy)
    folders = ["--clear", str(clear), "--out", str(tmp_path / "out")]
    arguments = [*folders, "--clouds.opacity", "0.2", "0.3"]
    run_script(main, parser(SimulateOptions, None), arguments)

    assert {options.opacity for _, options in calls} == {(0.2, 0.3)}
    assert len({seed for seed, _ in calls}) == 3


def test_scg_backend_writes_pairs(clear: Path, tmp_path: Path) -> None:
    pytest.importorskip("satellite_cloud_generator")
    main(SimulateOptions(clear=clear, out=tmp_path / "out", backend="scg"))
    cloudy, thickness, ground = read_triple(tmp_path / "out", "b.png")
    opacity = (cloudy - ground) / (1 - ground).clamp_min(0.2)
    assert np.isclose(opacity.mean(), thickness.mean(), atol=0.05)
    assert thickness.mean() > 0.02
