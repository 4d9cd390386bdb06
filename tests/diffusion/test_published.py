"""Reading published folders without the library that wrote them: translation, errors, and a local server as the Hub."""

import hashlib
import http.server
import json
import pickle
import threading

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.diffusion.published import CONFIG, PICKLE, WEIGHTS, read_unet2d, translate_config
from genai_utils.diffusion.unet import PRESETS, UNet, UNetConfig

# The config.json of google/ddpm-cifar10-32, and a narrow and shallow one of its kind
CIFAR10 = {
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256], "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"], "downsample_padding": 0,
    "flip_sin_to_cos": False, "freq_shift": 1, "in_channels": 3, "layers_per_block": 2, "mid_block_scale_factor": 1,
    "norm_eps": 1e-06, "norm_num_groups": 32, "out_channels": 3, "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
TINY = CIFAR10 | {"block_out_channels": [4, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 2, "sample_size": 8}


def theirs(ours):
    """Return our state dict under the names of the published file, one tensor at a time and by hand."""
    state = {}
    for name, value in ours.items():
        name = name.replace("time.0.", "time_embedding.linear_1.").replace("time.2.", "time_embedding.linear_2.")
        for part, block in (("down", "down_blocks"), ("up", "up_blocks"), ("mid", "mid_block")):
            name = f"{block}{name.removeprefix(part)}" if name.startswith(f"{part}.") else name
        name = name.replace(".blocks.", ".resnets.").replace(".emb.", ".time_emb_proj.")
        name = name.replace(".skip.", ".conv_shortcut.").replace(".attention.", ".attentions.")
        name = name.replace("norm_out.", "conv_norm_out.").replace(".norm.", ".group_norm.")
        name = name.replace(".resample.", f".{name.split('_')[0]}samplers.0.").replace(".out.", ".proj_attn.")
        if ".qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3)):
                state[name.replace("qkv", part)] = piece.clone()
        else:
            state[name] = value.clone()
    return state


@pytest.fixture
def folder(tmp_path):
    """A folder as published, and the U-Net whose weights it holds."""
    torch.manual_seed(0)
    model = UNet(translate_config(TINY)).eval()
    write(tmp_path, TINY, theirs(model.state_dict()))
    return tmp_path, model


def write(path, config, state):
    path.mkdir(exist_ok=True)
    (path / CONFIG).write_text(json.dumps(config))
    save_file(state, path / WEIGHTS)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_published_config_of_ddpm_cifar10_is_our_preset():
    assert translate_config(CIFAR10) == PRESETS["cifar10"]


def test_config_of_absent_fields_takes_the_defaults_of_the_library_that_wrote_it():
    assert translate_config({"sample_size": [64, 64]}) == UNetConfig(
        side=64, channels=3, widths=(224, 448, 672, 896), attention=(False, True, True, True), blocks=2, head_dim=8,
        groups=32, eps=1e-5, freq_shift=0.0, cos_first=True, symmetric_down=True)  # fmt: skip


def test_published_folder_gives_back_every_tensor(folder):
    path, model = folder
    cfg, state = read_unet2d(path)
    assert cfg == model.cfg and same(state, model.state_dict())
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0, 999])
    loaded = UNet.from_pretrained(str(path))
    assert not loaded.training and torch.equal(loaded(x, t), model(x, t))


def test_pipeline_folder_is_read_from_its_unet(folder, tmp_path_factory):
    path, model = folder
    pipeline = tmp_path_factory.mktemp("pipeline")
    write(pipeline / "unet", TINY, theirs(model.state_dict()))
    (pipeline / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
    assert same(read_unet2d(pipeline)[1], model.state_dict())


def test_half_precision_weights_are_read_as_float32(folder):
    path, model = folder
    save_file({k: v.half() for k, v in theirs(model.state_dict()).items()}, path / WEIGHTS)
    _, state = read_unet2d(path)
    assert {v.dtype for v in state.values()} == {torch.float32}


def test_safetensors_come_before_pickles_and_pickles_run_no_code(folder):
    path, model = folder

    class Bomb:
        def __reduce__(self):
            return (open, (str(path / "exploded"), "w"))

    (path / PICKLE).write_bytes(pickle.dumps({"conv_in.weight": Bomb()}, protocol=2))
    assert same(read_unet2d(path)[1], model.state_dict())
    (path / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="cannot be read as tensors"):
        read_unet2d(path)
    assert not (path / "exploded").exists()
    torch.save(theirs(model.state_dict()), path / PICKLE)
    assert same(read_unet2d(path)[1], model.state_dict())


@pytest.mark.parametrize("changes, message", [
    ({"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"]},
     "down_block_types is 'CrossAttnDownBlock2D', but this U-Net supports only DownBlock2D or AttnDownBlock2D"),
    ({"up_block_types": ["UpBlock2D", "SkipUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]}, "SkipUpBlock2D"),
    ({"up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"]}, "mirror image"),
    ({"block_out_channels": [4, 8, 8]}, "down_block_types .* 3 entries"),
    ({"act_fn": "gelu"}, "act_fn is 'gelu', but this U-Net supports only 'silu' or 'swish'"),
    ({"time_embedding_type": "fourier"}, "time_embedding_type is 'fourier'"),
    ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift is 'scale_shift'"),
    ({"center_input_sample": True}, "center_input_sample is True"),
    ({"mid_block_scale_factor": 1.4142}, "mid_block_scale_factor is 1.4142"),
    ({"mid_block_type": None}, "mid_block_type is None"),
    ({"downsample_type": "resnet"}, "downsample_type is 'resnet'"),
    ({"upsample_type": "resnet"}, "upsample_type is 'resnet'"),
    ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
    ({"add_attention": False}, "add_attention is False"),
    ({"attn_norm_num_groups": 4}, "attn_norm_num_groups is 4, but .* norm_num_groups"),
    ({"time_embedding_dim": 99}, "time_embedding_dim is 99, but .* 16"),
    ({"norm_num_groups": None}, "norm_num_groups is None"),
    ({"out_channels": 6}, "out_channels is 6, but .* in_channels, which is 3"),
    ({"downsample_padding": 2}, "downsample_padding is 2"),
    ({"sample_size": [8, 16]}, r"sample_size is \[8, 16\]"),
    ({"sample_size": None}, "sample_size is None"),
    ({"_class_name": "UNet2DConditionModel"}, "describes a UNet2DConditionModel; only UNet2DModel"),
    ({"cross_attention_dim": 768}, "fields unknown to this reader: cross_attention_dim"),
])  # fmt: skip
def test_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        translate_config(TINY | changes)


def test_config_fields_that_change_nothing_here_are_accepted():
    extra = {"dropout": 0.1, "act_fn": "swish", "num_train_timesteps": None, "class_embed_type": None, "new": None}
    assert translate_config(TINY | extra) == translate_config(TINY)


def test_tensors_that_do_not_fit_the_config_are_listed(folder):
    path, model = folder
    state = theirs(model.state_dict())
    state["mid_block.extra.weight"] = state.pop("conv_in.weight")
    del state["down_blocks.1.attentions.0.key.bias"]
    state["conv_out.bias"] = torch.zeros(7)
    save_file(state, path / WEIGHTS)
    with pytest.raises(ValueError) as caught:
        read_unet2d(path)
    message = str(caught.value)
    assert "missing: conv_in.weight, down.1.attention.0.qkv.bias;" in message
    assert "surplus: down.1.attention.0.to_q.bias, down.1.attention.0.to_v.bias, mid.extra.weight;" in message
    assert "wrong shape: conv_out.bias is (7,), not (3,)" in message


def test_missing_files_and_folders_are_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="no folder ./nowhere/at/all"):
        read_unet2d("./nowhere/at/all")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="no config.json in .*empty.* it holds: nothing"):
        read_unet2d(empty)
    (folder[0] / WEIGHTS).rename(folder[0] / "model.pt")
    with pytest.raises(FileNotFoundError, match=f"neither {WEIGHTS} nor {PICKLE}; it holds: config.json, .*model.pt"):
        read_unet2d(folder[0])


def test_truncated_weights_are_a_clear_error(folder):
    path, _ = folder
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read as tensors; download it again"):
        read_unet2d(path)


# The Hub, played by a local server


class Hub(http.server.BaseHTTPRequestHandler):
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_GET(self):
        self.server.requests.append(f"{self.command} {self.path}")
        path, _, _ = self.path.partition("?")
        files = self.server.files
        if path.startswith("/api/models/owner/name/tree/"):
            rows = [{"type": "file", "path": n, "size": len(b), "oid": self.etag(b)} for n, b in files.items()]
            return self.answer(json.dumps(rows).encode(), "application/json")
        if path.startswith("/api/models/owner/name"):
            info = {"id": "owner/name", "sha": self.commit, "siblings": [{"rfilename": n} for n in files]}
            return self.answer(json.dumps(info).encode(), "application/json")
        name = path.removeprefix("/owner/name/resolve/").partition("/")[2]
        if path.startswith("/owner/name/resolve/") and name in files:
            return self.answer(files[name], "application/octet-stream")
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound" if "/resolve/" in path else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    @staticmethod
    def etag(body):
        return hashlib.sha1(body).hexdigest()

    def answer(self, body, kind):
        self.send_response(200)
        for key, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("ETag", f'"{self.etag(body)}"'),
                           ("X-Repo-Commit", self.commit)):  # fmt: skip
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # this Hub is on the same machine
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.requests = {}, []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("layout", ["model", "pipeline", "pickle"])
def test_hub_repository_is_downloaded_and_read_once(layout, folder, hub, tmp_path_factory):
    path, model = folder
    if layout == "pickle":
        torch.save(theirs(model.state_dict()), path / PICKLE)
        (path / WEIGHTS).unlink()
    prefix = "unet/" if layout == "pipeline" else ""
    hub.files |= {f"{prefix}{p.name}": p.read_bytes() for p in path.iterdir() if p.is_file()}
    hub.files |= {"README.md": b"#", "other/model.safetensors": b"never fetched"}
    options = {"endpoint": f"http://127.0.0.1:{hub.server_address[1]}", "cache_dir": tmp_path_factory.mktemp("cache")}
    cfg, state = read_unet2d("owner/name", **options)
    assert cfg == model.cfg and same(state, model.state_dict())
    fetched = [r for r in hub.requests if r.startswith("GET") and "/resolve/" in r]
    assert len(fetched) == 2 and not any("README" in r or "other" in r for r in fetched)
    assert same(UNet.from_pretrained("owner/name", **options, local_files_only=True).state_dict(), state)


def test_hub_repository_that_does_not_exist_is_named(hub, tmp_path):
    with pytest.raises(Exception, match="nobody/nothing"):
        read_unet2d("nobody/nothing", endpoint=f"http://127.0.0.1:{hub.server_address[1]}", cache_dir=tmp_path)
