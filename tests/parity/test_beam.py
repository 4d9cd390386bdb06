"""Greedy and beam search against `generate` of transformers, token for token, on T5 and BART with random weights."""

import pytest
import torch

from genai_utils.transformer.bart import BART
from genai_utils.transformer.beam import beam_search
from genai_utils.transformer.decoding import write_tokens
from genai_utils.transformer.t5 import T5

transformers = pytest.importorskip("transformers")

VOCAB, LENGTH = 12, 16
ENDS = {"t5": 6, "bart": 3}  # tokens that these random models come to write sooner or later
T5_SIZES = {
    "vocab_size": VOCAB, "d_model": 16, "d_kv": 5, "d_ff": 16, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
    "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": ENDS["t5"],
}  # fmt: skip
BART_SIZES = {
    "vocab_size": VOCAB, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 40,
    "pad_token_id": 1, "eos_token_id": ENDS["bart"], "decoder_start_token_id": 0, "forced_eos_token_id": None,
}  # fmt: skip
MODELS = {
    "t5": (transformers.T5Config(**T5_SIZES), transformers.T5ForConditionalGeneration, T5),
    "bart": (transformers.BartConfig(**BART_SIZES), transformers.BartForConditionalGeneration, BART),
}


@pytest.fixture(scope="module", params=MODELS)
def models(request, tmp_path_factory):
    """(theirs, ours, source, mask): random weights under which answers end after few tokens or after many."""
    config, cls, ours = MODELS[request.param]
    theirs, folder, g = cls(config).eval(), tmp_path_factory.mktemp("model"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm, wide = "norm" in name and name.endswith("weight"), "shared" in name and request.param == "t5"
            p.copy_(1 + 0.3 * noise if norm else noise if wide else 0.4 * noise)
    theirs.save_pretrained(folder)
    source = torch.randint(3, VOCAB, (12, 20), generator=g)
    mask = torch.arange(20) < torch.randint(4, 21, (12, 1), generator=g)
    return theirs, ours.from_pretrained(folder), source.masked_fill(~mask, config.pad_token_id), mask


def cut(rows, end):
    """Return the tokens of each row before the end."""
    rows = [[int(t) for t in row] for row in rows]
    return [row[: row.index(end)] if end in row else row for row in rows]


def generate(theirs, source, mask, **how):
    return theirs.generate(
        input_ids=source, attention_mask=mask.long(), do_sample=False, max_new_tokens=LENGTH, output_scores=True,
        return_dict_in_generate=True, **how)  # fmt: skip


def ours_start(ours, source):
    return torch.full((len(source), 1), ours.cfg.start)


@pytest.mark.parametrize("stop", [False, True, "never"])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 4])
def test_beam_search_equals_transformers_token_for_token(models, beams, penalty, stop, record_property):
    theirs, ours, source, mask = models
    reference = generate(theirs, source, mask, num_beams=beams, length_penalty=penalty, early_stopping=stop)
    state, end = ours.decoding(source, mask, length=LENGTH), ours.cfg.end
    start = ours_start(ours, source)
    answers, scores = beam_search(
        state, start, beams, LENGTH, end=end, length_penalty=penalty, early_stopping=stop)  # fmt: skip
    found = cut(answers, end)
    assert found == cut(reference.sequences[:, 1:], end)
    record_property("scores", (scores - reference.sequences_scores).abs().max().item())
    torch.testing.assert_close(scores, reference.sequences_scores, rtol=1e-5, atol=1e-5)


def test_greedy_search_equals_transformers_token_for_token(models):
    theirs, ours, source, mask = models
    end, start = ours.cfg.end, ours_start(ours, source)
    reference = cut(generate(theirs, source, mask, num_beams=1).sequences[:, 1:], end)
    answers, _ = beam_search(ours.decoding(source, mask, length=LENGTH), start, 1, LENGTH, end=end)
    written = write_tokens(ours.decoding(source, mask, length=LENGTH), start, LENGTH, temperature=0, end=end)
    assert cut(answers, end) == reference == cut(written[:, 1:], end)
    assert len({len(row) for row in reference}) > 1


def test_answers_differ_by_beams_and_end_at_several_lengths(models):
    """Else the comparisons above would say little."""
    _, ours, source, mask = models
    found, end = {}, ours.cfg.end
    for beams, penalty in ((1, 1.0), (4, 0.0), (4, 2.0)):
        state, start = ours.decoding(source, mask, length=LENGTH), ours_start(ours, source)
        answers, _ = beam_search(state, start, beams, LENGTH, end=end, length_penalty=penalty)
        found[beams, penalty] = cut(answers, end)
    assert len({str(answers) for answers in found.values()}) == 3
    assert len({len(row) for answers in found.values() for row in answers}) > 2
