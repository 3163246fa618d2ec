"""Images of 8 bits in PNG, JPEG, BMP, GIF and WebP, read and written by Pillow."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.WebPImagePlugin import WebPImageFile

from cloudkit.imaging.formats import NotKeptError
from cloudkit.imaging.limits import check_claim
from cloudkit.imaging.orientation import UPRIGHT
from cloudkit.imaging.properties import Attachments

# Image.open would refuse large images, whatever the size of their files.
_OPENERS: dict[str, Callable[[Path], ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "WEBP": WebPImageFile,
}
_ORIENTATION = 0x0112
_XMP = "XML:com.adobe.xmp"
_CHUNKS_AT = 33  # bytes: a PNG's signature and its first chunk


def is_photo(image_format: str) -> bool:
    """Return True for formats that Pillow opens here."""
    return image_format in _OPENERS


def read_photo_size(path: Path, image_format: str) -> tuple[int, int]:
    """Read the height and width from the header."""
    with _OPENERS[image_format](path) as opened:
        return opened.height, opened.width


def read_photo(path: Path, image_format: str) -> tuple[np.ndarray, bool, Attachments]:
    """Read the pixels (H, W, bands), upright, True if the last band is alpha, and the rest."""
    with _OPENERS[image_format](path) as opened:
        check_claim(path, opened.height, opened.width, opened.height * opened.width)
        if getattr(opened, "is_animated", False):
            raise NotKeptError(f"it is an animation of {getattr(opened, 'n_frames', 0)} pictures")
        colours = opened.mode
        ImageOps.exif_transpose(opened, in_place=True)  # a copy of a large image costs memory

        has_alpha = opened.has_transparency_data
        mode = "L" if colours in ("1", "L", "LA") else "RGB"
        mode = f"{mode}A" if has_alpha else mode
        pixels = np.asarray(opened if colours == mode else opened.convert(mode))
        attachments = _attachments(opened, colours)
    return pixels.reshape(*pixels.shape[:2], -1), has_alpha, attachments


def read_attachments(path: Path) -> tuple[Attachments, int]:
    """Read what describes a PNG of 16 bits, and its orientation."""
    with PngImageFile(path) as opened:
        opened.load()  # because texts and EXIF may follow the pixels
        exif = Image.Exif()
        exif.load(opened.info.get("exif", b""))
        orientation = exif.pop(_ORIENTATION, UPRIGHT)
        if orientation != UPRIGHT:
            opened.info["exif"] = exif.tobytes()
        return _attachments(opened, opened.mode), orientation


def write_photo(path: Path, pixels: np.ndarray, attachments: Attachments) -> None:
    """Write pixels (H, W, bands) of 8 bits as PNG, JPEG or BMP, as the suffix says."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if path.suffix.lower() == ".png":
        picture.save(path, **_options(attachments))
    else:
        picture.save(path, quality=95)  # only JPEG has a quality


def add_attachments(path: Path, attachments: Attachments) -> None:
    """Add attachments to a PNG that another library wrote."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", **_options(attachments))
    chunks = buffer.getvalue()[_CHUNKS_AT:]
    chunks = chunks[: chunks.index(b"IDAT") - 4]
    content = path.read_bytes()
    path.write_bytes(content[:_CHUNKS_AT] + chunks + content[_CHUNKS_AT:])


def _attachments(picture: ImageFile, colours: str) -> Attachments:
    texts = dict(picture.text) if isinstance(picture, PngImageFile) else {}
    if isinstance(picture.info.get("xmp"), bytes):
        texts[_XMP] = picture.info["xmp"].decode("utf-8", "replace")
    if isinstance(picture.info.get(_XMP), str):
        texts[_XMP] = picture.info[_XMP]  # without the orientation

    dpi = picture.info.get("dpi")
    return Attachments(
        picture.info.get("exif", b""),
        b"" if colours == "CMYK" else picture.info.get("icc_profile", b""),
        None if dpi is None else (float(dpi[0]), float(dpi[1])),
        texts,
    )


def _options(attachments: Attachments) -> dict[str, Any]:
    """Return arguments of Pillow that write attachments into a PNG."""
    options: dict[str, Any] = {}
    if attachments.exif:
        options["exif"] = attachments.exif
    if attachments.icc_profile:
        options["icc_profile"] = attachments.icc_profile
    if attachments.dpi:
        options["dpi"] = attachments.dpi

    if attachments.texts:
        options["pnginfo"] = PngInfo()
        for name, text in attachments.texts.items():
            if name == _XMP:
                options["pnginfo"].add_itxt(name, text)
            else:
                options["pnginfo"].add_text(name, text)
    return options
