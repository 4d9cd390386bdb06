"""Training: the loop, the optimiser, the average of the weights, checkpoints that resume exactly."""

from genai_utils.training.checkpoint import load_checkpoint, load_parts, save_checkpoint
from genai_utils.training.ema import EMA
from genai_utils.training.loop import TrainingDiverged, fit, make_step
from genai_utils.training.optim import adamw, warmup_cosine
from genai_utils.training.progress import loss_curve

__all__ = [
    "EMA", "TrainingDiverged", "adamw", "fit", "load_checkpoint", "load_parts", "loss_curve", "make_step",
    "save_checkpoint", "warmup_cosine",
]
