"""Files of weights: written completely or not at all, read without running code from them.

Training writes PyTorch files (.pt) with its state. Released weights are safetensors with a
description as metadata. A file passes these steps before a network takes its weights:

* `kinds`: its first bytes say what it is, whatever its name;
* `containers`: sizes that it claims are compared with its own, before memory is allocated;
* `pickles`: its pickle is checked without running it;
* `schema`: its structure is compared with declared types;
* `fitting`: names, shapes and values are compared with the network's.
"""

from cloudkit.checkpoints.fitting import (
    check_values,
    fitting_weights,
    load_weights,
    rename,
    unwrapped,
)
from cloudkit.checkpoints.loading import (
    is_ours,
    load_network,
    read_file,
    ready_to_restore,
    require_network,
    require_rgb,
)
from cloudkit.checkpoints.saving import save_checkpoint, save_released
from cloudkit.checkpoints.schema import FORMAT, check_structure, structure_problem
from cloudkit.errors import CheckpointError

RELEASED_SUFFIX = ".safetensors"

__all__ = [
    "FORMAT",
    "RELEASED_SUFFIX",
    "CheckpointError",
    "check_structure",
    "check_values",
    "fitting_weights",
    "is_ours",
    "load_network",
    "load_weights",
    "read_file",
    "ready_to_restore",
    "rename",
    "require_network",
    "require_rgb",
    "save_checkpoint",
    "save_released",
    "structure_problem",
    "unwrapped",
]
