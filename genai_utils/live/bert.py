"""Chapter 5 live: the reader hides a word of a sentence, and BERT says what may have stood there.

The sentence is split on spaces: `split(" ")` in both languages, empty parts left out. Of the chosen word the signs
around it stay, and one [MASK] stands for the rest, whatever number of pieces that has.

Sources: as in genai_utils.transformer.bert and genai_utils.data.wordpiece.
Shapes:  T tokens with [CLS] and [SEP], V tokens there are.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim

from genai_utils.data import WordPiece
from genai_utils.data.wordpiece import is_punctuation
from genai_utils.live.entry import Act, Graph, Live, Refused, bars, numbers, text, words
from genai_utils.live.text import checked, likeliest
from genai_utils.nn import attention_maps
from genai_utils.transformer.bert import BERT
from genai_utils.weights import load_tokenizer

TALE = (
    "Once there lived a small and hungry cat called Cleo. She loved milk. But the wind took her red kite. At last she "
    "found it behind the barn."
)


class Fill(nn.Module):
    """tokens (1, T), place (1,) -> logits (V,) there; looks (T,): the last layer's weights from it, mean of heads."""

    def __init__(self, bert: BERT) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, tokens: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        bert = self.bert
        x = bert.tokens(tokens) + bert.positions.weight[: tokens.shape[1]] + bert.segments.weight[0]
        x = bert.norm(x)
        with attention_maps(bert.blocks[-1]) as maps:
            for block in bert.blocks:
                x = block(x, None)
            looks = maps["attention"][0][0].mean(0)  # (T, T)
        return bert.mlm_logits(x[0].index_select(0, place))[0], looks.index_select(0, place)[0]


def graphs(bert: BERT) -> dict[str, Graph]:
    tokens = {1: Dim("T", min=3, max=bert.cfg.length)}
    inputs = {"tokens": torch.tensor([[2, 10, 4, 11, 3]]), "place": torch.tensor([2])}
    return {"fill": Graph(module=Fill(bert), inputs=inputs, outputs=("logits", "looks"), dynamic={"tokens": tokens})}


def facts(bert: BERT) -> dict:
    """The tokenizer, and how many tokens fit."""
    return {"tokenizer": load_tokenizer("bert-words").to_dict(), "length": bert.cfg.length}


def hide(run, facts, inputs) -> Iterator[dict]:
    """Hide one word: the likeliest in its place, and at which tokens the last layer looks from there."""
    tokenizer, at = WordPiece.from_dict(facts["tokenizer"]), inputs["sentence_at"]
    parts = [part for part in checked("sentence", inputs["sentence"]).split(" ") if part]
    if not 0 <= at < len(parts):
        raise Refused("sentence", f"there is no word {at + 1} among {len(parts)}: choose one of the sentence")
    left, word, right = without_signs(tokenizer, parts[at])
    before = tokenizer.encode(" ".join([*parts[:at], left])).tolist()
    after = tokenizer.encode(" ".join([right, *parts[at + 1 :]])).tolist()
    tokens, place = [tokenizer.cls, *before, tokenizer.mask, *after, tokenizer.sep], len(before) + 1
    if (n := len(tokens) - 2) > (fit := facts["length"] - 2):
        raise Refused("sentence", f"the sentence has {n} tokens and {fit} fit: shorten it")
    found = run("fill", tokens=torch.tensor([tokens]), place=torch.tensor([place]))
    p, names, hidden = found["logits"].double().softmax(0), tokenizer.names, tokenizer.encode(word).tolist()
    unknown = [part for part in parts if tokenizer.unk in tokenizer.encode(part).tolist()]
    figures, note = [], []
    if len(hidden) == 1 and hidden[0] != tokenizer.unk:
        share, rank = p[hidden[0]].item(), int((p > p[hidden[0]]).sum()) + 1
        figures = [(f"share of “{word}”", 100 * share, 2, "%"), ("its rank", rank, 0, f"of {len(names)}")]
    elif hidden:
        note = [[f"“{word}” is {' '.join(names[k] for k in hidden)} to it, so it cannot guess it. ", 0]]
    if unknown:
        note += [["Read as [UNK], wholly or in part:", 0], *([f" {part}", 1] for part in unknown)]
    yield {
        "guesses": likeliest(names, p, p > 0, p),
        "looks": [[spaced(names[k], n), look] for n, (k, look) in enumerate(zip(tokens, found["looks"].tolist()))],
        "figures": figures,
        "note": note,
    }


def without_signs(tokenizer: WordPiece, part: str) -> tuple[str, str, str]:
    """Return the signs before a word, the word, and those after it; a special token, or signs alone, are a word."""
    word = part.strip("".join(filter(is_punctuation, part)))
    if not word or part in tokenizer.specials.tokens:
        return "", part, ""
    return part.partition(word)


def spaced(name: str, n: int) -> str:
    """Return the n-th token as `WordPiece.decode` writes it: with a space before it, or none."""
    if n > 0 and name.startswith("##"):
        return name.removeprefix("##")
    return name if n == 0 or name in (".", ",", "!", "?") else f" {name}"


LIVE = Live(
    weights={"bert-words": BERT},
    graphs=graphs,
    facts=facts,
    acts={
        "hide": Act(
            title="Hide a word",
            program=hide,
            graphs=("fill",),
            controls=(text("sentence", "sentence, and the word to hide", TALE, longest=600, words=True, at=7),),
            outputs=(
                bars("guesses", "what may have stood there"),
                words("looks", "where the last layer looks from the hidden word, mean of its heads"),
                numbers("figures"),
                words("note", ""),
            ),
            presets={
                "the animal: the name after it tells": {},
                "the name: the animal before it tells": {"sentence_at": 9},
                "a review: good and bad fit alike": {
                    "sentence": "The plot was dull, but the acting was truly superb.", "sentence_at": 9,
                },
                "a word of several pieces, and a sign it cannot spell": {
                    "sentence": "A zebra visited the café – it was excellent.", "sentence_at": 1,
                },
            },
        )
    },
)  # fmt: skip
