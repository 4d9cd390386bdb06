"""What a reader sees while `fit` runs: a curve that grows in a notebook, a bar in a terminal, lines in a log file."""

import base64
import html
import io
import sys
import time

from matplotlib.figure import Figure
from tqdm import tqdm

REDRAW = 2.0  # seconds between two redraws of the curve: drawing takes about 0.1 s, and nobody reads faster


def in_notebook() -> bool:
    """Say whether a Jupyter kernel runs this code (JupyterLab, Colab, the build of the book)."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def curves(rows: list[dict[str, float]]) -> list[str]:
    """Return the names worth a curve: every one with "loss" in it, else the first."""
    names = [k for k in rows[-1] if k != "step"]
    return [k for k in names if "loss" in k] or names[:1]


def loss_curve(rows: list[dict[str, float]]) -> Figure:
    """Draw the losses of `fit`'s rows against the step; on a log scale when they span more than a factor of 20."""
    fig = Figure(figsize=(6, 2.6), dpi=90, layout="constrained")
    ax = fig.add_subplot()
    steps = [row["step"] for row in rows]
    for name, style in zip(curves(rows), ("-", "--", ":", "-.") * len(rows[-1])):
        ax.plot(steps, [row[name] for row in rows], style, label=name, marker="o" if len(rows) == 1 else None)
    values = [row[name] for row in rows for name in curves(rows)]
    if min(values) > 0 and max(values) > 20 * min(values):
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel="mean since the last point")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return fig


def curve_alt(rows: list[dict[str, float]]) -> str:
    """Say in words what `loss_curve` shows."""
    said = []
    for name in curves(rows):
        low = min(rows, key=lambda row: row[name])
        said.append(
            f"{name} goes from {rows[0][name]:.3g} at step {rows[0]['step']} to {rows[-1][name]:.3g} at step "
            f"{rows[-1]['step']}, lowest {low[name]:.3g} at step {low['step']}"
        )
    return "Training curve: " + "; ".join(said)


class Progress:
    """Show the run in the way that fits the place: notebook, terminal or file; `enabled=False` shows nothing."""

    def __init__(self, start: int, steps: int, *, enabled: bool = True) -> None:
        self.start, self.steps, self.enabled = start, steps, enabled
        self.began = self.drawn = time.monotonic()
        self.display = None
        self.notebook = enabled and in_notebook()
        terminal = enabled and not self.notebook and sys.stderr.isatty()
        self.bar = tqdm(initial=start, total=steps, unit="step", dynamic_ncols=True) if terminal else None

    def step(self) -> None:
        if self.bar is not None:
            self.bar.update()

    def row(self, rows: list[dict[str, float]]) -> None:
        """Called once per log line."""
        if self.bar is not None:
            self.bar.set_postfix({k: f"{rows[-1][k]:.4g}" for k in curves(rows)})
        elif self.notebook:
            if self.display is None or time.monotonic() - self.drawn > REDRAW:
                self._draw(rows)
        elif self.enabled:
            print(self._meter(rows[-1]["step"]) + "".join(f", {k} {rows[-1][k]:.4g}" for k in curves(rows)), flush=True)

    def close(self, rows: list[dict[str, float]]) -> None:
        """Leave the last curve behind, as a plain picture with its description."""
        if self.bar is not None:
            self.bar.close()
        if self.notebook and rows:
            self._draw(rows)

    def _meter(self, step: int) -> str:
        seconds = time.monotonic() - self.began
        rate = (step - self.start) / max(seconds, 1e-9)
        rest = f", {tqdm.format_interval((self.steps - step) / rate)} left" if 0 < rate and step < self.steps else ""
        return f"step {step:,} of {self.steps:,}, {rate:.3g} steps/s{rest}"

    def _draw(self, rows: list[dict[str, float]]) -> None:
        from IPython.display import display  # only here: the package works without Jupyter

        picture, alt = io.BytesIO(), curve_alt(rows)
        loss_curve(rows).savefig(picture, format="png")
        source = base64.b64encode(picture.getvalue()).decode()
        text = self._meter(rows[-1]["step"])
        page = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}"><br><small>{text}</small>'
        data = {"text/html": page, "text/plain": f"{text}\n{alt}"}
        if self.display is None:
            self.display = display(data, raw=True, display_id=True)
        else:
            self.display.update(data, raw=True)
        self.drawn = time.monotonic()
