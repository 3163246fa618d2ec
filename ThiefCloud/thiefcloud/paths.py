"""Default files of the scripts."""

from cloudkit.script.command_line import RUNS

OUT = RUNS / "thiefcloud"
