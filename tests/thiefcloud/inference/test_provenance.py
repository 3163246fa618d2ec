"""Tags of their own say how a restored file was made."""

from pathlib import Path

from cloudkit.imaging.raster import open_image
from cloudkit.imaging.selection import select
from tests.cloudkit.imaging import geotiffs
from thiefcloud.inference.provenance import Run, with_provenance

RUN = Run("a.safetensors", "123", ("flips", "blend"))


def test_tags_name_all_that_changed_pixels(tmp_path: Path) -> None:
    mine = {"": {"ACQUIRED": "2024"}, "MINE": {"a": "b"}}
    pixels = geotiffs.ramp("uint16", 4, 500, 9000)
    geotiffs.write(tmp_path / "a.tif", pixels, tags=mine, photometric="minisblack")
    with open_image(tmp_path / "a.tif") as file:
        selection = select(file.properties, tmp_path / "a.tif", bands=(4, 3, 2), peak=10000)
        properties = with_provenance(file.properties, RUN, selection, (0.01, 0.5))
    tags = dict(properties.tags["THIEFCLOUD"])
    assert tags.pop("SOFTWARE").startswith("thiefcloud ")
    assert tags == {
        "WEIGHTS": "a.safetensors",
        "WEIGHTS_SHA256": "123",
        "OPTIONS": "--flips --blend",
        "BANDS": "4 3 2",
        "SCALE": "0 to 10000 (--peak)",
        "THICKNESS": "0.0100 to 0.5000",
    }
    others = {name: values for name, values in properties.tags.items() if name != "THIEFCLOUD"}
    assert others == file.properties.tags


def test_a_file_that_was_restored_before_keeps_what_it_says(tmp_path: Path) -> None:
    before = {"THIEFCLOUD": {"WEIGHTS": "old"}}
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint8", 3, 0, 255), tags=before)
    with open_image(tmp_path / "a.tif") as file:
        selection = select(file.properties, tmp_path / "a.tif")
        run = Run("new", "1", sees_thickness=False)
        tags = with_provenance(file.properties, run, selection, (0.0, 0.0)).tags
    assert tags["THIEFCLOUD"] == {"WEIGHTS": "old"}
    assert tags["THIEFCLOUD_2"]["WEIGHTS"] == "new"
    assert tags["THIEFCLOUD_2"]["OPTIONS"] == "none"
    assert "THICKNESS" not in tags["THIEFCLOUD_2"]
