"""ThiefCloud, the thin cloud removal network guided by a cloud prior."""

from thiefcloud.model import Restoration, ThiefCloud
from thiefcloud.restore import restore, restore_and_detect
from thiefcloud.weights import load, load_official

__all__ = ["Restoration", "ThiefCloud", "load", "load_official", "restore", "restore_and_detect"]
