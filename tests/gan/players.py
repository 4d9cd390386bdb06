"""Who gives a gradient to whom: what the tests of every game ask of its step."""

import torch

from genai_utils.core import seed_all
from genai_utils.data.sets import ImageSet


def gradient_events(model, step, batch):
    """Return the names of the parameters that got a gradient in one step, in order, with repetitions."""
    events, hooks = [], []
    for name, p in model.named_parameters():
        hooks.append(p.register_post_accumulate_grad_hook(lambda p, name=name: events.append((name, p.grad.norm()))))
    step(batch)
    for hook in hooks:
        hook.remove()
    return [name for name, norm in events if norm > 0], {name for name, norm in events if not norm > 0}


def randomise(model, seed=0, scale=0.3):
    """Draw every parameter anew, so that none is zero or equal to another."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p + scale * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return model


def noise_images(side, channels=1, n=12):
    """Return a set of random images, (n, channels, side, side) bytes."""
    g = torch.Generator().manual_seed(1)
    images = torch.randint(256, (n, channels, side, side), dtype=torch.uint8, generator=g)
    return ImageSet("noise", images, torch.zeros(n, dtype=torch.int64), ("noise",))


def tensors(parts):
    """Return every tensor of the models and averages among a step's parts, by name, copied."""
    return {
        f"{name}.{key}": value.clone()
        for name, part in parts.items()
        if name in ("model", "ema")
        for key, value in getattr(part, "model", part).state_dict().items()
    }


def resumes_exactly(train, tmp_path):
    """Assert that train(5), then train(10) from its file, ends as train(10) at once; return the tensors compared.

    train(steps, checkpoint) seeds, builds, fits and returns `tensors(step.parts)`.
    """
    seed_all(0)
    whole = train(10, None)
    seed_all(0)
    half = train(5, tmp_path / "run.pt")
    seed_all(7)  # what a checkpoint does not restore would now show
    resumed = train(10, tmp_path / "run.pt")
    assert whole.keys() == resumed.keys() and any(name.startswith("ema.") for name in whole)
    wrong = [name for name in whole if not whole[name].equal(resumed[name])]
    assert not wrong, wrong
    assert any(not whole[name].equal(half[name]) for name in whole if name.startswith("model.generator"))
    return whole
