"""Convert the checkpoint of a training to released weights: safetensors with a description.

python checkpoints/release.py runs/scpm/best.pt checkpoints/scpm.safetensors --about "..."
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cloudkit.checkpoints import (
    RELEASED_SUFFIX,
    CheckpointError,
    check_values,
    is_ours,
    read_file,
    save_released,
)
from cloudkit.files import digest
from cloudkit.script.command_line import parser, run_script


@dataclass(frozen=True)
class ReleaseOptions:
    """Files to read and to write, and the description."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of a training, best.pt."""
    out: tyro.conf.Positional[Path]
    """File to write; its name ends in .safetensors."""
    about: str = ""
    """Description of the weights in a sentence: data, length and place of the training."""

    def __post_init__(self) -> None:
        """Reject other kinds of files."""
        if self.out.suffix != RELEASED_SUFFIX:
            raise ValueError(f"{self.out} does not end in {RELEASED_SUFFIX}, expected such a name.")


def main(options: ReleaseOptions) -> None:
    """Write the weights with the options, steps and score of their training."""
    content = read_file(options.checkpoint)
    needed = {"network", "config", "model", "options", "score", "step"}
    if not is_ours(content) or needed - content.keys():
        raise CheckpointError(
            f"{options.checkpoint} was not written by a training of ours, expected its best.pt."
        )

    check_values(content["model"], options.checkpoint)

    # Absolute paths mean nothing elsewhere, and describe the machine of the training.
    kept = {}
    for name, value in content["options"].items():
        if not (isinstance(value, str) and Path(value).is_absolute()):
            kept[name] = value

    about = {"about": options.about, "score": content["score"], "step": content["step"]}
    about["options"] = kept
    save_released(options.out, content["network"], content["config"], content["model"], about)
    count = sum(tensor.numel() for tensor in content["model"].values())
    print(f"{options.out}: {content['network']}, {count:,} values")
    print(f"sha256 {digest(options.out)}")


if __name__ == "__main__":
    run_script(main, parser(ReleaseOptions, __doc__))
