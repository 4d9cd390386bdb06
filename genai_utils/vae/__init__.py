"""Variational autoencoders: the VAE, its likelihoods and bounds, and what to do with its latent space; the VQ-VAE."""

from genai_utils.vae.latent import active_units, linear_path, spherical_path, traverse
from genai_utils.vae.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian, binarise, likelihood
from genai_utils.vae.prior import (
    CodePrior,
    CodePriorConfig,
    DescriptionLength,
    description_length,
    prior_loss,
    sample_codes,
)
from genai_utils.vae.vae import (
    PRESETS,
    VAE,
    VAEConfig,
    elbo,
    iwae_bound,
    kl_to_prior,
    kl_warmup,
    normal_log_prob,
    reparameterise,
    sample,
    vae_loss,
)
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig, vqvae_loss

__all__ = [
    "PRESETS", "VAE", "VQVAE", "Bernoulli", "CodePrior", "CodePriorConfig", "DescriptionLength", "DiscretisedLogistic",
    "Gaussian", "VAEConfig", "VQVAEConfig", "active_units", "binarise", "description_length", "elbo", "iwae_bound",
    "kl_to_prior", "kl_warmup", "likelihood", "linear_path", "normal_log_prob", "prior_loss", "reparameterise",
    "sample", "sample_codes", "spherical_path", "traverse", "vae_loss", "vqvae_loss",
]  # fmt: skip
