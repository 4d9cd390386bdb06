"""Autoregressive models: recurrent networks and what is built on them, PixelCNN, WaveNet.

`receptive_field` is a function of pixelcnn.py and of wavenet.py, `log_prob` one of char_lm.py: import these from there.
"""

from genai_utils.autoregressive.char_lm import CarriedState, RecurrentLM, RecurrentLMConfig, lm_loss, sample_tokens
from genai_utils.autoregressive.forecast import (
    Forecaster,
    ForecasterConfig,
    crps,
    forecast,
    forecast_loss,
    inside,
    linear_autoregression,
    seasonal_naive,
)
from genai_utils.autoregressive.pixel_sampler import sample_pixels
from genai_utils.autoregressive.pixelcnn import PixelCNN, PixelCNNConfig, from_levels, pixelcnn_loss, to_levels
from genai_utils.autoregressive.rnn import Recurrent, gradient_norms, gru_step, lstm_step, rnn_step
from genai_utils.autoregressive.speech import SpeechClassifier, SpeechClassifierConfig, log_mel, speech_loss
from genai_utils.autoregressive.wavenet import WaveNet, WaveNetConfig, sample_waves, wavenet_loss

__all__ = [
    "CarriedState", "Forecaster", "ForecasterConfig", "PixelCNN", "PixelCNNConfig", "Recurrent", "RecurrentLM",
    "RecurrentLMConfig", "SpeechClassifier", "SpeechClassifierConfig", "WaveNet", "WaveNetConfig", "crps", "forecast",
    "forecast_loss", "from_levels", "gradient_norms", "gru_step", "inside", "linear_autoregression", "lm_loss",
    "log_mel", "lstm_step", "pixelcnn_loss", "rnn_step", "sample_pixels", "sample_tokens", "sample_waves",
    "seasonal_naive", "speech_loss", "to_levels", "wavenet_loss",
]  # fmt: skip
