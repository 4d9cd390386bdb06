"""The downloader against a local server that truncates, corrupts, stalls, answers 404 and 500, and loses a mirror."""

import gzip
import hashlib
import io
import os
import pickle
import re
import struct
import tarfile
import threading
import wave
import zipfile
from collections import defaultdict
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from genai_utils.data import DataError, load
from genai_utils.data.download import fetch, hub_checksum, read_sums
from genai_utils.data.published import PUBLISHED

QUICK = {"timeout": 0.3, "pause": 0.0}
BODY = np.random.RandomState(0).bytes(600_000)
SHA = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
FILE = "/files/body.bin"
PARQUET = "train-00000-of-00001.parquet"
HUB = f"/datasets/ylecun/mnist/resolve/main/mnist/{PARQUET}"


class Server(ThreadingHTTPServer):
    """Serves `files`; each request for a path uses up the first of its `faults`; `log` has (method, path, Range)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict] = {}  # path -> more headers; with a Location the answer is a redirect
        self.faults: dict[str, list] = defaultdict(list)
        self.log: list[tuple] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.log.append((self.command, self.path, asked))
        fault = server.faults[self.path].pop(0) if server.faults[self.path] else None
        if isinstance(fault, int) or self.path not in server.files:
            return self.send_error(fault or 404)
        body, more = server.files[self.path], server.headers.get(self.path, {})
        if "Location" in more:
            return self.answer(302, {**more, "Content-Length": 0})
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and fault != "no range" else 0
        if start >= len(body):
            return self.answer(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": 0})
        part = body[start:]
        ranged = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self.answer(206 if start else 200, {"Content-Length": len(part), **ranged, **more})
        if self.command == "HEAD":
            return None
        if fault == "corrupt":
            part = bytes(255 - b for b in part[:100]) + part[100:]
        try:
            self.wfile.write(part[: len(part) // 2] if fault in ("truncate", "stall") else part)
            if fault == "stall":
                self.wfile.flush()
                server.closing.wait(20)
        except OSError:  # the client has given up, as it should
            pass

    def answer(self, code: int, headers: dict) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()


@pytest.fixture
def server():
    server = Server()
    server.files[FILE] = BODY
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path, monkeypatch, server):
    """An empty cache, and a Hub and mirrors that are all the local server."""
    for name in ("GENAI_DATA", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENAI_HUB", server.url)
    monkeypatch.setenv("GENAI_MIRRORS", f"{server.url}/first {server.url}/second/")
    return tmp_path / "cache"


def get(server: Server, folder: Path, **options) -> Path:
    return fetch(server.url + FILE, folder / "body.bin", SHA, **(QUICK | options))


def test_fetch_gets_the_bytes_and_asks_no_second_time(server, tmp_path):
    assert get(server, tmp_path).read_bytes() == BODY
    get(server, tmp_path)
    assert server.log == [("GET", FILE, None)]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_fetch_goes_on_where_the_server_broke_off(server, tmp_path, fault):
    server.faults[FILE] = [fault]
    assert get(server, tmp_path).read_bytes() == BODY
    assert [asked for _, _, asked in server.log] == [None, "bytes=300000-"]


def test_fetch_goes_on_in_a_later_call(server, tmp_path):
    server.faults[FILE] = ["truncate", 500]
    with pytest.raises(DataError, match="answered 500"):
        get(server, tmp_path, tries=2)
    assert not (tmp_path / "body.bin").exists()
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.log[-1] == ("GET", FILE, "bytes=300000-")


def test_fetch_starts_again_when_the_server_knows_no_ranges(server, tmp_path):
    server.faults[FILE] = ["truncate", "no range"]
    assert get(server, tmp_path).read_bytes() == BODY
    assert len(server.log) == 2


def test_fetch_starts_again_from_nothing_after_corruption(server, tmp_path):
    server.faults[FILE] = ["corrupt"]
    assert get(server, tmp_path).read_bytes() == BODY
    assert [asked for _, _, asked in server.log] == [None, None]


@pytest.mark.parametrize("left", [b"rubbish", BODY + b"more", BODY])
def test_fetch_survives_any_part_left_from_before(server, tmp_path, left):
    (tmp_path / f"body.bin.{SHA[7:19]}.part").write_bytes(left)
    assert get(server, tmp_path).read_bytes() == BODY


def test_fetch_never_puts_corrupt_bytes_in_place(server, tmp_path):
    (tmp_path / "body.bin").write_bytes(b"what was there")
    server.faults[FILE] = ["corrupt"] * 9
    with pytest.raises(DataError, match=f"checksum is sha256:[0-9a-f]{{64}}, published is {SHA} .3 tries"):
        get(server, tmp_path, tries=3)
    assert (tmp_path / "body.bin").read_bytes() == b"what was there"
    assert len(server.log) == 3


@pytest.mark.parametrize(("fault", "requests"), [(404, 1), (403, 1), (500, 3), (503, 3), (429, 3), ("stall", 3)])
def test_fetch_tries_again_only_where_that_may_help(server, tmp_path, fault, requests):
    server.faults[FILE] = [fault] * 9
    with pytest.raises(DataError, match="stalled for 0.3 s" if fault == "stall" else f"answered {fault}"):
        get(server, tmp_path, tries=3)
    assert len(server.log) == requests


def test_fetch_checks_md5_too(server, tmp_path):
    md5 = f"md5:{hashlib.md5(BODY).hexdigest()}"
    assert fetch(server.url + FILE, tmp_path / "a", md5, **QUICK).read_bytes() == BODY
    with pytest.raises(DataError, match="published is md5:0000"):
        fetch(server.url + FILE, tmp_path / "b", f"md5:{'0' * 32}", tries=1, **QUICK)


def test_fetch_by_two_at_once_gives_one_good_file(server, tmp_path):
    server.faults[FILE] = ["truncate"]
    threads = [threading.Thread(target=get, args=(server, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "body.bin").read_bytes() == BODY and len(server.log) == 2


def test_hub_checksum_reads_the_redirect_and_follows_renames(server):
    server.files |= {"/old": b"", "/new": b""}
    server.headers["/old"] = {"Location": "/new"}
    server.headers["/new"] = {"Location": "/store/must-not-be-asked", "X-Linked-Etag": f'"{SHA[7:]}"'}
    server.faults["/old"] = [503]
    assert hub_checksum(f"{server.url}/old", **QUICK) == SHA
    assert [path for _, path, _ in server.log] == ["/old", "/old", "/new"]


def test_hub_checksum_is_never_made_up(server):
    with pytest.raises(DataError, match="gives no sha256"):
        hub_checksum(server.url + FILE, **QUICK)
    server.headers[FILE] = {"X-Linked-Etag": '"d41d8cd98f00b204e9800998ecf8427e"'}  # an md5, as small files have
    with pytest.raises(DataError, match="gives no sha256"):
        hub_checksum(server.url + FILE, **QUICK)
    with pytest.raises(DataError, match="answered 404"):
        hub_checksum(f"{server.url}/nowhere", **QUICK)


# --- whole sets: tiny ones in the published formats ---------------------------------------------------------------


def pictures(n: int, shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(seed)
    return rng.randint(0, 256, (n, *shape)).astype(np.uint8), rng.randint(0, 10, n)


def parquet(images: np.ndarray, labels: np.ndarray, column: str = "image", form: str = "PNG") -> bytes:
    rows = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, form)
        rows.append({"bytes": file.getvalue(), "path": None})
    out = io.BytesIO()
    pq.write_table(pa.table({column: rows, "label": labels}), out)
    return out.getvalue()


def idx(values: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def put_on_hub(server: Server, body: bytes) -> None:
    server.files |= {HUB: b"", "/store": body}
    server.headers[HUB] = {"Location": "/store", "X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"'}


def put_on_mirror(server: Server, monkeypatch, mirror: str, images: np.ndarray, labels: np.ndarray) -> None:
    names = PUBLISHED["mnist"].files["train"]
    bodies = dict(zip(names, (idx(images[:, 0]), idx(labels)), strict=True))
    server.files |= {f"/{mirror}/{name}": body for name, body in bodies.items()}
    sums = {name: f"md5:{hashlib.md5(body).hexdigest()}" for name, body in bodies.items()}
    monkeypatch.setitem(PUBLISHED, "mnist", replace(PUBLISHED["mnist"], checksums=sums))


def equal(data, images: np.ndarray, labels: np.ndarray) -> bool:
    return torch.equal(data.images, torch.from_numpy(images)) and data.labels.tolist() == labels.tolist()


def test_load_from_the_hub_decodes_and_then_needs_no_network(server, cache):
    images, labels = pictures(12, (1, 28, 28))
    put_on_hub(server, parquet(images, labels))
    server.faults["/store"] = ["truncate"]
    first = load("mnist", **QUICK)
    assert equal(first, images, labels) and first.classes == tuple("0123456789") and "note" not in first.extra
    assert first.extra["source"] == server.url + HUB
    asked = len(server.log)
    assert equal(load("mnist"), images, labels) and len(server.log) == asked
    assert list(read_sums(cache / "data")) == [f"mnist/{PARQUET}"]


def test_cache_serves_as_genai_data(server, cache, tmp_path, monkeypatch):
    images, labels = pictures(5, (1, 28, 28))
    put_on_hub(server, parquet(images, labels))
    load("mnist", **QUICK)
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("GENAI_DATA", str(cache / "data"))
    asked = len(server.log)
    assert equal(load("mnist"), images, labels) and len(server.log) == asked


@pytest.mark.parametrize("trouble", ["404", "500", "corrupt", "no sha256"])
def test_load_turns_to_the_second_mirror_when_hub_and_first_fail(server, cache, monkeypatch, trouble):
    images, labels = pictures(7, (1, 28, 28))
    put_on_mirror(server, monkeypatch, "second", images, labels)
    if trouble != "404":
        put_on_hub(server, parquet(images, labels))
    if trouble == "500":
        server.faults[HUB] = [500] * 9
    if trouble == "corrupt":
        server.faults["/store"] = ["corrupt"] * 9
    if trouble == "no sha256":
        server.headers[HUB] = {"Location": "/store"}
    data = load("mnist", tries=2, **QUICK)
    assert equal(data, images, labels) and data.extra["source"] == f"{server.url}/second/"


def test_load_survives_a_first_mirror_that_is_gone(server, cache, monkeypatch):
    images, labels = pictures(7, (1, 28, 28))
    put_on_mirror(server, monkeypatch, "second", images, labels)
    gone = Server()
    gone.close()  # its port refuses connections now
    monkeypatch.setenv("GENAI_MIRRORS", f"{gone.url} {server.url}/second")
    assert equal(load("mnist", tries=2, **QUICK), images, labels)


def test_load_says_in_one_error_what_failed_where_and_what_would_serve(server, cache, monkeypatch):
    server.faults["/first/train-images-idx3-ubyte.gz"] = [500] * 9
    with pytest.raises(DataError) as error:
        load("mnist", tries=2, **QUICK)
    text = str(error.value)
    for part in (
        'could not load("mnist", "train")',
        f"cache {cache / 'data'}: has no mnist",
        f"{server.url}{HUB}: answered 404",
        f"{server.url}/first: answered 500 Internal Server Error (2 tries)",
        f"{server.url}/second/: answered 404",
        'load("glyphs")',
    ):
        assert part in text, part


def test_load_says_when_the_cache_cannot_be_written(server, cache, monkeypatch):
    put_on_hub(server, parquet(*pictures(3, (1, 28, 28))))
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(DataError, match="cannot write to .* set GENAI_CACHE"):
        load("mnist", tries=1, **QUICK)


def test_load_offline_asks_nobody(server, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        load("fashion_mnist")
    assert server.log == []


def folder_with(tmp_path: Path, body: bytes, sha256: str | None) -> Path:
    folder = tmp_path / "given"
    (folder / "mnist").mkdir(parents=True)
    (folder / "mnist" / PARQUET).write_bytes(body)
    if sha256:
        (folder / "SHA256SUMS").write_text(f"{sha256}  mnist/{PARQUET}\n")
    return folder


def test_genai_data_comes_first(server, cache, tmp_path, monkeypatch):
    images, labels = pictures(4, (1, 28, 28))
    body = parquet(images, labels)
    monkeypatch.setenv("GENAI_DATA", str(folder_with(tmp_path, body, hashlib.sha256(body).hexdigest())))
    assert equal(load("mnist"), images, labels) and server.log == []


@pytest.mark.parametrize(
    ("sha256", "message"), [("0" * 64, "damaged or changed"), (None, "not listed in .*SHA256SUMS")]
)
def test_genai_data_that_fails_its_checksum_is_an_error_and_never_replaced(
    server, cache, tmp_path, monkeypatch, sha256, message
):
    images, labels = pictures(4, (1, 28, 28))
    body = parquet(images, labels)
    put_on_hub(server, body)
    monkeypatch.setenv("GENAI_DATA", str(folder_with(tmp_path, body, sha256)))
    with pytest.raises(DataError, match=f"GENAI_DATA=.*{message}"):
        load("mnist", **QUICK)
    assert server.log == []


def test_genai_data_that_is_no_folder_is_an_error(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        load("mnist")


def test_genai_data_without_the_set_leaves_the_other_sources(server, cache, tmp_path, monkeypatch):
    images, labels = pictures(4, (1, 28, 28))
    put_on_hub(server, parquet(images, labels))
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    assert equal(load("mnist", **QUICK), images, labels)


def test_damaged_cache_is_fetched_again(server, cache):
    images, labels = pictures(6, (1, 28, 28))
    put_on_hub(server, parquet(images, labels))
    load("mnist", **QUICK)
    (cache / "data" / "mnist" / PARQUET).write_bytes(b"rot")
    assert equal(load("mnist", **QUICK), images, labels)
    assert equal(load("mnist", **QUICK), images, labels)


def test_damaged_decoded_pixels_are_decoded_again(server, cache):
    images, labels = pictures(6, (1, 28, 28))
    put_on_hub(server, parquet(images, labels))
    load("mnist", **QUICK)
    (kept,) = (cache / "decoded").iterdir()
    good = kept.read_bytes()
    for bad in (good[:100], good[:-1] + bytes([255 - good[-1]]), b""):
        kept.write_bytes(bad)
        assert equal(load("mnist"), images, labels)
        assert kept.stat().st_size == len(good)


def test_jpeg_copies_are_noted(cache, tmp_path, monkeypatch):
    images, labels = pictures(3, (3, 32, 32))
    body = parquet(images, labels, "img", "JPEG")
    (tmp_path / "given" / "cifar10").mkdir(parents=True)
    (tmp_path / "given" / "cifar10" / PARQUET).write_bytes(body)
    (tmp_path / "given" / "SHA256SUMS").write_text(f"{hashlib.sha256(body).hexdigest()}  cifar10/{PARQUET}\n")
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "given"))
    for _ in range(2):  # decoded, then from the kept pixels
        assert "JPEG" in load("cifar10").extra["note"]


def cifar_tar(batches: dict[str, object]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, value in batches.items():
            body = pickle.dumps(value, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def put_cifar(server: Server, monkeypatch, body: bytes) -> None:
    server.files["/second/cifar-10-python.tar.gz"] = body
    sums = {"cifar-10-python.tar.gz": f"sha256:{hashlib.sha256(body).hexdigest()}"}
    monkeypatch.setitem(PUBLISHED, "cifar10", replace(PUBLISHED["cifar10"], checksums=sums))


def test_cifar_tar_is_read_in_memory_in_the_order_of_its_batches(server, cache, monkeypatch, tmp_path):
    images, labels = pictures(10, (3, 32, 32))
    test_images, test_labels = pictures(4, (3, 32, 32), seed=1)
    names = [f"data_batch_{k}" for k in (3, 1, 5, 2, 4)]  # their order within the archive must not matter
    parts = {int(n[-1]): slice(2 * int(n[-1]) - 2, 2 * int(n[-1])) for n in names}
    batches = {
        f"cifar-10-batches-py/{n}": {
            b"data": images[parts[int(n[-1])]].reshape(2, -1),
            b"labels": labels[parts[int(n[-1])]].tolist(),
        }
        for n in names
    }
    batches["cifar-10-batches-py/test_batch"] = {b"data": test_images.reshape(4, -1), b"labels": test_labels.tolist()}
    batches["../../escaped"] = {b"data": 0}
    put_cifar(server, monkeypatch, cifar_tar(batches))
    assert equal(load("cifar10", **QUICK), images, labels)
    assert equal(load("cifar10", "test", **QUICK), test_images, test_labels)
    assert not [p for p in tmp_path.rglob("*") if "escaped" in p.name or "batch" in p.name]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-run",)


def test_cifar_pickles_run_no_code(server, cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    put_cifar(server, monkeypatch, cifar_tar({"cifar-10-batches-py/test_batch": {b"data": Evil(), b"labels": [1]}}))
    with pytest.raises(DataError, match="refused to load .*mkdir"):
        load("cifar10", "test", **QUICK)
    assert not (tmp_path / "evil-was-run").exists()


def test_files_of_another_set_are_refused(server, cache):
    images, labels = pictures(3, (1, 20, 20))
    put_on_hub(server, parquet(images, labels))
    with pytest.raises(DataError, match="cannot be read as mnist"):
        load("mnist", **QUICK)


def test_published_checksums_have_the_length_of_their_kind():
    for name, spec in PUBLISHED.items():
        assert set(sum(spec.files.values(), ())) == set(spec.checksums), name
        for checksum in spec.checksums.values():
            algorithm, value = checksum.split(":")
            assert re.fullmatch("[0-9a-f]+", value) and len(value) == {"md5": 32, "sha256": 64}[algorithm]


# --- text and sound: sets that `read` makes -----------------------------------------------------------------------

TALE = "To be, or not to be: \u2014 that is the question.\n" * 3


def put_published(server: Server, monkeypatch, name: str, file: str, body: bytes, mirror: str = "second") -> None:
    server.files[f"/{mirror}/{file}"] = body
    sums = {file: f"sha256:{hashlib.sha256(body).hexdigest()}"}
    monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], checksums=sums))


def wav(values: list[int], rate: int = 8_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.array(values, "<i2").tobytes())
    return out.getvalue()


def recordings(rate: int = 8_000) -> list[tuple[int, str, int, bytes]]:
    """Two digits of two speakers, of which index 4 is for test; the last one is longer than what is kept."""
    keys = [(digit, speaker, k) for k in (5, 4, 12) for speaker in ("theo", "anna") for digit in (7, 3)]
    return [(*key, wav([n + 1] * (n + 2 if n < 11 else 8_500), rate)) for n, key in enumerate(keys)]


def recordings_zip(rows: list[tuple[int, str, int, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for digit, speaker, k, body in rows:
            file.writestr(f"digits-1.0/recordings/{digit}_{speaker}_{k}.wav", body)
        file.writestr("../../escaped.wav", b"")
        file.writestr("digits-1.0/README.md", "not sound")
    return out.getvalue()


def recordings_parquet(rows: list[tuple[int, str, int, bytes]]) -> bytes:
    out = io.BytesIO()
    digits, speakers, indices, bodies = zip(*rows, strict=True)
    audio = [{"bytes": body, "path": None} for body in bodies]
    table = {"audio": audio, "label": list(digits), "speaker": list(speakers), "index": list(indices)}
    pq.write_table(pa.table(table), out)
    return out.getvalue()


def test_text_is_cut_at_nine_tenths_of_its_characters(server, cache, monkeypatch):
    put_published(server, monkeypatch, "tiny_shakespeare", "input.txt", TALE.encode())
    train, test = load("tiny_shakespeare", tries=2, **QUICK), load("tiny_shakespeare", "test", **QUICK)
    assert train.text + test.text == TALE and len(train.text) == len(TALE) * 9 // 10
    assert train.documents == (train.text,) and train.extra["source"] == f"{server.url}/second/"
    assert [path for _, path, _ in server.log] == ["/first/input.txt", "/second/input.txt"]  # once, and no Hub
    assert list(read_sums(cache / "data")) == ["tinyshakespeare/input.txt"]


def test_text_that_is_not_the_published_one_is_refused(server, cache, monkeypatch):
    server.files |= {f"/{mirror}/input.txt": TALE.encode() for mirror in ("first", "second")}
    with pytest.raises(DataError, match="published is sha256:86c4e6aa") as error:
        load("tiny_shakespeare", tries=2, **QUICK)
    assert "tinyshakespeare/input.txt and a SHA256SUMS" in str(error.value) and 'load("tales")' in str(error.value)


def test_text_that_cannot_be_read_is_one_clear_error(server, cache, monkeypatch):
    put_published(server, monkeypatch, "tiny_shakespeare", "input.txt", b"\xff\xfe")
    with pytest.raises(DataError, match="input.txt cannot be read as tiny_shakespeare"):
        load("tiny_shakespeare", **QUICK)


def check_recordings(data, indices: tuple[int, ...]) -> None:
    rows = sorted(row for row in recordings() if row[2] in indices)
    sounds = [np.frombuffer(body[44:], "<i2")[:8_000] for *_, body in rows]
    assert data.labels.tolist() == [digit for digit, *_ in rows] and data.rate == 8_000
    assert [data.extra["speakers"][k] for k in data.extra["speaker"]] == [speaker for _, speaker, *_ in rows]
    assert data.lengths.tolist() == [len(sound) for sound in sounds] and data.waves.shape[1] == max(data.lengths)
    for row, length, sound in zip(data.waves, data.lengths, sounds, strict=True):
        assert row[:length].tolist() == sound.tolist() and not row[length:].any()


def test_recordings_of_the_publishers_zip_are_split_by_their_index(server, cache, monkeypatch, tmp_path):
    put_published(server, monkeypatch, "spoken_digits", "v1.0.10.zip", recordings_zip(recordings()))
    check_recordings(load("spoken_digits", **QUICK), (5, 12))
    check_recordings(load("spoken_digits", "test", **QUICK), (4,))
    assert not [p for p in tmp_path.rglob("*") if "escaped" in p.name or p.suffix == ".wav"]


def test_recordings_in_genai_data_come_first_and_are_the_same(server, cache, monkeypatch, tmp_path):
    body = recordings_parquet(recordings())
    (tmp_path / "given" / "fsdd").mkdir(parents=True)
    (tmp_path / "given" / "fsdd" / "recordings.parquet").write_bytes(body)
    sums = f"{hashlib.sha256(body).hexdigest()}  fsdd/recordings.parquet\n"
    (tmp_path / "given" / "SHA256SUMS").write_text(sums)
    monkeypatch.setenv("GENAI_DATA", str(tmp_path / "given"))
    check_recordings(load("spoken_digits"), (5, 12))
    check_recordings(load("spoken_digits", "test"), (4,))
    assert server.log == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [(recordings(rate=16_000), "8000 Hz"), ([r for r in recordings() if r[2] == 4], "holds no recording for train")],
)
def test_recordings_that_do_not_fit_are_one_clear_error(server, cache, monkeypatch, rows, message):
    put_published(server, monkeypatch, "spoken_digits", "v1.0.10.zip", recordings_zip(rows))
    with pytest.raises(DataError, match=f"v1.0.10.zip cannot be read as spoken_digits.*{message}"):
        load("spoken_digits", **QUICK)


# --- the real data, where there are any ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = os.environ.get("GENAI_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not (Path(folder) / "SHA256SUMS").is_file():
        pytest.skip("no real data: set GENAI_DATA to a folder that holds mnist/, cifar10/ and SHA256SUMS")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENAI_DATA", str(folder))
        patch.setenv("GENAI_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Path(folder)


def test_real_mnist_is_the_published_one_in_its_order(real):
    test = load("mnist", "test")
    assert test.images.shape == (10_000, 1, 28, 28) and test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert torch.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert equal(load("mnist", "test"), test.images.numpy(), test.labels.numpy())  # from the kept pixels


@pytest.mark.slow
def test_real_mnist_for_training_has_the_known_mean_and_spread(real):
    train = load("mnist")
    assert train.images.shape == (60_000, 1, 28, 28) and train.labels[:6].tolist() == [5, 0, 4, 1, 9, 2]
    x = train.images.double() / 255
    assert abs(x.mean() - 0.1307) < 5e-5 and abs(x.std() - 0.3081) < 5e-5  # as is quoted everywhere


def test_real_cifar_is_read_and_says_when_it_is_a_jpeg_copy(real):
    test = load("cifar10", "test")
    assert test.images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(test.labels).tolist() == [1_000] * 10
    mean = test.images.double().mean((0, 2, 3)) / 255
    assert (mean - torch.tensor([0.494, 0.485, 0.450])).abs().max() < 0.005
    first = pq.read_table(real / "cifar10" / "test-00000-of-00001.parquet")["img"][0].as_py()["bytes"]
    assert ("note" in test.extra) == first.startswith(b"\xff\xd8")


def given(real: Path, file: str) -> None:
    if not (real / file).is_file():
        pytest.skip(f"GENAI_DATA holds no {file}")


def test_real_tiny_shakespeare_is_the_published_one(real):
    given(real, "tinyshakespeare/input.txt")
    train, test = load("tiny_shakespeare"), load("tiny_shakespeare", "test")
    assert len(train.text) + len(test.text) == 1_115_394 and len(set(train.text)) == 65
    assert train.text.startswith("First Citizen:\nBefore we proceed any further")


def test_real_spoken_digits_are_six_speakers_with_five_of_each_digit_for_test(real):
    given(real, "fsdd/recordings.parquet")
    test = load("spoken_digits", "test")
    assert len(test) == 300 and torch.bincount(test.labels).tolist() == [30] * 10
    assert torch.bincount(test.extra["speaker"]).tolist() == [50] * 6 and len(test.extra["speakers"]) == 6
    assert 1_000 < test.lengths.min() and test.lengths.max() <= 8_000 and test.waves.shape == (300, 8_000)


# --- captions in two languages: from GENAI_DATA only ---------------------------------------------------------------

CAPTIONS = {"en": "A man  \nTwo dogs\u2028run\n", "fr": "Un homme\nDeux chiens courent\n"}


def captions_folder(tmp_path: Path, captions: dict[str, str]) -> Path:
    folder = tmp_path / "given"
    (folder / "multi30k").mkdir(parents=True)
    sums = []
    for language, text in captions.items():
        body = gzip.compress(text.encode())
        (folder / "multi30k" / f"train.{language}.gz").write_bytes(body)
        sums.append(f"{hashlib.sha256(body).hexdigest()}  multi30k/train.{language}.gz\n")
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def test_captions_are_paired_line_by_line(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_DATA", str(captions_folder(tmp_path, CAPTIONS)))
    data = load("multi30k")
    assert data.sources == ("A man", "Two dogs\u2028run")  # only a newline ends a line
    assert data.targets == ("Un homme", "Deux chiens courent")
    assert "non-commercial" in data.extra["terms"] and data.extra["source"].startswith("GENAI_DATA")


def test_captions_that_do_not_pair_are_one_clear_error(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_DATA", str(captions_folder(tmp_path, CAPTIONS | {"fr": "Un homme\n"})))
    with pytest.raises(DataError, match="cannot be read as multi30k.*targets must be 2"):
        load("multi30k")


def test_captions_that_fail_their_checksum_are_an_error(cache, tmp_path, monkeypatch):
    folder = captions_folder(tmp_path, CAPTIONS)
    (folder / "multi30k" / "train.fr.gz").write_bytes(gzip.compress(b"Une femme\nDeux chats\n"))
    monkeypatch.setenv("GENAI_DATA", str(folder))
    with pytest.raises(DataError, match="train.fr.gz"):
        load("multi30k")


def test_captions_are_never_downloaded_and_the_error_says_what_to_do(server, cache, monkeypatch):
    monkeypatch.delenv("GENAI_MIRRORS")
    with pytest.raises(DataError, match="it is not downloaded") as error:
        load("multi30k", "test")
    text = str(error.value)
    assert "multi30k/test_2016_flickr.en.gz, multi30k/test_2016_flickr.fr.gz and a SHA256SUMS" in text
    assert 'load("spoken_forms")' in text and "connect to the network" not in text and server.log == []


def test_real_captions_are_the_published_ones(real):
    given(real, "multi30k/train.en.gz")
    train, test = load("multi30k"), load("multi30k", "test")
    assert len(train) == 29_000 and len(test) == 1_000
    assert train.sources[0].startswith("Two young, White males") and train.targets[0].startswith("Deux jeunes hommes")
    for data, split in ((train, "train"), (test, "test")):
        sums = [f"sha256:{hashlib.sha256(Path(file).read_bytes()).hexdigest()}" for file in data.extra["files"]]
        assert sums == [PUBLISHED["multi30k"].checksums[file] for file in PUBLISHED["multi30k"].files[split]]
