"""Turn the checkpoint of a training into weights for others: safetensors with what they are as metadata.

python checkpoints/release.py runs/scpm/best.pt checkpoints/scpm.safetensors --about "trained on ..."
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cloudkit.checkpoints import RELEASED_SUFFIX, CheckpointError, is_ours, read_file, save_released
from cloudkit.cli import parser, run


@dataclass(frozen=True)
class ReleaseOptions:
    """Which checkpoint, and where to."""

    checkpoint: tyro.conf.Positional[Path]
    """A best.pt of a training."""
    out: tyro.conf.Positional[Path]
    """The file to write; its name ends in .safetensors."""
    about: str = ""
    """What the weights are, in a sentence: data, length and place of the training."""

    def __post_init__(self) -> None:
        """Reject another kind of file."""
        if self.out.suffix != RELEASED_SUFFIX:
            raise ValueError(f"{self.out} does not end in {RELEASED_SUFFIX}, expected such a name.")


def main(options: ReleaseOptions) -> None:
    """Write the weights with the run's options, steps and score."""
    content = read_file(options.checkpoint)
    if not is_ours(content) or "options" not in content:
        raise CheckpointError(f"{options.checkpoint} was not written by a training of ours, expected its best.pt.")
    # paths mean nothing elsewhere, and tell strangers about this machine
    kept = {
        name: value for name, value in content["options"].items() if not (isinstance(value, str) and Path(value).is_absolute())
    }
    about = {"about": options.about, "score": content["score"], "step": content["step"], "options": kept}
    save_released(options.out, content["network"], content["config"], content["model"], about)
    print(f"{options.out}: {content['network']}, {sum(tensor.numel() for tensor in content['model'].values()):,} values")


if __name__ == "__main__":
    run(main, parser(ReleaseOptions, __doc__))
