"""Our networks against the published architecture at equal weights, written here from the paper's appendix.

The reference counts its layers as the authors' list does, so that its names are those of published files.
"""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from genai_utils.gan.cyclegan import CycleGAN, PatchDiscriminator, ResNetGenerator, patch_side
from genai_utils.gan.published_cyclegan import (
    UNUSED,
    read_cyclegan,
    read_discriminator,
    read_generator,
    translate_generator,
)

FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


class Norm(nn.Module):
    """Instance norm, spelt out: each map of each picture to mean 0 and variance 1."""

    def forward(self, x):
        mean = x.mean((2, 3), keepdim=True)
        variance = (x - mean).square().mean((2, 3), keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()


class Block(nn.Module):
    """R<k> of Appendix 7.2: two 3x3 convolutions on a reflected border, added to what came in."""

    def __init__(self, k, dropout):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), Norm()]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), Norm()]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *again)

    def forward(self, x):
        return x + self.conv_block(x)


class Reference(nn.Module):
    """Of layers in a list called `model`."""

    def __init__(self, *layers):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


def appendix_generator(channels=3, k=4, blocks=9, dropout=False):
    """c7s1-k, d2k, d4k, R4k for each block, u2k, uk, c7s1-channels; a bias in every convolution, as in the files."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels, k, 7), Norm(), nn.ReLU()]
    for width in (k, 2 * k):
        layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), Norm(), nn.ReLU()]
    layers += [Block(4 * k, dropout) for _ in range(blocks)]
    for width in (4 * k, 2 * k):
        up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
        layers += [up, Norm(), nn.ReLU()]
    return Reference(*layers, nn.ReflectionPad2d(3), nn.Conv2d(k, channels, 7), nn.Tanh())


def appendix_discriminator(channels=3, k=4, halvings=3):
    """C<k>, C<2k>, C<4k>, C<8k> and a last convolution to one score; no norm in the first, slope 0.2 throughout."""
    layers, width = [nn.Conv2d(channels, k, 4, stride=2, padding=1), nn.LeakyReLU(0.2)], k
    for n in range(1, halvings + 1):
        wider = k * min(2**n, 8)
        stride = 2 if n < halvings else 1
        layers += [nn.Conv2d(width, wider, 4, stride=stride, padding=1), Norm(), nn.LeakyReLU(0.2)]
        width = wider
    return Reference(*layers, nn.Conv2d(width, 1, 4, stride=1, padding=1))


def randomise(model, seed=0):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (0.3 if p.ndim == 1 else p[0].numel() ** -0.5))
    return model.eval()


def generators(blocks=9, dtype=torch.float32, **sizes):
    """Return (theirs, ours, x)."""
    theirs = randomise(appendix_generator(blocks=blocks, **sizes)).to(dtype)
    ours = ResNetGenerator.from_pretrained(theirs.state_dict()).to(dtype)
    return theirs, ours.requires_grad_(), pictures(sizes.get("channels", 3), dtype)


def pictures(channels=3, dtype=torch.float32):
    return torch.rand(2, channels, 24, 32, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


@pytest.mark.parametrize("sizes", [{}, {"blocks": 6, "channels": 1, "k": 6}], ids=["nine blocks", "six, grey"])
def test_generator_equals_the_published_architecture_in_float32(sizes, record_property):
    theirs, ours, x = generators(**sizes)
    with torch.no_grad():
        y, wanted = ours(x), theirs(x)
    assert wanted.std() > 0.1 and wanted.abs().max() < 1  # not saturated
    record_property("float32 error", error(y, wanted))
    assert error(y, wanted) <= FLOAT32


def exact(theirs):
    """Return ours with their float64 weights: a file is read as float32."""
    ours = ResNetGenerator.from_pretrained(theirs.state_dict()).double()
    wanted = translate_generator(theirs.state_dict(), torch.float64)
    ours.load_state_dict({k: wanted[k] for k in ours.state_dict()})
    return ours


@pytest.mark.parametrize("sizes", [{}, {"blocks": 6, "channels": 1, "k": 6}], ids=["nine blocks", "six, grey"])
def test_generator_and_its_gradients_equal_the_published_architecture_in_float64(sizes, record_property):
    theirs, _, x = generators(**sizes, dtype=torch.float64)
    ours = exact(theirs)
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, wanted = ours(x_ours), theirs(x_theirs)
    weight = torch.randn(y.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    (weight * y).sum().backward()
    (weight * wanted).sum().backward()
    gradients = translate_generator({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    errors = {"output": error(y, wanted), "gradient of x": error(x_ours.grad, x_theirs.grad)}
    errors["gradient of parameters"] = max(error(p.grad, gradients[k]) for k, p in ours.named_parameters())
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert max(errors.values()) <= FLOAT64, errors
    left_out = gradients.keys() - dict(ours.named_parameters()).keys()
    assert left_out == {k for k in gradients if k.endswith(".bias")} - {"leave.0.bias"}
    assert max(gradients[k].abs().max().item() for k in left_out) < 1e-9  # they never mattered


@pytest.mark.parametrize("halvings", [1, 3, 4])
def test_discriminator_equals_the_published_architecture(halvings, record_property):
    theirs = randomise(appendix_discriminator(halvings=halvings))
    x = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    cfg, state = read_discriminator(theirs.state_dict())
    assert (cfg.d_layers, cfg.d_width, cfg.channels) == (halvings, 4, 3)
    ours = PatchDiscriminator(cfg)
    ours.load_state_dict(state)
    with torch.no_grad():
        record_property("float32 error", error(ours(x), theirs(x)))
        assert error(ours(x), theirs(x)) <= FLOAT32 and theirs(x).std() > 0.1
        assert error(ours.double()(x.double()), theirs.double()(x.double())) <= FLOAT64
    assert patch_side(halvings) == {1: 16, 3: 70, 4: 142}[halvings]


def _each(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


def _reflect_nowhere(model):
    for conv in _each(model, nn.Conv2d):
        conv.padding_mode = "zeros"


def _wrong_eps(model):
    for norm in _each(model, nn.InstanceNorm2d):
        norm.eps = 1e-6


def _swap_blocks(model):
    model.blocks[0], model.blocks[1] = model.blocks[1], model.blocks[0]


def _swap_convolutions(model):
    for block in model.blocks:
        block.body[0], block.body[3] = block.body[3], block.body[0]


def _add_relu(model):
    for block in model.blocks:
        block.body.append(nn.ReLU())


def _gelu(model):
    model.enter[2] = nn.GELU()


def _even_padding(model):
    model.up[0].output_padding = (0, 0)
    model.up[0].register_forward_hook(lambda m, args, y: nn.functional.pad(y, (1, 0, 1, 0)))


PLANTED = {
    "zeros for a reflected border": _reflect_nowhere,
    "wrong eps": _wrong_eps,
    "two blocks swapped": _swap_blocks,
    "convolutions of a block swapped": _swap_convolutions,
    "ReLU after a block's second norm": _add_relu,
    "GELU for ReLU": _gelu,
    "no tanh": lambda m: m.leave.__delitem__(1),
    "no norm at the entrance": lambda m: m.enter.__setitem__(1, nn.Identity()),
    "a block missing": lambda m: m.blocks.__delitem__(8),
    "output padded at the other end": _even_padding,
    "last bias missing": lambda m: nn.init.zeros_(m.leave[0].bias),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_generator_parity_notices_a_planted_error(plant, record_property):
    theirs, _, x = generators(dtype=torch.float64)
    ours = exact(theirs)
    with torch.no_grad():
        wanted = theirs(x)
        assert error(ours(x), wanted) <= FLOAT64
        PLANTED[plant](ours)
        shifted = error(ours(x), wanted)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64


# Files


def write(folder, kind="safetensors"):
    """Write the four networks of a training and return them by the authors' names."""
    parts = {k: randomise(appendix_generator(k=4, blocks=6), seed=i) for i, k in enumerate(("G_A", "G_B"))}
    parts |= {k: randomise(appendix_discriminator(k=5, halvings=2), seed=9 + i) for i, k in enumerate(("D_A", "D_B"))}
    for name, model in parts.items():
        if kind == "pth":
            torch.save(model.state_dict(), folder / f"latest_net_{name}.pth")
        else:
            save_file(model.state_dict(), folder / f"latest_net_{name}.safetensors")
    return parts


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_whole_training_is_read_and_the_first_discriminator_judges_domain_b(kind, tmp_path):
    parts, x = write(tmp_path, kind), pictures()
    model = CycleGAN.from_pretrained(tmp_path)
    assert (model.cfg.width, model.cfg.blocks, model.cfg.d_width, model.cfg.d_layers) == (4, 6, 5, 2)
    ours = {
        "G_A": model.generators.a_to_b, "G_B": model.generators.b_to_a,
        "D_A": model.discriminators.b, "D_B": model.discriminators.a,
    }  # fmt: skip
    assert not model.training and parts.keys() == ours.keys()
    with torch.no_grad():
        for name, network in ours.items():
            assert error(network(x), parts[name](x)) <= FLOAT32, name
        assert error(model.generators.a_to_b(x), parts["G_B"](x)) > 0.1
        assert error(ResNetGenerator.from_pretrained(tmp_path, part="G_B")(x), parts["G_B"](x)) <= FLOAT32


def test_translator_of_another_epoch_is_read(tmp_path):
    theirs = randomise(appendix_generator(blocks=6), seed=4)
    torch.save(theirs.state_dict(), tmp_path / "200_net_G.pth")
    with torch.no_grad():
        assert error(ResNetGenerator.from_pretrained(tmp_path, epoch="200")(pictures()), theirs(pictures())) <= FLOAT32


def test_older_and_parallel_files_with_dropout_and_statistics_are_read():
    theirs, x = randomise(appendix_generator(blocks=6, dropout=True)), pictures()
    state = {f"module.{k}": v for k, v in theirs.state_dict().items()}
    state |= {"module.model.2.running_mean": torch.ones(4), "module.model.11.conv_block.2.running_var": torch.ones(16)}
    state["module.model.2.num_batches_tracked"] = torch.tensor(3)
    assert any(".conv_block.6." in k for k in state) and sum(bool(UNUSED.search(k)) for k in state) == 3
    with torch.no_grad():
        assert error(ResNetGenerator.from_pretrained(state)(x), theirs(x)) <= FLOAT32


def changed(model=None, drop=(), **extra):
    state = dict((model or appendix_generator(blocks=6)).state_dict())
    return {k: v for k, v in state.items() if k not in drop} | {k.replace("_", ".", 2): v for k, v in extra.items()}


@pytest.mark.parametrize("state, message", [
    (changed(drop=["model.4.weight"]), "do not fit ResNetGenerator .* missing: down.0.weight"),
    (changed(model_2_weight=torch.ones(4), model_2_bias=torch.ones(4)), "surplus: model.2.bias, model.2.weight"),
    (changed(model_7_weight=torch.zeros(16, 8, 4, 4)), r"wrong shape: down.3.weight \(16, 8, 4, 4\)"),
    (changed(drop=["model.1.weight"]), "is no ResNet generator"),
    (changed(appendix_discriminator()), "is no ResNet generator .* it holds model.0.bias"),
    (changed(model_23_weight=torch.zeros(1, 4, 7, 7)), "takes 3 channels and gives 1"),
    ({}, "the state dict is no ResNet generator"),
])  # fmt: skip
def test_tensors_of_another_architecture_are_refused(state, message):
    with pytest.raises(ValueError, match=message):
        read_generator(state)


def test_discriminators_and_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is no PatchGAN of 4x4 convolutions"):
        read_discriminator(appendix_generator().state_dict())
    with pytest.raises(ValueError, match="missing: body.2.weight"):
        read_discriminator(
            changed(appendix_discriminator(), drop=["model.2.weight"]) | {"model.20.weight": torch.ones(1, 1, 4, 4)}
        )
    with pytest.raises(FileNotFoundError, match="give the one that holds latest_net_G.pth"):
        read_generator(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="neither latest_net_G.safetensors nor latest_net_G.pth"):
        read_generator(tmp_path)
    write(tmp_path)
    save_file(appendix_generator(k=5, blocks=6).state_dict(), tmp_path / "latest_net_G_B.safetensors")
    with pytest.raises(ValueError, match="G_B has other sizes than G_A"):
        read_cyclegan(tmp_path)
    for part in ("G_A", "G_B"):
        save_file(appendix_generator(channels=1, blocks=6).state_dict(), tmp_path / f"latest_net_{part}.safetensors")
    with pytest.raises(ValueError, match="translators have 1 channels, discriminators 3"):
        read_cyclegan(tmp_path)
