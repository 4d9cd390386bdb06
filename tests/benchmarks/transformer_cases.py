"""What is timed of the transformers: GPT, BERT, ViT, T5 and BART against the models of Hugging Face transformers.

The peers have the weights of ours, no dropout, and attention by `scaled_dot_product_attention`, as ours have.
"""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.metrics.speed import count_flops
from genai_utils.transformer import published_bert
from genai_utils.transformer.bart import BART
from genai_utils.transformer.beam import beam_search
from genai_utils.transformer.bert import BERT
from genai_utils.transformer.decoding import write_tokens
from genai_utils.transformer.gpt import GPT, gpt_loss
from genai_utils.transformer.masked import mask_tokens, mlm_loss
from genai_utils.transformer.published_gpt import translate_state
from genai_utils.transformer.t5 import T5
from genai_utils.transformer.vit import ViT
from tests.benchmarks import vae_cases
from tests.benchmarks.cases import Pair
from tests.benchmarks.harness import BAR, CaseWithBar, Suite

TRAIN_BAR = 0.97  # of GPT; what a GPT without the library's generality reaches
SHORT_BAR = 0.5  # two layers: what is between the products is most of a step
GREEDY_BAR = 1.0
MASKED_BAR = 0.83  # BERT with logits at the hidden places only: 1.2 times as fast as with all of them
HIDE, END = 3, 1  # [MASK]; the end of an answer

GPT2 = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def gpt2(layers: int, heads: int, width: int, vocab: int, places: int) -> dict[str, Any]:
    sizes = {"n_layer": layers, "n_head": heads, "n_embd": width, "vocab_size": vocab, "n_positions": places}
    return GPT2 | sizes


def encoder(layers: int, heads: int, width: int) -> dict[str, Any]:
    sizes = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": width}
    return NO_DROPOUT | sizes | {"intermediate_size": 4 * width}


def t5(layers: int, heads: int, width: int, vocab: int) -> dict[str, Any]:
    return {
        "num_layers": layers, "num_heads": heads, "d_model": width, "d_kv": width // heads, "d_ff": 4 * width,
        "vocab_size": vocab, "dropout_rate": 0.0, "decoder_start_token_id": 0,
    }  # fmt: skip


def bart(layers: int, heads: int, width: int, vocab: int, places: int) -> dict[str, Any]:
    each = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}
    return {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in each.items()} | {
        "d_model": width, "vocab_size": vocab, "max_position_embeddings": places, "dropout": 0.0,
    }  # fmt: skip


SIZES = {
    "tiny": {
        "train": gpt2(2, 2, 16, 11, 12),
        "greedy": ((gpt2(2, 2, 16, 11, 32), GREEDY_BAR), (gpt2(2, 4, 32, 41, 32), SHORT_BAR)), "steps": 20,
        "bert": (encoder(2, 2, 16) | {"vocab_size": 61, "max_position_embeddings": 20}, 20),
        "vit": encoder(2, 2, 16) | {"image_size": 24, "patch_size": 8},
        "t5": t5(2, 2, 16, 61), "bart": bart(2, 2, 16, 61, 12), "answer": 10, "source": 12},
    "full": {  # GPT on 65 characters, as tiny Shakespeare has
        "train": gpt2(6, 6, 384, 65, 256),
        "greedy": ((gpt2(6, 6, 384, 65, 256), GREEDY_BAR), (gpt2(2, 2, 64, 65, 256), SHORT_BAR)), "steps": 128,
        "bert": (encoder(4, 4, 256) | {"vocab_size": 30522, "max_position_embeddings": 128}, 128),
        "vit": encoder(6, 3, 192) | {"image_size": 224, "patch_size": 16},
        "t5": t5(4, 4, 256, 32128), "bart": bart(4, 4, 256, 8192, 128), "answer": 32, "source": 64},
    "cuda": {"train": gpt2(12, 12, 768, 50257, 1024), "rows": 8},  # GPT-2 itself
}  # fmt: skip


def plan(device: torch.device, *, tiny: bool = False, with_compile: bool = True) -> Iterator[CaseWithBar]:
    """Yield the rows of one device: float32, and on a GPU GPT-2's own size in bf16, as it is and compiled."""
    size = SIZES["tiny" if tiny else "full"]

    def row(name, unit, n, work, *args, bar=BAR, bf16=False, **how):
        variant = ", bf16" * bf16 + ", compiled" * ("with_compile" in how)
        how |= {"bf16": True} if bf16 else {}
        return CaseWithBar(
            name=f"{name}, batch {n}{variant}", bar=bar, unit=unit, peak="bf16" if bf16 else "float32",
            build=lambda: work(*args, n, device, **how),
        )  # fmt: skip

    def layers(config):
        count = config.get("n_layer") or config.get("num_layers") or config.get("num_hidden_layers")
        return f"{count or config['encoder_layers']} layers of {config.get('n_embd') or wide(config)}"

    def wide(config):
        return config.get("hidden_size") or config["d_model"]

    def training(config):
        return f"GPT train step, {layers(config)}, {config['n_positions']} of {config['vocab_size']} tokens"

    yield row(training(size["train"]), "tokens", 4, gpt_step, size["train"], bar=TRAIN_BAR)
    for config, bar in size["greedy"]:
        name = f"GPT, {size['steps']} greedy tokens, {layers(config)}"
        yield row(name, "tokens", 1, gpt_greedy, config, size["steps"], bar=bar)
    config, length = size["bert"]
    name = f"BERT train step, logits of hidden words only, {layers(config)}, {length} tokens"
    yield row(name, "tokens", 8, bert_step, config, length, bar=MASKED_BAR)
    config = size["vit"]
    name = f"ViT forward, {layers(config)}, {config['image_size']} pixels, patches of {config['patch_size']}"
    yield row(name, "images", 4, vit_forward, config)
    name = f"T5, {size['answer']} tokens {{}}, {layers(size['t5'])}"
    for how, beams in (("greedy", 1), ("by 4 beams", 4)):
        yield row(name.format(how), "tokens", 4, t5_answers, size["t5"], size["source"], size["answer"], beams)
    name = f"BART forward, {layers(size['bart'])}, {size['source']} and {size['answer']} tokens"
    yield row(name, "tokens", 4, bart_forward, size["bart"], size["source"], size["answer"])
    if device.type == "cuda":
        config, n = (size["train"], 4) if tiny else (SIZES["cuda"]["train"], SIZES["cuda"]["rows"])
        for variant in [{}] + [{"with_compile": True}] * with_compile:
            yield row(training(config), "tokens", n, gpt_step, config, bf16=True, **variant)


def models(ours: type, kind: str, config_kind: str, config: dict[str, Any], device: torch.device) -> tuple[Any, Any]:
    """Return our model and transformers', both with the same random weights, in evaluation mode.

    Args:
        ours: our class, which reads the folder that theirs writes.
        kind: the peer's class.
        config_kind: that of its config.
        config: its fields.
        device: of both.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    made = getattr(transformers, config_kind)(**config)
    peer = getattr(transformers, kind)._from_config(made, attn_implementation="sdpa").eval()
    spread(peer)
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        model = ours.from_pretrained(folder)
    return model.to(device), peer.to(device)


def spread(peer: nn.Module) -> None:
    """Draw weights that keep activations near unit size and make all layers matter: a wrong cache would show."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in peer.named_parameters():
            if p.ndim == 1:
                p.add_(0.1 * torch.randn(p.shape, generator=g))  # norms about 1, biases about 0
            else:
                turned = any(part in name for part in ("c_attn", "c_proj", "c_fc"))  # GPT-2's: (in, out)
                wide = len(p) if turned else p[0].numel()
                p.copy_(torch.randn(p.shape, generator=g) * (0.3 if "shared" in name else wide**-0.5))


def gpts(config: dict[str, Any], device: torch.device) -> tuple[GPT, nn.Module]:
    return models(GPT, "GPT2LMHeadModel", "GPT2Config", config, device)


def gpt_step(
    config: dict[str, Any], n: int, device: torch.device, *, bf16: bool = False, with_compile: bool = False
) -> Pair:
    """Cross-entropy of the next tokens, backward, and one step of fused AdamW. The peer keeps no keys and values."""
    ours, peer = (model.train() for model in gpts(config, device))
    places, vocab = config["n_positions"], config["vocab_size"]
    tokens = torch.randint(vocab, (n, places + 1), generator=vae_cases._seeded()).to(device)
    x, y = tokens[:, :-1], tokens[:, 1:]
    run_ours, run_peer = vae_cases._compiled(ours, peer) if with_compile else (ours, peer)
    return vae_cases._train_pair(
        (ours, lambda model=run_ours: gpt_loss(model, (x, y))[0]),
        (peer, lambda: F.cross_entropy(run_peer(x, use_cache=False).logits.flatten(0, 1).float(), y.flatten())),
        translate_state, flops=count_flops(lambda: gpt_loss(ours, (x, y))[0].backward()), items=n * places,
        device=device, bf16=bf16,
    )  # fmt: skip


def gpt_greedy(config: dict[str, Any], steps: int, n: int, device: torch.device) -> Pair:
    """Write on from a prompt, the likeliest token each time: our cache against `generate` with its own."""
    ours, peer = gpts(config, device)
    prompt = torch.randint(config["vocab_size"], (n, 8), generator=vae_cases._seeded()).to(device)

    def run_ours():
        return write_tokens(ours.decoding(n, prompt.shape[1] + steps - 1), prompt, steps, temperature=0)

    def run_peer():
        seen = torch.ones_like(prompt)  # else the token 0 in the prompt would be taken for padding
        return peer.generate(
            prompt, attention_mask=seen, max_new_tokens=steps, do_sample=False, use_cache=True, pad_token_id=0
        )

    return _writing(run_ours, run_peer, n * steps)


def bert_step(config: dict[str, Any], length: int, n: int, device: torch.device) -> Pair:
    """Cross-entropy of the hidden words, backward, and one step of fused AdamW.

    The peer computes logits of all places, as BertForMaskedLM does; both losses are means over the same words.
    """
    ours, peer = (m.train() for m in models(BERT, "BertForMaskedLM", "BertConfig", config, device))
    g, vocab = vae_cases._seeded(), config["vocab_size"]
    tokens = torch.randint(HIDE + 1, vocab, (n, length), generator=g)
    batch = mask_tokens(tokens, vocab=vocab, hide=HIDE, special=(0, HIDE), generator=g)
    batch = type(batch)(*(part if part is None else part.to(device) for part in batch))
    labels = torch.full_like(batch.tokens, -100)
    labels.scatter_(1, batch.places, batch.targets.where(batch.chosen, -100))
    return vae_cases._train_pair(
        (ours, lambda: mlm_loss(ours, batch)[0]), (peer, lambda: peer(batch.tokens, labels=labels).loss),
        published_bert.translate_state, flops=count_flops(lambda: mlm_loss(ours, batch)[0].backward()),
        items=n * length, device=device,
    )  # fmt: skip


def vit_forward(config: dict[str, Any], n: int, device: torch.device) -> Pair:
    """From pictures to the logits of ten classes."""
    config = config | {"num_labels": 10}
    ours, peer = models(ViT, "ViTForImageClassification", "ViTConfig", config, device)
    x = (2 * torch.rand(n, 3, *2 * (config["image_size"],), generator=vae_cases._seeded()) - 1).to(device)
    return _forward(lambda: ours(x), lambda: peer(x).logits, n)


def t5_answers(config: dict[str, Any], source: int, steps: int, beams: int, n: int, device: torch.device) -> Pair:
    """Answer sources, of which one is padded, by the likeliest token or by beam search, against `generate`."""
    ours, peer = models(T5, "T5ForConditionalGeneration", "T5Config", config, device)
    with torch.no_grad():  # no answer ends early: the end has the logit 0, and many others have more
        ours.embed.weight[END] = 0
        peer.shared.weight[END] = 0
    tokens = torch.randint(END + 1, config["vocab_size"], (n, source), generator=vae_cases._seeded()).to(device)
    tokens[0, source // 2 :] = 0
    mask = tokens != 0
    start = torch.zeros_like(tokens[:, :1])

    def run_ours():
        state = ours.decoding(tokens, mask, length=steps)
        if beams == 1:
            return write_tokens(state, start, steps, temperature=0, end=END)
        return torch.cat([start, beam_search(state, start, beams, steps, end=END)[0]], dim=1)

    def run_peer():
        return peer.generate(
            tokens, attention_mask=mask.long(), max_new_tokens=steps, num_beams=beams, do_sample=False, use_cache=True
        )

    return _writing(run_ours, run_peer, n * steps)


def bart_forward(config: dict[str, Any], source: int, answer: int, n: int, device: torch.device) -> Pair:
    """Logits of every token of given answers, teacher-forced, with sources of which one is padded."""
    ours, peer = models(BART, "BartForConditionalGeneration", "BartConfig", config, device)
    tokens = torch.randint(3, config["vocab_size"], (n, source + answer), generator=vae_cases._seeded()).to(device)
    tokens, answers = tokens[:, :source], tokens[:, source:]
    tokens[0, source // 2 :] = ours.cfg.pad
    mask = tokens != ours.cfg.pad

    def run_peer():
        return peer(tokens, attention_mask=mask.long(), decoder_input_ids=answers, use_cache=False).logits

    return _forward(lambda: ours(tokens, answers, mask), run_peer, n * answer)


def _forward(run_ours: Callable[[], Tensor], run_peer: Callable[[], Tensor], items: int) -> Pair:
    run_ours, run_peer = (torch.no_grad()(run) for run in (run_ours, run_peer))
    theirs = run_peer()
    error = ((run_ours() - theirs).abs() / theirs.abs().clamp(min=1)).max().item()
    return Pair(ours=run_ours, peer=run_peer, error=error, items=items, flops=count_flops(run_ours))


def _writing(run_ours: Callable[[], Tensor], run_peer: Callable[[], Tensor], items: int) -> Pair:
    """Return the pair; its error is the share of tokens that differ."""
    tokens, theirs = run_ours(), run_peer()
    error = (tokens != theirs).float().mean().item() if tokens.shape == theirs.shape else 1.0
    return Pair(ours=run_ours, peer=run_peer, error=error, items=items, flops=count_flops(run_ours))


SUITE = Suite(
    name="transformer", result="bench_transformer", plan=plan, seconds=30, libraries=("torch", "transformers"),
    sources=(
        *(f"genai_utils/transformer/{name}.py" for name in (
            "bart", "beam", "bert", "decoding", "gpt", "masked", "seq2seq", "t5", "vit")),
        *(f"genai_utils/nn/{name}.py" for name in ("attention", "embed", "norm")),
        *(f"tests/benchmarks/{name}.py" for name in ("transformer_cases", "vae_cases")),
    ),
)  # fmt: skip
