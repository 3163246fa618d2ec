"""SCPM, the self-supervised cloud prior of ThiefCloud, and the simulation of thin clouds."""

from scpm.detect import detect
from scpm.network.deform import DeformConv2d, deform_conv2d
from scpm.network.model import FACTOR, PRIOR_WIDTH, SCPM, Prior, check_input
from scpm.network.scene import Moments, Tile, current_tile, on_tile
from scpm.simulation.clouds import SimulatedClouds, simulate_clouds
from scpm.simulation.fields import CloudFields
from scpm.simulation.opacity import estimate_opacity
from scpm.simulation.options import CloudOptions
from scpm.weights import from_official_names, load, load_official

__all__ = [
    "FACTOR",
    "PRIOR_WIDTH",
    "SCPM",
    "CloudFields",
    "CloudOptions",
    "DeformConv2d",
    "Moments",
    "Prior",
    "SimulatedClouds",
    "Tile",
    "check_input",
    "current_tile",
    "deform_conv2d",
    "detect",
    "estimate_opacity",
    "from_official_names",
    "load",
    "load_official",
    "on_tile",
    "simulate_clouds",
]
