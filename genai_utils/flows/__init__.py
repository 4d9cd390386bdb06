"""Flows: maps that can be gone both ways, and the density that comes of keeping account of the volume.

realnvp and glow are chains of layers; matching learns a velocity, ode follows it, continuous gives its likelihood.
`nll_loss` is a function of realnvp.py and of glow.py: import it from there.
"""

from genai_utils.flows.continuous import MixtureField, ode_log_prob
from genai_utils.flows.glow import Glow, GlowConfig, dequantise, image_bits
from genai_utils.flows.matching import (
    VelocityConfig, VelocityMLP, flow_matching_loss, optimal_coupling, reflow_loss, reflow_pairs, straightness,
)  # fmt: skip
from genai_utils.flows.ode import SolverDiverged, solve
from genai_utils.flows.realnvp import RealNVP, RealNVPConfig

__all__ = [
    "Glow", "GlowConfig", "MixtureField", "RealNVP", "RealNVPConfig", "SolverDiverged", "VelocityConfig",
    "VelocityMLP", "dequantise", "flow_matching_loss", "image_bits", "ode_log_prob", "optimal_coupling",
    "reflow_loss", "reflow_pairs", "solve", "straightness",
]  # fmt: skip
