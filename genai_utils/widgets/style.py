"""The look of the book's figures: Okabe and Ito's colours, which readers with any colour vision can tell apart."""

import matplotlib as mpl

COLORS = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermilion": "#D55E00",
    "sky": "#56B4E9", "purple": "#CC79A7", "yellow": "#F0E442", "black": "#000000",
}

ORDER = ("blue", "vermilion", "green", "orange", "purple", "sky", "black")
STYLE = {
    "axes.prop_cycle": mpl.cycler(color=[COLORS[k] for k in ORDER]), "axes.grid": True, "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlesize": 11, "axes.titlelocation": "left",
    "figure.constrained_layout.use": True, "figure.dpi": 100, "figure.facecolor": "white", "figure.figsize": (6.4, 3.6),
    "font.size": 10, "grid.alpha": 0.3, "image.cmap": "cividis", "image.interpolation": "nearest",
    "legend.frameon": False, "lines.linewidth": 1.8, "savefig.facecolor": "white",
}


def use_style() -> None:
    """Set the book's matplotlib style for the figures made from now on."""
    mpl.rcParams.update(STYLE)
