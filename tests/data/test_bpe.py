"""ByteBPE: every text survives, the merges are those that the definition gives, and files of GPT-2's kind are read."""

import hashlib
import http.server
import json
import random
import threading
from collections import Counter

import pytest
import torch

from genai_utils.data import ByteBPE, load
from genai_utils.data.bpe import byte_names, piece_pattern

NASTY = (
    "", " ", "   a  b   ", "\n\n x\n", "\t\tx", "It's I'll we've they're 'tis x'S ''ss", "naïve café",
    "漢字かな交じり文",
    "👩‍👩‍👧 👍🏽", "x\u00a0y\u3000z\u2028", "3½ ٣ ⅷ 10,000.5", "e\u0301\u0301", "\x00\x1f\x85", "a" * 500, " " * 99,
    "def f(x):\n    return x**2  # !?\r\n",
)  # fmt: skip
TEXT = "the cat sat on the mat; the cat's hat, that hat.\n" * 3 + "thin thing think naïve naïve\n"


@pytest.fixture(scope="module")
def tokenizer():
    return ByteBPE.train(TEXT, vocab=280, specials=["<|endoftext|>", "<|pad|>"])


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_bpe_decodes_what_it_encodes(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert tokens.dtype == torch.int64 and tokens.ndim == 1
    assert tokenizer.decode(tokens) == text and len(tokens) <= len(text.encode())
    loaded = ByteBPE.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert torch.equal(loaded.encode(text), tokens)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_pieces_of_a_text_join_to_the_text(text):
    for ascii in {False, text.isascii()}:
        assert "".join(piece_pattern(ascii).findall(text)) == text


def test_pattern_for_ascii_finds_the_pieces_that_the_full_one_finds():
    draw = random.Random(0)
    for _ in range(300):
        text = "".join(chr(draw.choice([draw.randrange(128), 32, 39, 115, 10, 97, 55])) for _ in range(40))
        assert piece_pattern(True).findall(text) == piece_pattern().findall(text)


def naive_training(text, specials, vocab):
    """[BPE] Algorithm 1 as it is written: count all pairs anew, merge the most frequent everywhere."""
    names = byte_names()
    order = {name: k for k, name in enumerate([*specials, *names.values()])}
    words = [[names[b] for b in piece.encode()] for piece in piece_pattern().findall(text)]
    merges = []
    while len(order) < vocab:
        counts = Counter(pair for word in words for pair in zip(word, word[1:]))
        if not counts:
            break
        a, b = min(counts, key=lambda p: (-counts[p], order[p[0]], order[p[1]]))
        merges.append((a, b))
        order.setdefault(a + b, len(order))
        for word in words:
            for i in range(len(word) - 1):
                if word[i : i + 2] == [a, b]:
                    word[i : i + 2] = [a + b]
    return tuple(order), tuple(merges)


@pytest.mark.parametrize("vocab", [258, 259, 275, 300])
def test_training_equals_the_algorithm_as_it_is_written(vocab):
    specials = ["<|endoftext|>", "<|pad|>"]
    tokenizer = ByteBPE.train(TEXT, vocab=vocab, specials=specials)
    assert (tokenizer.names, tokenizer.merges) == naive_training(TEXT, specials, vocab)
    assert tokenizer.vocab == min(vocab, 286) and [tokenizer.special(name) for name in specials] == [0, 1]


def test_training_stops_where_no_pair_is_left():
    tokenizer = ByteBPE.train("abc", vocab=1000)
    assert tokenizer.vocab == 258 and tokenizer.pieces("abc abc") == ["abc", " ", "abc"]


def test_special_tokens_in_a_training_text_only_separate():
    ours = ByteBPE.train("ab<|endoftext|>ab<|endoftext|>", vocab=300, specials=["<|endoftext|>"])
    assert ours.merges == (("a", "b"),)


def test_encoding_merges_the_pair_that_was_learnt_first():
    names = [*byte_names().values(), "bc", "ab", "abc", "aa"]
    tokenizer = ByteBPE(names, [("b", "c"), ("a", "b"), ("a", "bc"), ("a", "a")])
    assert tokenizer.pieces("abc") == ["abc"] and tokenizer.pieces("abab") == ["ab", "ab"]
    assert tokenizer.pieces("aaa") == ["aa", "a"]  # of equal ones the leftmost
    assert tokenizer.encode("bc").tolist() == [256]


def test_special_tokens_are_one_token_and_can_be_left_out(tokenizer):
    text = "the cat<|endoftext|><|pad|>the hat"
    tokens = tokenizer.encode(text)
    assert (tokens == 0).sum() == 1 and (tokens == 1).sum() == 1
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode(tokens, specials=False) == "the catthe hat"
    assert tokenizer.encode("<|endoftext|").min() > 1


def test_special_token_can_swallow_the_spaces_beside_it():
    names = ["<mask>", "<x>", *byte_names().values()]
    tokenizer = ByteBPE(names, [], ["<mask>", "<x>"], left=["<mask>"], right=["<x>"])
    assert tokenizer.pieces("a \n<mask> b <x>  c <mask>") == ["a", "<mask>", " ", "b", " ", "<x>", "c", "<mask>"]
    loaded = ByteBPE.from_dict(tokenizer.to_dict())
    assert torch.equal(loaded.encode("a <mask> <x> b"), tokenizer.encode("a <mask> <x> b"))


def test_bytes_that_are_no_text_decode_to_replacement_characters(tokenizer):
    tokens = tokenizer.encode("é")
    assert len(tokens) == 2 and tokenizer.decode(tokens[:1]) == "\ufffd"
    assert tokenizer.pieces("é") == ["\\xc3", "\\xa9"]


def test_text_set_takes_any_tokenizer(tokenizer):
    data = load("tales", n=5)
    tokens = data.tokens(tokenizer)
    assert tokenizer.decode(tokens) == data.text and next(data.batches(tokenizer, 2, 4))[0].shape == (2, 4)


def test_registry_entry_of_a_trained_tokenizer_is_compact(tokenizer):
    assert set(tokenizer.to_dict()) == {"kind", "merges", "specials"}
    reordered = ByteBPE(tokenizer.names[::-1], tokenizer.merges, list(tokenizer.specials.tokens))
    assert ByteBPE.from_dict(reordered.to_dict()).names == reordered.names


def test_bpe_refuses_bad_input(tokenizer):
    names = list(byte_names().values())
    for call, said in (
        (lambda: tokenizer.encode(b"ab"), "got bytes"),
        (lambda: tokenizer.encode("ab\ud800"), "lone surrogate .* at place 2"),
        (lambda: tokenizer.decode(torch.tensor([0, 280])), r"token 280 at place 1 is not within \[0, 280\)"),
        (lambda: tokenizer.decode(torch.zeros(1, 2, dtype=torch.int64)), "one row at a time"),
        (
            lambda: tokenizer.special("<s>"),
            "no special token '<s>'; there are <|endoftext|>, <|pad|>".replace("|", r"\|"),
        ),
        (lambda: ByteBPE.train(TEXT, vocab=257, specials=["<a>", "<b>"]), "vocab must be at least 258 .* got 257"),
        (lambda: ByteBPE.train("", vocab=300), "at least one character"),
        (lambda: ByteBPE.train(TEXT, vocab=300, specials=["<a>", "<a>"]), "must differ"),
        (lambda: ByteBPE.train(TEXT, vocab=300, specials=["a"]), "must differ"),
        (lambda: ByteBPE(names[1:], []), "the names lack '!'"),
        (lambda: ByteBPE(names + ["a"], []), "stands twice: 'a'"),
        (lambda: ByteBPE(names, [("a", "b")]), "merge 0, 'a' with 'b': 'ab' is not among the names"),
        (lambda: ByteBPE(names + ["漢"], []), "'漢', which shows no byte"),
        (lambda: ByteBPE(names, [], ["<s>"]), "lack '<s>'"),
        (lambda: ByteBPE(names, [], [""]), "lack ''"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


# Published folders


def write_folder(folder, tokenizer, kind):
    """Write the files of a tokenizer as published ones are: `old`, or tokenizer.json with merges as str or pairs."""
    folder.mkdir(exist_ok=True)
    numbers = {name: k for k, name in enumerate(tokenizer.names)}
    if kind == "old":
        (folder / "vocab.json").write_text(json.dumps(numbers))
        lines = ["#version: 0.2", *map(" ".join, tokenizer.merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder
    added = [{"id": k, "content": name, "lstrip": name == "<mask>"} for name, k in tokenizer.specials.tokens.items()]
    merges = [" ".join(m) if kind == "str" else list(m) for m in tokenizer.merges]
    ordinary = {name: k for name, k in numbers.items() if name not in tokenizer.specials.tokens}
    fields = {
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "model": {"type": "BPE", "vocab": ordinary, "merges": merges},
    }
    (folder / "tokenizer.json").write_text(json.dumps(fields))
    return folder


@pytest.fixture
def bart():
    return ByteBPE.train(TEXT, vocab=290, specials=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


@pytest.mark.parametrize("kind", ["old", "str", "pairs"])
def test_published_folder_gives_the_tokenizer_that_was_written(bart, tmp_path, kind):
    read = ByteBPE.from_pretrained(write_folder(tmp_path, bart, kind))
    assert (read.names, read.merges, read.specials.tokens) == (bart.names, bart.merges, bart.specials.tokens)
    assert read.pieces("<s>the <mask> sat</s>") == ["<s>", "the", "<mask>", " sat", "</s>"]


def test_folder_of_another_kind_is_refused_by_its_field(bart, tmp_path):
    path = write_folder(tmp_path, bart, "str") / "tokenizer.json"
    fields = json.loads(path.read_text())
    for change, said in (
        ({"model": {"type": "WordPiece", "vocab": {}}}, "model.type is 'WordPiece'"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "pre_tokenizer is .*Metaspace"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "pre_tokenizer is .*True"),
        ({"normalizer": {"type": "NFC"}}, "normalizer is .*NFC"),
        ({"model": fields["model"] | {"byte_fallback": True}}, "model.byte_fallback is set"),
        ({"model": fields["model"] | {"ignore_merges": True}}, "model.ignore_merges is set"),
        ({"model": fields["model"] | {"merges": ["a b c"]}}, "a merge has two parts"),
        ({"added_tokens": [{"id": 999, "content": "<s>"}]}, "tokens must be 0 to"),
        ({"added_tokens": [{"id": 0, "content": "<s>", "single_word": True}]}, "'<s>' has single_word"),
    ):
        path.write_text(json.dumps(fields | change))
        with pytest.raises(ValueError, match=said):
            ByteBPE.from_pretrained(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match="tokenizer.json cannot be read as JSON"):
        ByteBPE.from_pretrained(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*, and it cannot be a repository id"):
        ByteBPE.from_pretrained(tmp_path / "none" / "there")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(
        FileNotFoundError, match="neither tokenizer.json nor vocab.json with merges.txt; it holds: vocab"
    ):
        ByteBPE.from_pretrained(tmp_path)


class Hub(http.server.BaseHTTPRequestHandler):
    """The Hub, played by a local server: its list of files, and the files."""

    def do_GET(self):
        files, path = self.server.files, self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if path.startswith("/owner/name/resolve/") and name in files:
            body = files[name]
        elif path.startswith("/api/models/owner/name/tree/"):
            rows = [{"type": "file", "path": n, "size": len(b), "oid": self.etag(b)} for n, b in files.items()]
            body = json.dumps(rows).encode()
        elif path.startswith("/api/models/owner/name"):
            info = {"id": "owner/name", "sha": "01" * 20, "siblings": [{"rfilename": n} for n in files]}
            body = json.dumps(info).encode()
        else:
            return self.send_error(404)
        self.send_response(200)
        for key, value in (
            ("Content-Length", len(body)),
            ("ETag", f'"{self.etag(body)}"'),
            ("X-Repo-Commit", "01" * 20),
        ):
            self.send_header(key, str(value))
        self.end_headers()
        self.server.sent.append(name)
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    @staticmethod
    def etag(body):
        return hashlib.sha1(body).hexdigest()

    def log_message(self, *args):
        pass


def test_hub_repository_is_downloaded_without_its_weights(bart, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # this Hub is on the same machine
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        folder = write_folder(tmp_path / "repository", bart, "old")
        server.files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"model.safetensors": b"large"}
        server.sent = []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        options = {"endpoint": f"http://127.0.0.1:{server.server_address[1]}", "cache_dir": tmp_path / "cache"}
        read = ByteBPE.from_pretrained("owner/name", **options)
        server.shutdown()
    assert read.names == bart.names and "merges.txt" in server.sent and "model.safetensors" not in server.sent
