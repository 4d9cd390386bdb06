"""GPT: what it must not see, what it must not lose, and what it learns."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from genai_utils.core import from_json, to_json
from genai_utils.data import load
from genai_utils.data.bpe import ByteBPE
from genai_utils.data.tales import END, ending
from genai_utils.nn import attention_maps
from genai_utils.training import adamw, make_step
from genai_utils.transformer.decoding import write_tokens
from genai_utils.transformer.gpt import PRESETS, GPT, GPTConfig, gpt_loss, log_prob
from genai_utils.weights import load_weights, save_weights
from tools.recipes.gpt import knows_last_word, over_blocks, token_nats, write_stories

TINY = GPTConfig(vocab=23, context=12, d_model=16, n_layers=3, n_heads=4)


def build(cfg=TINY, dtype=torch.float64, seed=0):
    """Return a GPT in evaluation mode whose every tensor is random: no bias is zero, no norm is one."""
    torch.manual_seed(seed)
    model = GPT(cfg).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) * (0.3 if p.ndim == 1 else p.shape[-1] ** -0.5))
    return model.to(dtype)


def draw(*shape, vocab=TINY.vocab, seed=1):
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
def test_gpt_is_as_uncertain_at_the_start_as_a_guess_among_all_tokens(name):
    torch.manual_seed(0)
    cfg = PRESETS[name]
    tokens = draw(4, 65, vocab=cfg.vocab)
    loss, _ = gpt_loss(GPT(cfg), (tokens[:, :-1], tokens[:, 1:]))
    assert abs(loss.item() - math.log(cfg.vocab)) <= 0.2


@pytest.mark.parametrize("n_layers", [1, 8])
def test_initial_weights_have_the_standard_deviations_of_gpt2(n_layers):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab=300, context=300, d_model=128, n_layers=n_layers))
    small = 0.02 / math.sqrt(2 * n_layers)
    for name, p in model.named_parameters():
        if p.ndim == 2:
            std = small if name.endswith(("out.weight", "down.weight")) else 0.02
            assert abs(p.std().item() / std - 1) < 0.05 and abs(p.mean().item()) < 4 * std / p.numel() ** 0.5, name
        else:
            assert (p == (1 if "norm" in name and name.endswith("weight") else 0)).all(), name


def test_gpt_shapes_follow_the_config():
    model = build(replace(TINY, d_hidden=10), torch.float32)
    logits = model(draw(2, 5))
    assert logits.shape == (2, 5, 23) and logits.dtype == torch.float32
    assert model.read(draw(2, 5)).shape == (2, 5, 16) and model.blocks[0].up.out_features == 10
    assert build().blocks[0].up.out_features == 64
    assert sum(p.numel() for p in GPT(PRESETS["small"]).parameters()) == 891_648


def n_parameters(cfg):
    """Count them on paper: two embeddings, 12 E^2 + 13 E in a block, the last norm, the head."""
    E = cfg.d_model
    return (cfg.vocab * (1 if cfg.tied else 2) + cfg.context + 2) * E + cfg.n_layers * (12 * E + 13) * E


def test_gpt2_presets_have_the_published_number_of_parameters():
    for cfg in (TINY, replace(TINY, tied=False), PRESETS["tiny"]):
        assert sum(p.numel() for p in GPT(cfg).parameters()) == n_parameters(cfg)
    published = {"gpt2": 124_439_808, "gpt2-medium": 354_823_168, "gpt2-large": 774_030_080, "gpt2-xl": 1_557_611_200}
    assert {name: n_parameters(PRESETS[name]) for name in published} == published


def test_logits_do_not_depend_on_later_tokens_and_do_on_every_earlier_one():
    model, tokens = build(), draw(1, 12)
    with torch.no_grad():
        logits = model(tokens)
        for place in range(12):
            other = tokens.clone()
            other[0, place] = (tokens[0, place] + 1) % TINY.vocab
            change = (model(other) - logits).abs().amax(-1)[0]
            assert (change[:place] == 0).all(), place
            assert (change[place:] > 1e-6).all(), place


def test_embedding_gradients_do_not_come_from_later_targets():
    model = build(replace(TINY, tied=False))
    tokens = torch.arange(12)[None]  # each token once: its row tells its place
    model(tokens)[0, 4].sum().backward()
    used = model.embed.weight.grad.abs().amax(1) > 0
    assert used[:5].all() and not used[5:].any()


@pytest.mark.parametrize("parts", [[12], [1] * 12, [5, 1, 1, 5], [3, 4, 5]])
def test_reading_in_parts_with_a_cache_gives_the_logits_of_reading_at_once(parts):
    model, tokens = build(), draw(2, 12)
    with torch.no_grad():
        cache = model.cache(2)
        found = torch.cat([model(part, cache) for part in tokens.split(parts, dim=1)], dim=1)
        torch.testing.assert_close(found, model(tokens), rtol=1e-12, atol=1e-12)


def test_decoding_says_what_the_whole_text_says_of_the_next_token():
    model, tokens = build(), draw(3, 12)
    state = model.decoding(3, 12)
    with torch.no_grad():
        for start, end in ((0, 4), (4, 5), (5, 9), (9, 12)):
            found = state.step(tokens[:, start:end])
            torch.testing.assert_close(found, model(tokens[:, :end])[:, -1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [[2, 0, 0], [1], [0, 1, 2, 2, 1]])
def test_reordered_decoding_goes_on_from_the_chosen_rows(rows):
    model, tokens, rows = build(), draw(3, 7), torch.tensor(rows)
    after = draw(len(rows), 2, seed=2)
    state = model.decoding(3)
    state.step(tokens)
    state.reorder(rows)
    with torch.no_grad():
        whole = model(torch.cat([tokens[rows], after], dim=1))[:, -1]
    torch.testing.assert_close(state.step(after), whole, rtol=1e-12, atol=1e-12)


def test_cache_claims_its_memory_once():
    model = build()
    state = model.decoding(2, 9)
    before = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in state.cache]
    write_tokens(state, draw(2, 3), 6, temperature=0)
    assert [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in state.cache] == before
    assert all(layer.keys.shape == (2, 4, 9, 4) for layer in state.cache)


def test_cache_has_the_dtype_of_the_keys_under_autocast():
    model = build(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        state = model.decoding(1)
        assert {layer.keys.dtype for layer in state.cache} == {torch.bfloat16}
        assert state.step(draw(1, 3)).dtype == torch.float32 and state.step(draw(1, 1)).isfinite().all()
    assert {layer.keys.dtype for layer in model.cache(1)} == {torch.float32}


def test_attention_maps_are_causal_and_leave_the_logits_as_they_are():
    model, tokens = build(), draw(2, 12)
    with torch.no_grad():
        logits = model(tokens)
        with attention_maps(model) as maps:
            torch.testing.assert_close(model(tokens), logits, rtol=1e-12, atol=1e-12)
    assert list(maps) == [f"blocks.{i}.attention" for i in range(3)]
    for (weights,) in maps.values():
        assert weights.shape == (2, 4, 12, 12) and (weights.triu(1) == 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 12, dtype=torch.float64))


@pytest.mark.parametrize("tied", [True, False])
def test_loss_is_the_naive_sum_and_skips_what_is_not_scored(tied):
    model, tokens, targets = build(replace(TINY, tied=tied)), draw(2, 6), draw(2, 6, seed=2)
    targets[0, :4] = -100
    log_p = model(tokens).log_softmax(-1)
    scored = [(b, i) for b in range(2) for i in range(6) if targets[b, i] != -100]
    naive = -sum(log_p[b, i, targets[b, i]] for b, i in scored) / len(scored)
    loss, logs = gpt_loss(model, (tokens, targets))
    torch.testing.assert_close(loss, naive)
    assert len(scored) == 8 and logs.keys() == {"nll"} and logs["nll"] == loss


def test_log_prob_is_the_sum_over_the_tokens_after_the_prompt():
    model, tokens, prompt = build(), draw(2, 5), draw(2, 3, seed=2)
    with torch.no_grad():
        found = log_prob(model, tokens, prompt)
        for b in range(2):
            text, total = torch.cat([prompt[b], tokens[b]]), 0.0
            for i in range(3, 8):
                total += F.log_softmax(model(text[None, :i])[0, -1], 0)[text[i]]
            torch.testing.assert_close(found[b], total)


def test_probabilities_of_all_texts_of_two_tokens_sum_to_one():
    model = build(replace(TINY, vocab=5))
    texts = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    with torch.no_grad():
        total = log_prob(model, texts, torch.full((25, 1), 3)).exp().sum().item()
    assert abs(total - 1) < 1e-12


@pytest.mark.parametrize("tied", [True, False])
def test_gradient_reaches_every_parameter(tied):
    model, tokens = build(replace(TINY, tied=tied)), draw(2, 12)
    gpt_loss(model, (tokens, tokens.roll(-1, 1)))[0].backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 1e-9, name
    assert (model.positions.weight.grad.abs().amax(1) > 0).all()  # all of the context was used


def test_tied_model_holds_no_second_matrix():
    tied, untied = GPT(TINY), GPT(replace(TINY, tied=False))
    assert untied.state_dict().keys() - tied.state_dict().keys() == {"head.weight"}
    assert not tied.state_dict().keys() - untied.state_dict().keys()


def test_gpt_learns_one_batch():
    torch.manual_seed(0)
    model, tokens = GPT(TINY), draw(4, 13)
    step = make_step(model, gpt_loss, adamw(model, 1e-2), amp=torch.float32)
    losses = [step((tokens[:, :-1], tokens[:, 1:]))["loss"].item() for _ in range(80)]
    assert losses[0] > 3 and losses[-1] < 0.1


@pytest.mark.parametrize("field", ["dropout", "embed_dropout", "attention_dropout"])
def test_dropout_acts_in_training_only(field):
    model, tokens = build(replace(TINY, **{field: 0.5})), draw(1, 6)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_config_becomes_json_and_comes_back():
    for cfg in PRESETS.values():
        assert from_json(GPTConfig, to_json(cfg)) == cfg
    with pytest.raises(ValueError, match="GPTConfig has no field rotary; its fields are attention_dropout"):
        from_json(GPTConfig, '{"rotary": true}')


@pytest.mark.parametrize("tokens, message", [
    (torch.zeros(1, 13, dtype=torch.int64), "13 tokens are more than the context of 12"),
    (torch.tensor([[3, 23]]), r"tokens must be in \[0, 23\), got 23"),
    (torch.tensor([[-1, 2]]), r"tokens must be in \[0, 23\), got -1"),
    (torch.zeros(0, 4, dtype=torch.int64), r"at least one row and one token, got \(0, 4\)"),
    (torch.zeros(2, 0, dtype=torch.int64), r"at least one row and one token, got \(2, 0\)"),
    (torch.zeros(4, dtype=torch.int64), r"must be \(B, T\) int64, .* got \(4,\) torch.int64"),
    (torch.zeros(1, 4), r"must be \(B, T\) int64, .* torch.float32"),
])  # fmt: skip
def test_gpt_refuses_tokens_that_do_not_fit(tokens, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        model(tokens)
    with pytest.raises(ValueError, match=message):
        model.decoding(1).step(tokens)


def test_gpt_refuses_more_than_the_cache_or_the_context_hold():
    model = build()
    state = model.decoding(1, 5)
    state.step(draw(1, 4))
    with pytest.raises(ValueError, match="the cache has 5 places, not 6"):
        state.step(draw(1, 2))
    state = model.decoding(1)
    state.step(draw(1, 10))
    with pytest.raises(ValueError, match="3 tokens after the 10 that were read are more than the context of 12"):
        state.step(draw(1, 3))
    with pytest.raises(ValueError, match="the cache has 3 rows, not 1; ask for one of 1"):
        model.decoding(3).step(draw(1, 2))
    for batch, length in ((0, 4), (1, 0), (1, 13)):
        with pytest.raises(ValueError, match=f"got batch={batch}, length={length}"):
            model.decoding(batch, length)


@pytest.mark.parametrize("targets, message", [
    (torch.zeros(2, 5, dtype=torch.int64), r"targets must be as the tokens, \(2, 4\), got \(2, 5\)"),
    (torch.full((2, 4), 23), r"targets must be in \[0, 23\), got 23"),
    (torch.full((2, 4), -1), r"targets must be in \[0, 23\), got -1"),
    (torch.full((2, 4), -100), "all 8 targets are -100: nothing is scored"),
])  # fmt: skip
def test_loss_refuses_targets_that_do_not_fit(targets, message):
    with pytest.raises(ValueError, match=message):
        gpt_loss(build(), (draw(2, 4), targets))


def test_log_prob_refuses_what_does_not_fit():
    model = build()
    with pytest.raises(ValueError, match="prompt must have the 2 rows of tokens, got 1"):
        log_prob(model, draw(2, 4), draw(1, 2))
    with pytest.raises(ValueError, match=r"prompt must be \(B, T\) int64"):
        log_prob(model, draw(2, 4), draw(2, 0))
    with pytest.raises(ValueError, match="13 tokens are more than the context of 12"):
        log_prob(model, draw(2, 10), draw(2, 4))


@pytest.mark.parametrize("changes, message", [
    ({"vocab": 0}, "sizes must be at least 1, got {'vocab': 0}"), ({"n_layers": 0}, "{'n_layers': 0}"),
    ({"d_hidden": 0}, "{'d_hidden': 0}"), ({"context": -1}, "{'context': -1}"),
    ({"d_model": 18}, "d_model must be a multiple of n_heads, got 18 and 4"),
    ({"dropout": 1.0}, r"shares to drop must be in \[0, 1\), got {'dropout': 1.0}"),
    ({"attention_dropout": -0.1}, "{'attention_dropout': -0.1}"), ({"eps": 0.0}, "eps must be positive, got 0.0"),
])  # fmt: skip
def test_gpt_refuses_a_config_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        GPT(replace(TINY, **changes))


@pytest.mark.parametrize("tied", [True, False])
def test_registered_weights_come_back_with_their_config(tied, tmp_path):
    model, tokens = build(replace(TINY, tied=tied, d_hidden=20), torch.float32), draw(2, 6)
    (tmp_path / "LICENSES.md").write_text("| terms | of |\n|---|---|\n| MIT | this book |\n")
    about = {"command": "none", "data": "none", "terms": "MIT", "seed": 0, "score": {}, "hardware": "none"}
    save_weights("gpt-test", model, folder=tmp_path, **about)
    loaded = load_weights("gpt-test", GPT, folder=tmp_path)
    assert loaded.cfg == model.cfg and torch.equal(loaded(tokens), model(tokens))


def test_recipe_scores_every_token_once_with_at_least_half_a_context():
    model, tokens = build(), draw(1, 40)[0]
    with torch.no_grad():
        found = token_nats(model, tokens)
        assert found.shape == (39,)
        for place in range(1, 40):  # windows begin at every multiple of 6; the second half of each is scored
            start = 0 if place <= 12 else (place - 7) // 6 * 6
            assert place - start >= min(place, 6)
            log_p = model(tokens[None, start:place])[0, -1].log_softmax(0)
            torch.testing.assert_close(found[place - 1], -log_p[tokens[place]])


@pytest.mark.parametrize("length", [2, 12, 13, 14, 18, 19, 25])
def test_recipe_scores_texts_of_any_length(length):
    with torch.no_grad():
        assert token_nats(build(), draw(1, length)[0]).shape == (length - 1,)


def test_recipe_charges_blocks_of_characters_with_the_nats_of_their_tokens():
    nats, lengths = draw(1, 3_000)[0].double(), draw(1, 3_000, seed=2)[0] + 1
    found = over_blocks(nats, lengths)
    assert abs(found.value - (nats.sum() / lengths.sum()).item()) < 1e-12
    assert found.n == -(-int(lengths.sum()) // 1_000) and found.low < found.value < found.high


def test_recipe_asks_for_the_last_word_only():
    """A model that knows but the last tokens of one story, and says something else everywhere else."""
    text = load("tales", "test", n=30)
    tokenizer = ByteBPE.train(text.text, vocab=300)
    story = text.documents[0]
    tokens = tokenizer.encode(END + story).tolist()
    last = len(tokens) - len(tokenizer.encode(END + ending(story).beginning))
    assert tokenizer.decode(torch.tensor(tokens[-last:])) == f" {ending(story).last}."

    def knowing(n):
        def model(read):
            logits = torch.zeros(1, len(tokens) - 1, tokenizer.vocab)
            logits[0, :, 0] = 1.0
            for place in range(len(tokens) - 1 - n, len(tokens) - 1):
                logits[0, place, tokens[place + 1]] = 2.0
            return logits

        return model

    assert knows_last_word(knowing(last), tokenizer, story)
    assert not knows_last_word(knowing(last - 1), tokenizer, story)


def test_recipe_writes_whole_stories_or_nothing():
    text = load("tales", "test", n=30)
    tokenizer = ByteBPE.train(text.text, vocab=300)
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab=tokenizer.vocab, context=30, d_model=8, n_layers=1, n_heads=1)).eval()
    drawn = write_stories(model, tokenizer, 40)
    assert len(drawn) == 40 and any(drawn) and "" in drawn and not any(END in story for story in drawn)
