"""SCPM, the self-supervised cloud prior model of ThiefCloud, and the simulation of thin clouds that it learns from."""

from scpm.clouds import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.data import Backend, SimulatedScenes, Simulator, find_thickness_pairs, simulator
from scpm.deform import DeformConv2d, deform_conv2d
from scpm.detect import detect
from scpm.model import FACTOR, PRIOR_WIDTH, SCPM, Prior, check_input
from scpm.weights import from_official_names, load, load_official

__all__ = [
    "FACTOR",
    "PRIOR_WIDTH",
    "SCPM",
    "Backend",
    "CloudOptions",
    "DeformConv2d",
    "Prior",
    "SimulatedClouds",
    "SimulatedScenes",
    "Simulator",
    "check_input",
    "deform_conv2d",
    "detect",
    "find_thickness_pairs",
    "from_official_names",
    "load",
    "load_official",
    "simulate_clouds",
    "simulator",
]
