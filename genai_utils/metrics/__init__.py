"""How good, how varied, how honest, how fast: every figure with its sample size and interval."""

from genai_utils.metrics.classifier import Classifier, ClassifierConfig
from genai_utils.metrics.coverage import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from genai_utils.metrics.disentanglement import MutualInformationGap, mutual_information_gap
from genai_utils.metrics.estimate import (
    Estimate,
    bootstrap_estimate,
    mean_estimate,
    median_estimate,
    redraw,
    share_estimate,
)
from genai_utils.metrics.frechet import frechet_distance
from genai_utils.metrics.likelihood import bits_per_dim, nats_from_bits, perplexity
from genai_utils.metrics.memorisation import Memorisation, memorisation
from genai_utils.metrics.modes import ModeCoverage, mode_coverage
from genai_utils.metrics.quality import score_digits
from genai_utils.metrics.sound import periodicity, pitch, score_tones
from genai_utils.metrics.speed import Comparison, compare, count_flops, peak_memory, throughput

__all__ = [
    "Classifier", "ClassifierConfig", "Comparison", "DensityCoverage", "Estimate", "Memorisation", "ModeCoverage",
    "MutualInformationGap", "PrecisionRecall", "bits_per_dim", "bootstrap_estimate", "compare", "count_flops",
    "density_coverage", "frechet_distance", "mean_estimate", "median_estimate", "memorisation",
    "mode_coverage",
    "mutual_information_gap", "nats_from_bits", "peak_memory", "periodicity", "perplexity", "pitch",
    "precision_recall", "redraw", "score_digits", "score_tones", "share_estimate", "throughput",
]  # fmt: skip
