"""Diffusion models: noise schedules, the forward process and its losses, samplers, and the U-Net."""

from genai_utils.diffusion.process import (
    binned_gaussian_log_prob,
    bound_term,
    denoiser,
    diffusion_loss,
    min_snr_weight,
    q_sample,
    signal_noise,
    split_prediction,
    target,
)
from genai_utils.diffusion.published import read_unet2d
from genai_utils.diffusion.samplers import ddim_step, ddim_steps, ddpm_step, ddpm_steps, dpmpp_steps
from genai_utils.diffusion.schedules import (
    betas,
    check_schedule,
    cosine_schedule,
    linear_schedule,
    rescale_zero_snr,
    snr,
    visit_times,
)
from genai_utils.diffusion.unet import PRESETS, UNet, UNetConfig, time_embedding

__all__ = [
    "PRESETS", "UNet", "UNetConfig", "betas", "binned_gaussian_log_prob", "bound_term", "check_schedule",
    "cosine_schedule", "ddim_step", "ddim_steps", "ddpm_step", "ddpm_steps", "denoiser", "diffusion_loss",
    "dpmpp_steps", "linear_schedule", "min_snr_weight", "q_sample", "read_unet2d", "rescale_zero_snr", "signal_noise",
    "snr", "split_prediction", "target", "time_embedding", "visit_times",
]  # fmt: skip
