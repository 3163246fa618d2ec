"""ThiefCloud, the thin cloud removal network guided by a cloud prior."""

from thiefcloud.baselines.unet import UNet
from thiefcloud.inference.blending import blend
from thiefcloud.inference.integers import IntegerSource
from thiefcloud.inference.measuring import measure_scene
from thiefcloud.inference.onnx_network import OnnxNetwork, load_onnx
from thiefcloud.inference.released import Weights
from thiefcloud.inference.restore import restore, restore_and_detect
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.scenes import restore_scene
from thiefcloud.inference.tiles import Window
from thiefcloud.inference.weights import load, load_official
from thiefcloud.inference.windows import reach_of, restore_window
from thiefcloud.network.base import NoPrior, RemovalNetwork, Restoration, Restorer
from thiefcloud.network.model import ThiefCloud

__all__ = [
    "IntegerSource",
    "NoPrior",
    "OnnxNetwork",
    "RemovalNetwork",
    "Restoration",
    "Restorer",
    "SceneStatistics",
    "ThiefCloud",
    "UNet",
    "Weights",
    "Window",
    "blend",
    "load",
    "load_official",
    "load_onnx",
    "measure_scene",
    "reach_of",
    "restore",
    "restore_and_detect",
    "restore_scene",
    "restore_window",
]
