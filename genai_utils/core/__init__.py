"""Config <-> JSON, device and dtype choice, seeding; no layers."""

from genai_utils.core.config import from_json, to_json
from genai_utils.core.device import amp_dtype, pick_device, quick_mode, seed_all

__all__ = ["amp_dtype", "from_json", "pick_device", "quick_mode", "seed_all", "to_json"]
