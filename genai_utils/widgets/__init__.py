"""Things to look at and to move: film player, explorers, figures with alt text, source.

Every widget works in the built book with no kernel, and does more with one. To add one: a module with a subclass of
`View` (base.py) and a JavaScript file of the same name beside it; base.js holds what the widgets share.
"""

from genai_utils.widgets.base import View
from genai_utils.widgets.charts import pareto_front
from genai_utils.widgets.compare_pictures import PictureComparer, compare_pictures
from genai_utils.widgets.explore_attention import AttentionExplorer, explore_attention
from genai_utils.widgets.explore_codes import CodeExplorer, explore_codes
from genai_utils.widgets.explore_curves import CurveExplorer, explore_curves
from genai_utils.widgets.explore_dilation import DilationExplorer, explore_dilation
from genai_utils.widgets.explore_families import FamilyExplorer, explore_families
from genai_utils.widgets.explore_gates import GateExplorer, explore_gates
from genai_utils.widgets.explore_grid import GridExplorer, explore_grid
from genai_utils.widgets.explore_masked import MaskedExplorer, explore_masked, top_guesses
from genai_utils.widgets.explore_next_token import NextTokenExplorer, explore_next_token, sampling_grid
from genai_utils.widgets.explore_patches import PatchExplorer, explore_patches
from genai_utils.widgets.explore_path import PathExplorer, explore_path
from genai_utils.widgets.explore_receptive_field import ReceptiveFieldExplorer, explore_receptive_field
from genai_utils.widgets.explore_schedule import ScheduleExplorer, explore_schedule
from genai_utils.widgets.figures import image_grid, show
from genai_utils.widgets.fit_mixture import FitMixture, fit_mixture
from genai_utils.widgets.play_frames import FramePlayer, film_digest, film_from_state, play_frames
from genai_utils.widgets.play_game import GamePlayer, field_grid, play_game
from genai_utils.widgets.play_generation import GenerationPlayer, play_generation
from genai_utils.widgets.run_live import LiveRunner, run_live
from genai_utils.widgets.sounds import play_sounds
from genai_utils.widgets.source import show_source
from genai_utils.widgets.style import COLORS, use_style

__all__ = [
    "AttentionExplorer",
    "COLORS",
    "CodeExplorer",
    "CurveExplorer",
    "DilationExplorer",
    "FamilyExplorer",
    "FitMixture",
    "FramePlayer",
    "GamePlayer",
    "GateExplorer",
    "GenerationPlayer",
    "GridExplorer",
    "LiveRunner",
    "MaskedExplorer",
    "NextTokenExplorer",
    "PatchExplorer",
    "PathExplorer",
    "PictureComparer",
    "ReceptiveFieldExplorer",
    "ScheduleExplorer",
    "View",
    "compare_pictures",
    "explore_attention",
    "explore_codes",
    "explore_curves",
    "explore_dilation",
    "explore_families",
    "explore_gates",
    "explore_grid",
    "explore_masked",
    "explore_next_token",
    "explore_patches",
    "explore_path",
    "explore_receptive_field",
    "explore_schedule",
    "field_grid",
    "film_digest",
    "film_from_state",
    "fit_mixture",
    "image_grid",
    "pareto_front",
    "play_frames",
    "play_game",
    "play_generation",
    "play_sounds",
    "run_live",
    "sampling_grid",
    "show",
    "show_source",
    "top_guesses",
    "use_style",
]
