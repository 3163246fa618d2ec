"""ThiefCloud, the thin cloud removal network guided by a cloud prior."""

from thiefcloud.model import NoPrior, Restoration, ThiefCloud
from thiefcloud.restore import restore, restore_and_detect
from thiefcloud.unet import UNet
from thiefcloud.weights import load, load_official

__all__ = ["NoPrior", "Restoration", "ThiefCloud", "UNet", "load", "load_official", "restore", "restore_and_detect"]
