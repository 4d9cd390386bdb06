import hashlib
import json
import os
import pickle
import shutil
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from genai_utils.data import ByteBPE, CharTokenizer, Unigram, WordPiece
from genai_utils.weights import load_tensors, load_tokenizer, load_weights, registry, save_weights
from genai_utils.weights.loader import FOLDER


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    widths: tuple[int, ...] = (3, 4)
    bias: bool = True


class Tiny(nn.Module):
    Config = TinyConfig

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.layer = nn.Linear(*cfg.widths, bias=cfg.bias)
        self.norm = nn.BatchNorm1d(cfg.widths[1])  # has an integer buffer

    def forward(self, x):
        return self.norm(self.layer(x))


class Other(Tiny):
    pass


@pytest.fixture
def folder(tmp_path):
    shutil.copy(FOLDER / "LICENSES.md", tmp_path)
    return tmp_path


def save(folder, model=None, name="tiny-toys", **kw):
    torch.manual_seed(0)
    model = Tiny(TinyConfig(widths=(5, 2))) if model is None else model
    given = dict(command="python recipe.py", data="toys", terms="MIT", seed=0, score={"nats": 1.5}, hardware="a CPU")
    save_weights(name, model, folder=folder, **given | kw)
    return model


def test_load_weights_returns_the_model_that_was_saved(folder):
    model = save(folder)
    loaded = load_weights("tiny-toys", Tiny, folder=folder)
    assert loaded.cfg == TinyConfig(widths=(5, 2)) and isinstance(loaded.cfg.widths, tuple) and not loaded.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values()))


def test_half_precision_storage_is_smaller_and_loads_as_float32(folder):
    model = save(folder, dtype=torch.float16)
    loaded = load_weights("tiny-toys", Tiny, folder=folder).state_dict()
    for key, t in model.state_dict().items():
        assert loaded[key].dtype == t.dtype
        assert torch.equal(loaded[key], t.half().float() if t.is_floating_point() else t)


def test_load_tensors_returns_what_was_saved(folder):
    tensors = {"mean": torch.randn(4), "count": torch.tensor(7)}
    save(folder, tensors, name="toys-features")
    loaded = load_tensors("toys-features", folder=folder)
    assert loaded.keys() == tensors.keys() and all(torch.equal(loaded[k], tensors[k]) for k in tensors)
    with pytest.raises(ValueError, match=r"holds tensors \(see load_tensors\), not a Tiny"):
        load_weights("toys-features", Tiny, folder=folder)


@pytest.mark.parametrize("tokenizer", [
    CharTokenizer("ab \n"), WordPiece.of("ab ba"),
    ByteBPE.train("ab abba\n" * 3, vocab=260, specials=["<|endoftext|>"]),
    Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -0.1), ("ab", -2.0 / 3), ("b", -1.5)]),
], ids=lambda t: type(t).__name__)  # fmt: skip
def test_load_tokenizer_returns_the_one_that_was_saved_with_the_weights(folder, tokenizer):
    save(folder, tokenizer=tokenizer)
    loaded, text = load_tokenizer("tiny-toys", folder=folder), "ab abba\nba"
    assert type(loaded) is type(tokenizer) and loaded.vocab == tokenizer.vocab
    assert torch.equal(loaded.encode(text), tokenizer.encode(text))
    assert loaded.decode(loaded.encode(text)) == tokenizer.decode(tokenizer.encode(text))
    assert load_weights("tiny-toys", Tiny, folder=folder)  # which a tokenizer leaves alone


def test_load_tokenizer_names_the_weights_that_have_one(folder):
    save(folder)
    assert "tokenizer" not in registry(folder)["tiny-toys"]
    with pytest.raises(ValueError, match="'tiny-toys' has no tokenizer; there is one with no weights"):
        load_tokenizer("tiny-toys", folder=folder)
    save(folder, name="tiny-text", tokenizer=CharTokenizer("ab"))
    with pytest.raises(ValueError, match="there is one with tiny-text"):
        load_tokenizer("tiny-toys", folder=folder)
    entries = registry(folder)
    entries["tiny-text"]["tokenizer"]["kind"] = "Morse"
    (folder / "registry.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="unknown kind 'Morse'; known: CharTokenizer"):
        load_tokenizer("tiny-text", folder=folder)


def test_tied_and_compiled_weights_are_stored_under_plain_names(folder):
    model = Tiny(TinyConfig())
    model.again = model.layer
    save(folder, torch.compile(model, backend="eager"))
    loaded = load_tensors("tiny-toys", folder=folder)
    assert loaded.keys() == model.state_dict().keys() and torch.equal(loaded["again.weight"], loaded["layer.weight"])


def test_saving_twice_gives_the_same_bytes_and_keeps_other_entries(folder):
    save(folder, name="b-toys")
    model = save(folder)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    save(folder, model)
    assert first == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert list(json.loads(first["registry.json"])) == ["b-toys", "tiny-toys"]
    entry = registry(folder)["tiny-toys"]
    assert (entry["class"], entry["score"]) == ("Tiny", {"nats": 1.5})
    assert entry["config"] == {"widths": [5, 2], "bias": True}


def test_unknown_name_lists_the_names(folder):
    save(folder)
    with pytest.raises(ValueError, match="there are no weights 'unet'; there are tiny-toys"):
        load_weights("unet", Tiny, folder=folder)


def test_other_class_is_refused(folder):
    save(folder)
    with pytest.raises(ValueError, match="'tiny-toys' holds a Tiny, not a Other"):
        load_weights("tiny-toys", Other, folder=folder)


def test_changed_byte_is_refused_before_it_is_parsed(folder):
    save(folder)
    path = folder / "tiny-toys.safetensors"
    for position in (0, 20, -1):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not the file that was registered: its sha256 is"):
            load_weights("tiny-toys", Tiny, folder=folder)


def test_truncated_file_is_refused(folder):
    save(folder)
    path = folder / "tiny-toys.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"is truncated: \d+ of \d+ bytes"):
        load_weights("tiny-toys", Tiny, folder=folder)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        load_weights("tiny-toys", Tiny, folder=folder)


class Payload:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("dump", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))])
def test_pickle_is_refused_and_never_run_even_with_the_right_hash(folder, dump):
    save(folder)
    path = folder / "tiny-toys.safetensors"
    dump(Payload(str(folder / "ran")), path)
    entries = registry(folder)
    content = path.read_bytes()
    entries["tiny-toys"] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "registry.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="is a pickle, which can run code"):
        load_weights("tiny-toys", Tiny, folder=folder)
    assert not (folder / "ran").exists()


def test_shape_mismatch_names_the_tensors(folder):
    save(folder, config={"widths": [5, 3], "bias": False})
    with pytest.raises(ValueError) as caught:
        load_weights("tiny-toys", Tiny, folder=folder)
    assert "layer.bias is not in the model" in str(caught.value)
    assert "layer.weight is (2, 5) in the file, (3, 5) in the model" in str(caught.value)


def test_file_outside_the_folder_is_never_read(folder):
    save(folder)
    entries = registry(folder)
    entries["tiny-toys"]["file"] = "../elsewhere/tiny-toys.safetensors"
    (folder / "registry.json").write_text(json.dumps(entries))
    load_weights("tiny-toys", Tiny, folder=folder)  # the name counts, its folder does not


@pytest.mark.parametrize(
    "kw, message",
    [
        ({"name": "Tiny"}, "lower-case letters, digits and hyphens"),
        ({"name": "../tiny"}, "lower-case letters, digits and hyphens"),
        ({"terms": "unheard of"}, "LICENSES.md names no terms 'unheard of'"),
        ({"dtype": torch.bfloat16}, "dtype must be"),
        ({"model": {"x": torch.tensor([1e5])}, "dtype": torch.float16}, "x has values that are not finite in"),
        ({"model": {"x": torch.tensor([float("nan")])}}, "x has values that are not finite in"),
        ({"model": {"x": torch.zeros(2**21 + 1)}}, "more than 8,388,608; store float16"),
        ({"score": {"nats": float("nan")}}, "not JSON compliant"),
        ({"tokenizer": "gpt2"}, "tokenizer must be one of CharTokenizer, ByteBPE, WordPiece, Unigram, got str"),
    ],
)
def test_save_weights_refuses_and_writes_nothing(folder, kw, message):
    with pytest.raises(ValueError, match=message):
        save(folder, **kw)
    assert [path.name for path in folder.iterdir()] == ["LICENSES.md"]
