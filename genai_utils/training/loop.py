"""Training: a `step` owns the maths of one update, `fit` owns time: logging, progress, checkpoints, interruption.

Most models take the step of `make_step`. One with several optimisers, such as a GAN, writes its own: any function
`step(batch) -> logs`, a dict of scalar tensors with the same keys at every call. To be resumable it carries
`step.parts`, a dict of everything that changes while it runs (see checkpoint.py):

    def step(batch): ...
    step.parts = {"generator": G, "critic": D, "opt_g": opt_g, "opt_d": opt_d}

Compile the network, not the loop: `model.compile()` before `make_step` keeps the names of its weights; a
`torch.compile(model)` is unwrapped for saving, so that no name gains `_orig_mod.`.

Several processes or machines: start the same script with `accelerate launch`, and give `make_step` the `Accelerator()`.
Each process draws batches and noise of its own from a seed of its own; gradients are averaged over all.
"""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.core import amp_dtype
from genai_utils.training import checkpoint as ckpt
from genai_utils.training.progress import Progress

Step = Callable[[Any], dict[str, Tensor]]


class TrainingDiverged(RuntimeError):
    """A logged value was not finite. `step`: the first bad one; `checkpoint`: the last good file, or None; `rows`."""

    def __init__(self, message: str, step: int, checkpoint: Path | None, rows: list[dict[str, float]]) -> None:
        super().__init__(message)
        self.step, self.checkpoint, self.rows = step, checkpoint, rows


def make_step(
    model: nn.Module,
    loss_fn: Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor]]],
    opt: torch.optim.Optimizer,
    *,
    clip: float | None = 1.0,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ema: Any = None,
    amp: torch.dtype | None = None,
    accelerator: Any = None,
) -> Step:
    """Return step(batch) -> logs: one clipped update in mixed precision; nothing in it waits for the GPU.

    Args:
        model: the network, on its device; it may be compiled.
        loss_fn: maps (model, batch) to (scalar loss, dict of scalar tensors to log).
        opt: its optimiser; a fused one (see `adamw`) keeps fp16 free of waiting, too.
        clip: largest norm of the gradient, over all parameters; None does not clip.
        schedule: stepped once per update.
        ema: an `EMA` of the model, updated once per update.
        amp: dtype of autocast. None chooses by capability: bf16 from (8, 0), fp16 on older GPUs, none on a CPU;
            torch.float32 switches it off. With fp16 the loss is scaled, and gradients unscaled before they are clipped;
            a step whose gradients overflow leaves the weights as they are and logs a grad_norm of 0; schedule and ema
            move on.
        accelerator: an accelerate.Accelerator, when several processes train one model.
    Raises:
        ValueError: amp is no dtype for autocast.
    """
    network = getattr(model, "_orig_mod", model)  # behind torch.compile
    if accelerator is None:
        compute_loss = lambda batch: loss_fn(model, batch)
    else:
        compute_loss = accelerator.prepare(_Loss(model, loss_fn))  # averages the gradients of all processes
    device = next(network.parameters()).device
    amp = _autocast_dtype(amp, device)
    scaler = torch.amp.GradScaler(device.type, enabled=amp == torch.float16)
    skipped = torch.zeros((), device=device)  # updates skipped in a row, to find a scale at which fp16 holds

    def step(batch: Any) -> dict[str, Tensor]:
        with torch.autocast(device.type, amp, enabled=amp is not None):
            loss, logs = compute_loss(batch)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)  # else `clip` would bound the scaled gradient
        grad_norm = nn.utils.clip_grad_norm_(network.parameters(), float("inf") if clip is None else clip)
        scaler.step(opt)
        scaler.update()
        if schedule is not None:
            schedule.step()
        opt.zero_grad(set_to_none=True)
        if ema is not None:
            ema.update(network)
        if amp == torch.float16:
            fits = grad_norm.isfinite()
            skipped.add_(1).mul_(~fits)
            grad_norm = torch.where(fits | (skipped > 30), grad_norm, 0.0)  # 30 halvings: not the scale's fault
        return {"loss": loss.detach(), "grad_norm": grad_norm} | {k: v.detach() for k, v in logs.items()}

    parts = {"model": network, "opt": opt, "schedule": schedule, "ema": ema, "scaler": scaler}
    step.parts = {name: part for name, part in parts.items() if part is not None}
    step.accelerator = accelerator
    return step


def fit(
    step: Step,
    batches: Iterable,
    *,
    steps: int,
    every: int = 100,
    checkpoint: str | Path | None = None,
    config: Any = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Run `step` until `steps` updates are done; return one row of floats per `every`: means since the row before.

    With `checkpoint`, a run that was stopped or killed goes on from that file when the same cell or script runs again,
    and ends with the same weights as a run that was never stopped: bit for bit on a CPU, and on a GPU under
    deterministic algorithms. Interrupting (the stop button, Ctrl-C) finishes the step, saves, and returns the rows so
    far; the model is then usable as it is. A script that must not go on with a model half trained looks at the last
    row's "step". Only the log line waits for the GPU.

    Args:
        step: maps a batch to logs; `make_step` returns one.
        batches: an endless iterator; with `checkpoint` it has state_dict() and load_state_dict().
        steps: number of updates in all, those before a resumption included.
        every: updates between two log lines; at each, finite values are checked and the checkpoint is written.
        checkpoint: file to resume from, if it exists, and to write.
        config: settings of your own, a dict or a config dataclass, that a checkpoint must share to be resumed.
        on_log: called with each new row.
        progress: show a curve in a notebook, a bar in a terminal, lines in a log file; False shows nothing.
    Raises:
        TrainingDiverged: a logged value, or a weight, was not finite; the last good checkpoint is untouched.
        ValueError: the checkpoint is another run's; a part of this run cannot be saved; batches run out.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every must be at least 1, got steps={steps}, every={every}")
    run = _Run(step, batches, checkpoint, config)
    done, rows, window = run.resume(steps, _Window(every), say=progress)
    bar = Progress(done, steps, enabled=progress and run.is_main)
    draw = iter(batches)
    stop = False
    try:
        with _stop_after_step() as asked:
            while done < steps and not stop:
                window.add(step(_next(draw, done, steps)))
                done += 1
                bar.step()
                at_line = done % every == 0 or done == steps
                if not at_line and (run.accelerator or not asked):
                    continue
                stop = run.any_process(bool(asked)) and done < steps
                run.check(window, done, rows)
                if at_line:
                    rows.append({"step": done} | window.means())
                    if on_log is not None:
                        on_log(rows[-1])
                    bar.row(rows)
                run.save(done, rows, window)
    except KeyboardInterrupt:  # asked twice, or raised by the step itself: the update may be half done, so not saved
        run.clear_gradients()
        run.say(f"Stopped within step {done + 1} of {steps}. {run.last_good()}")
        return rows
    finally:
        bar.close(rows)
    if stop:
        run.say(f"Stopped after step {done} of {steps}. {run.last_good()}")
    return rows


class _Loss(nn.Module):
    """The loss as a module, so that DistributedDataParallel wraps it and loss_fn still sees the plain model."""

    def __init__(self, model: nn.Module, loss_fn: Callable) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss_fn(self.model, batch)


class _Window:
    """The logs since the last row. They stay on the device, a line per step: no step waits to know its loss."""

    def __init__(self, every: int) -> None:
        self.every, self.count, self.keys, self.lines = every, 0, [], None

    @torch.no_grad()
    def add(self, logs: dict[str, Tensor]) -> None:
        for name, value in logs.items():
            if not isinstance(value, Tensor) or value.ndim:
                raise ValueError(f"a step must log scalar tensors; {name!r} is {getattr(value, 'shape', repr(value))}")
        if self.lines is None:
            self.keys = list(logs)
            self.lines = torch.zeros(self.every, len(logs), device=next(iter(logs.values())).device)
        if list(logs) != self.keys:
            raise ValueError(f"a step must log the same names every time: {self.keys} before, {list(logs)} now")
        self.lines[self.count] = torch.stack([v.float() for v in logs.values()])
        self.count += 1

    def means(self) -> dict[str, float]:
        """Return the mean of each name, and start anew. `_Run.check` has brought the lines to the CPU."""
        means = self.values.double().mean(0).tolist()
        self.count = 0
        return dict(zip(self.keys, means))

    def state_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "lines": self.lines[: self.count].cpu()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take over the lines since the last row (none, unless the run was interrupted between two)."""
        self.count, self.keys = len(state["lines"]), state["keys"]
        self.lines = torch.cat([state["lines"], torch.zeros(self.every, len(self.keys))]).to(device)


class _Run:
    """What one call of `fit` needs to save, check and resume."""

    def __init__(self, step: Step, batches: Any, path: str | Path | None, config: Any) -> None:
        self.parts = {k: getattr(p, "_orig_mod", p) for k, p in getattr(step, "parts", {}).items()}  # not compiled
        self.accelerator = getattr(step, "accelerator", None)
        self.is_main = self.accelerator is None or self.accelerator.is_main_process
        self.batches = batches
        self.path = None if path is None else Path(path)
        self.saved = None  # step of the last good checkpoint
        self.settings = ckpt.settings(self.parts, config)
        if self.accelerator is not None and self.accelerator.num_processes > 1:
            self.settings["processes"] = self.accelerator.num_processes
        if self.path is not None and not self.parts:
            raise ValueError("checkpoint= needs step.parts, a dict of what to save: {'model': model, 'opt': opt, ...}")
        if self.path is not None and not hasattr(batches, "load_state_dict"):
            raise ValueError(
                f"checkpoint= needs batches with state_dict() and load_state_dict(), such as ImageSet.batches(...); "
                f"{type(batches).__name__} has none, so its place in the data would be lost"
            )

    def say(self, text: str) -> None:
        if self.is_main:
            print(text)

    def resume(self, steps: int, window: _Window, *, say: bool) -> tuple[int, list[dict[str, float]], _Window]:
        """Load the checkpoint, if there is one; return (updates done, rows, window)."""
        if self.path is None or not self.path.exists():
            return 0, [], window
        state = ckpt.load_checkpoint(self.path)
        if changed := ckpt.changed_settings(state["settings"], self.settings):
            raise ValueError(
                f"{self.path} belongs to a run with other settings: {'; '.join(changed)}. "
                "Restore the settings, or name another checkpoint file (or delete this one) to start afresh"
            )
        if state["step"] > steps:
            raise ValueError(f"{self.path} has {state['step']} updates already, more than steps={steps}")
        if surplus := sorted(set(state["parts"]) - set(self.parts)):
            raise ValueError(f"{self.path} holds {', '.join(surplus)}, which this run does not have")
        own = state["processes"][0 if self.accelerator is None else self.accelerator.process_index]
        self.batches.load_state_dict(own["batches"])  # first, as it refuses other data before any weight has changed
        ckpt.restore_parts(state["parts"], self.parts, self.path)
        window.load_state_dict(own["window"], _device(self.parts))
        self.saved = state["step"]
        if say:
            self.say(f"Resumed from {self.path} at step {state['step']} of {steps}.")
        ckpt.set_random_state(own["random"])  # last: nothing may draw between here and the next step
        return state["step"], state["rows"], window

    def any_process(self, flag: bool) -> bool:
        """Say whether any process has `flag`; all must stop at the same step, or some would wait for ever."""
        if self.accelerator is None:
            return flag
        flags = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flags, "sum"))

    def check(self, window: _Window, done: int, rows: list[dict[str, float]]) -> None:
        """Bring the window to the CPU, the one place that waits, and raise if a value in it is not finite."""
        values = window.lines[: window.count]
        if self.accelerator is not None:
            values = self.accelerator.reduce(values.clone(), "mean")
        window.values = values.cpu()
        bad = (~window.values.isfinite()).any(1).nonzero().flatten().tolist()
        if bad:
            first = done - window.count + bad[0] + 1
            seen = ", ".join(f"{k} {v:.4g}" for k, v in zip(window.keys, window.values[bad[0]].tolist()))
            what = f"the logs were not finite from step {first} on ({len(bad)} of the last {window.count}): {seen}"
        elif not _finite(self.parts):
            first, what = done, f"after step {done} a weight is not finite, though the loss still was"
        else:
            return
        raise TrainingDiverged(
            f"{what}. {self.last_good()} Usual cures: a lower learning rate, a longer warm-up, a smaller clip.",
            first, self.path if self.saved is not None else None, rows,
        )  # fmt: skip

    def save(self, done: int, rows: list[dict[str, float]], window: _Window) -> None:
        if self.path is None:
            return
        own = {
            "batches": self.batches.state_dict(),
            "window": window.state_dict(),
            "random": ckpt.random_state(),
        }
        everyone = [own]
        if self.accelerator is not None:
            from accelerate.utils import gather_object

            everyone = gather_object([own])
        if self.is_main:
            state = {"step": done, "rows": rows, "settings": self.settings, "processes": everyone}
            ckpt.save_checkpoint(self.path, state | {"parts": ckpt.part_states(self.parts)})
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()
        self.saved = done

    def clear_gradients(self) -> None:
        for part in self.parts.values():
            if isinstance(part, torch.optim.Optimizer):
                part.zero_grad(set_to_none=True)

    def last_good(self) -> str:
        if self.saved is None:
            return "No checkpoint was written."
        return f"The last good checkpoint is {self.path}, of step {self.saved}."


@contextmanager
def _stop_after_step() -> Iterator[list]:
    """Yield a list that fills when the user interrupts; a second interruption raises KeyboardInterrupt at once.

    Stopping between two updates, and not within one, is what makes the checkpoint exact.
    """
    asked: list[bool] = []

    def on_interrupt(signum: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield asked  # somebody else handles interruptions here
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _next(draw: Iterator, done: int, steps: int) -> Any:
    for batch in draw:
        return batch
    raise ValueError(f"batches ran out after {done} of {steps} steps; give an endless iterator")


def _autocast_dtype(amp: torch.dtype | None, device: torch.device) -> torch.dtype | None:
    if amp is None:
        return amp_dtype(device)
    if amp not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"amp must be torch.float32 (off), torch.bfloat16, torch.float16 or None, got {amp}")
    return None if amp == torch.float32 else amp


def _modules(parts: dict[str, Any]) -> list[nn.Module]:
    return [part for part in parts.values() if isinstance(part, nn.Module)]


def _device(parts: dict[str, Any]) -> torch.device:
    return next((p.device for module in _modules(parts) for p in module.parameters()), torch.device("cpu"))


def _finite(parts: dict[str, Any]) -> bool:
    checks = [p.isfinite().all() for module in _modules(parts) for p in module.parameters()]
    return not checks or bool(torch.stack(checks).all())
