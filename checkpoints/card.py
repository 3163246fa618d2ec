"""Write folders ready to upload, one for each file of released weights. Uses no network.

    python checkpoints/card.py --out upload
    python checkpoints/card.py --out upload --weights general

OUT/thiefcloud-general/ gets the weights, config.json and README.md (a model card as Hugging Face
reads it), stac-item.json (an item of the STAC extension Machine Learning Model), LICENSE and
CITATION.cff. The facts are those of thiefcloud/inference/released.py, of the files themselves and
of checkpoints/scores.json.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from checkpoints.stac import stac_item
from checkpoints.tables import scores_of
from cloudkit.checkpoints import read_file
from cloudkit.errors import UserError
from cloudkit.files import read_json, write_atomically, write_json, write_text
from cloudkit.folders import require_folder, writing_to
from cloudkit.script.command_line import ROOT, parser, run_script
from thiefcloud.inference.released import CHECKPOINTS, RELEASED, Weights

PAPERS = ("LICENSE", "CITATION.cff")
_LINK = re.compile(
    r"\[([^\]]*)\]\([^)]*\)"
)  # a link of Markdown; the pages that it names stay here
_CARD = """\
---
license: other
license_name: polyform-noncommercial-1.0.0
license_link: LICENSE
pipeline_tag: image-to-image
library_name: thiefcloud
tags:
- remote-sensing
- satellite-imagery
- cloud-removal
- dehazing
- image-restoration
- pytorch
---

# {title}

{description}

* For: {purpose}
* Input: {bands}, float, from {low:g} to {high:g}, (3, H, W) or (N, 3, H, W), any size
* Output: the same without thin cloud. Cloud that lets no light through stays.
* Size: {values:,} values, {megabytes:.1f} MB, sha256 `{sha256}`

```python
import thiefcloud

model = thiefcloud.load("{file}")
restored = thiefcloud.restore(model, image)
```

## Training

Trained on {data}. {about}

## Scores

Protocol `plain`: float RGB in [0, 1], full resolution, mean over images. PSNR in dB / SSIM with
95 % intervals.

{scores}
## Licence

{licence} The file LICENSE has the terms. CITATION.cff names the paper to cite.
"""


@dataclass(frozen=True)
class CardOptions:
    """Options of the script."""

    out: Path
    """Folder for the folders; files of equal name are replaced."""
    weights: tuple[str, ...] = tuple(RELEASED)
    """Names of released weights. Default: all."""

    def __post_init__(self) -> None:
        """Reject unknown names."""
        for name in self.weights:
            if name not in RELEASED:
                raise ValueError(f"--weights is {name!r}, expected {', '.join(RELEASED)}.")


def main(options: CardOptions) -> None:
    """Write each folder."""
    require_folder(options.out)
    if options.out.resolve() == CHECKPOINTS:
        raise UserError(f"--out {options.out} holds the weights themselves; name another folder.")
    facts = read_json(CHECKPOINTS / "scores.json")
    with writing_to(options.out):
        for name in options.weights:
            folder = options.out / RELEASED[name].path.stem
            write_folder(folder, name, facts)
            print(f"written to {folder}")


def write_folder(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write the files of one upload.

    Args:
        folder: the folder; it is made.
        name: name of released weights.
        facts: content of scores.json.
    """
    weights = RELEASED[name]
    content = read_file(weights.path)
    values = sum(tensor.numel() for tensor in content["model"].values())
    days = [row["date"] for row in facts["scores"] if row["weights"] == name]

    for source in (weights.path, *(ROOT / paper for paper in PAPERS)):
        write_atomically(folder / source.name, partial(shutil.copyfile, source))
    write_json(folder / "config.json", config_of(weights, content))
    write_text(folder / "README.md", card(name, facts, content["about"], values))
    write_json(folder / "stac-item.json", stac_item(weights, values=values, day=max(days)))


def config_of(weights: Weights, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a program needs to know of a file of weights."""
    return {
        "model_type": content["network"],
        "library_name": "thiefcloud",
        "weights": weights.file,
        "sha256": weights.sha256,
        "format": content["format"],
        "config": content["config"],
        "bands": list(weights.bands),
        "input_range": list(weights.input_range),
    }


def card(name: str, facts: Mapping[str, Any], about: Mapping[str, Any], values: int) -> str:
    """Return the model card of released weights.

    Args:
        name: their name.
        facts: content of scores.json.
        about: what the file says of its training.
        values: number of all values in the file.
    """
    weights = RELEASED[name]
    low, high = weights.input_range
    return _CARD.format(
        title=weights.path.stem,
        description=weights.description,
        purpose=weights.purpose,
        bands=", ".join(weights.bands),
        low=low,
        high=high,
        values=values,
        megabytes=weights.path.stat().st_size / 1e6,
        sha256=weights.sha256,
        file=weights.file,
        data=_LINK.sub(r"\1", weights.data),
        about=about["about"],
        scores=_LINK.sub(r"\1", scores_of(facts, name)),
        licence=weights.licence,
    )


if __name__ == "__main__":
    run_script(main, parser(CardOptions, __doc__))
