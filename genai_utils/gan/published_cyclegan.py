"""Read networks trained by the authors' PyTorch code (pytorch-CycleGAN-and-pix2pix) into `cyclegan`.

Its files hold a state dict each, `<epoch>_net_<part>.pth`, and no config: sizes are read off the shapes. Parts of a
training are G_A (A to B), G_B (B to A), D_A and D_B; D_A judges what G_A makes, so it is our discriminator of domain B.
A published translator alone is part G.

Sources: layout of ResnetGenerator (resnet_9blocks, resnet_6blocks) and NLayerDiscriminator in that repository;
         [CYCLE] Zhu et al. 2017, arXiv:1703.10593, Appendix 7.2.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from genai_utils.gan.cyclegan import PRESETS, CycleGANConfig, PatchDiscriminator, ResNetGenerator
from genai_utils.weights import hub as published

# Statistics that instance norms of files from before torch 0.4 carry; the networks never used them
UNUSED = re.compile(r"\.(running_mean|running_var|num_batches_tracked)$")
PARTS = {  # of a training -> of our CycleGAN
    "G_A": "generators.a_to_b", "G_B": "generators.b_to_a", "D_A": "discriminators.b", "D_B": "discriminators.a",
}  # fmt: skip


def read_generator(
    source: str | Path | Mapping[str, Tensor], *, part: str = "G", epoch: str = "latest"
) -> tuple[CycleGANConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published translator, ready for `ResNetGenerator(cfg)`.

    The biases of convolutions that an instance norm follows are left out: the norm takes them away. What the config
    says of discriminators and losses is the published preset.

    Args:
        source: a folder that holds `<epoch>_net_<part>.safetensors` or, as published, `.pth`; or the tensors by name.
        part: "G" of a published translator, "G_A" (A to B) or "G_B" (B to A) of a training.
        epoch: which file of several; "latest", or a number.
    Raises:
        ValueError: the tensors are of another architecture (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or it has neither file.
    """
    theirs, where = _tensors(source, part, epoch)
    names = translate_generator(theirs)
    first, last = theirs.get("model.1.weight"), names.get("leave.0.weight")
    if first is None or last is None or first.ndim != 4 or not any(k.startswith("blocks.") for k in names):
        raise ValueError(f"{where} is no ResNet generator (model.1 and blocks of conv_block); it holds {_some(theirs)}")
    if len(last) != first.shape[1]:
        raise ValueError(f"{where} takes {first.shape[1]} channels and gives {len(last)}; both domains need the same")
    blocks = len({k.split(".")[1] for k in names if k.startswith("blocks.")})
    cfg = replace(PRESETS["published"], channels=first.shape[1], width=len(first), blocks=blocks)
    return cfg, _fit(names, ResNetGenerator, cfg, where)


def read_discriminator(
    source: str | Path | Mapping[str, Tensor], *, part: str = "D_A", epoch: str = "latest"
) -> tuple[CycleGANConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a PatchGAN, ready for `PatchDiscriminator(cfg)`.

    Args, Raises: as for `read_generator`; parts are "D_A", which judges pictures of domain B, and "D_B".
    """
    theirs, where = _tensors(source, part, epoch)
    names = {k.replace("model.", "body.", 1): v.float() for k, v in theirs.items()}
    weights = [k for k, v in names.items() if k.endswith(".weight") and v.ndim == 4]
    first = names.get("body.0.weight")
    if first is None or first.ndim != 4 or len(weights) < 3:
        raise ValueError(f"{where} is no PatchGAN of 4x4 convolutions from model.0 on; it holds {_some(theirs)}")
    cfg = replace(PRESETS["published"], channels=first.shape[1], d_width=len(first), d_layers=len(weights) - 2)
    return cfg, _fit(names, PatchDiscriminator, cfg, where)


def read_cyclegan(folder: str | Path, *, epoch: str = "latest") -> tuple[CycleGANConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of all four networks of a training, ready for `CycleGAN(cfg)`.

    Args, Raises: as for `read_generator`; the folder holds the parts G_A, G_B, D_A and D_B.
    """
    state, sizes = {}, {}
    for part, ours in PARTS.items():
        kind = part[0]
        cfg, tensors = (read_generator if kind == "G" else read_discriminator)(folder, part=part, epoch=epoch)
        if sizes.setdefault(kind, cfg) != cfg:
            raise ValueError(f"{folder}: {part} has other sizes than {kind}_A ({cfg}, {sizes[kind]})")
        state |= {f"{ours}.{k}": v for k, v in tensors.items()}
    g, d = sizes["G"], sizes["D"]
    if g.channels != d.channels:
        raise ValueError(f"{folder}: translators have {g.channels} channels, discriminators {d.channels}")
    return replace(g, d_width=d.d_width, d_layers=d.d_layers), state


def translate_generator(theirs: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors of a ResNet generator under our names, as `dtype`; names that it does not know stay.

    Their list counts every layer, those without weights too: what follows n blocks has numbers from 10 + n on.
    """
    blocks = {int(m[1]) for k in theirs if (m := re.match(r"model\.(\d+)\.conv_block\.", k))}
    last = 10 + len(blocks)
    ours = {1: "enter.0", 4: "down.0", 7: "down.3", last: "up.0", last + 3: "up.3", last + 7: "leave.0"}
    state = {}
    for name, tensor in theirs.items():
        if m := re.fullmatch(r"model\.(\d+)\.conv_block\.(1|5|6)\.(\w+)", name):  # 6 where a dropout stands between
            name = f"blocks.{int(m[1]) - 10}.body.{0 if m[2] == '1' else 3}.{m[3]}"
        elif (m := re.fullmatch(r"model\.(\d+)\.(\w+)", name)) and int(m[1]) in ours:
            name = f"{ours[int(m[1])]}.{m[2]}"
        state[name] = tensor.to(dtype)
    return state


def _tensors(source: str | Path | Mapping[str, Tensor], part: str, epoch: str) -> tuple[dict[str, Tensor], str]:
    """Return tensors by name and what to call their source in a message."""
    if isinstance(source, Mapping):
        tensors, where = dict(source), "the state dict"
    else:
        folder = Path(source)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}; give the one that holds {epoch}_net_{part}.pth")
        stem = f"{epoch}_net_{part}"
        tensors, where = published.read_tensors(folder, (f"{stem}.safetensors", f"{stem}.pth")), f"{folder}/{stem}"
    tensors = {k.removeprefix("module."): v for k, v in tensors.items()}  # saved from DataParallel
    return {k: v for k, v in tensors.items() if not UNUSED.search(k)}, where


def _fit(state: dict[str, Tensor], cls: type[nn.Module], cfg: CycleGANConfig, where: str) -> dict[str, Tensor]:
    """Return the tensors without biases that a norm takes away, or say which do not fit."""
    with torch.device("meta"):
        wanted = cls(cfg).state_dict()
    spare = {k for k in state if k.endswith(".bias") and k not in wanted and k[: -len("bias")] + "weight" in wanted}
    state = {k: v for k, v in state.items() if k not in spare}
    problems = [f"missing: {_some(wanted.keys() - state.keys())}"] if wanted.keys() - state.keys() else []
    if surplus := state.keys() - wanted.keys():
        problems.append(f"surplus: {_some(surplus)}")
    if bad := [k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape]:
        problems.append(f"wrong shape: {_some(f'{k} {tuple(state[k].shape)}' for k in bad)}")
    if problems:
        raise ValueError(f"the tensors in {where} do not fit {cls.__name__} with {cfg}; {'; '.join(problems)}")
    return state


def _some(names, most: int = 8) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
