"""SCPM, the self-supervised cloud prior model of ThiefCloud, and the simulation of thin clouds that it learns from."""

from scpm.clouds import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.data import PriorData, PriorSample, SimulatedScenes, Simulator, find_thickness_pairs, open_prior_data, simulator
from scpm.deform import DeformConv2d, deform_conv2d
from scpm.detect import detect
from scpm.fields import CloudFields
from scpm.model import FACTOR, PRIOR_WIDTH, SCPM, Prior, check_input
from scpm.opacity import estimate_opacity
from scpm.options import Backend
from scpm.weights import from_official_names, load, load_official

__all__ = [
    "FACTOR",
    "PRIOR_WIDTH",
    "SCPM",
    "Backend",
    "CloudFields",
    "CloudOptions",
    "DeformConv2d",
    "Prior",
    "PriorData",
    "PriorSample",
    "SimulatedClouds",
    "SimulatedScenes",
    "Simulator",
    "check_input",
    "deform_conv2d",
    "detect",
    "estimate_opacity",
    "find_thickness_pairs",
    "from_official_names",
    "load",
    "load_official",
    "open_prior_data",
    "simulate_clouds",
    "simulator",
]
