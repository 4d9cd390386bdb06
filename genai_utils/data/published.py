"""Real data: `digits` from scikit-learn, and the downloaded images, text and sound, all behind `load_published`.

Sources: MNIST, LeCun, Cortes & Burges 1998. Fashion-MNIST, Xiao et al. 2017, arXiv:1708.07747. CIFAR-10, Krizhevsky
         2009. Tiny Shakespeare, Karpathy 2015 (char-rnn). Free Spoken Digit Dataset, Jackson et al., v1.0.10.
         Multi30k, task 1, English and French: Elliott et al. 2016, arXiv:1605.00459; Elliott et al. 2017.
         Checksums of the publishers' files are those of torchvision (mnist.py, `resources`), Keras (cifar10.py,
         `file_hash`) and, for the last two, of public projects that pin them; those of the Hub's files come from the
         Hub's own metadata.
"""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genai_utils.data.audio import AudioSet, read_recordings
from genai_utils.data.download import DataError, add_sum, digest, fetch, hub_checksum, hub_url, verified
from genai_utils.data.sets import ImageSet
from genai_utils.data.tasks import PairedText
from genai_utils.data.text import TextSet

JPEG_NOTE = "a JPEG copy: re-encoded, so not bit-equal to the originals; results on it should say so"


def digits(split: str = "train") -> ImageSet:
    """Return real handwritten digits, (N, 1, 8, 8): every sixth, 300, for test, and 1,497 for training.

    The originals (UCI, Alpaydin & Kaynak 1998) have 17 levels of grey, spread here over 0 to 255. Writers are not kept
    apart.
    """
    from sklearn.datasets import load_digits  # here, since importing it takes a second that other sets need not pay

    bunch = load_digits()
    chosen = (np.arange(len(bunch.target)) % 6 == 0) == (split == "test")
    images = (bunch.images[chosen].astype(np.int64) * 255 + 8) // 16  # integers: rounded the same way everywhere
    images = torch.from_numpy(images.astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target[chosen].astype(np.int64))
    return ImageSet("digits", images, labels, tuple("0123456789"))


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a published set is to be had, and what must come out."""

    mirrors: tuple[str, ...]  # addresses of folders that hold the publisher's files
    files: dict[str, tuple[str, ...]]  # split -> the publisher's files, for `read`
    checksums: dict[str, str]  # of the publisher's files
    read: Callable[[list[Path], str], Any]  # the publisher's files, split -> images and labels, or a whole set
    instead: str  # the embedded set that would serve
    folder: str = ""  # of GENAI_DATA and of the cache that holds the files; the set's name if empty
    copy: str = "{split}-00000-of-00001.parquet"  # one file that serves in place of the publisher's
    repository: str = ""  # of the Hugging Face Hub, that holds `copy`; empty: the set is not sought there
    hub_folder: str = ""  # that holds `copy`
    shape: tuple[int, int, int] | None = None  # of one image; None: `read` makes the set, from `copy` too
    classes: tuple[str, ...] = ()  # of images


def read_parquet(path: Path, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, bool]:
    """Return images (N, C, H, W) uint8, labels (N,) int64, and whether any image is a JPEG.

    The file has a column `image` or `img` of structs with `bytes` (a PNG or JPEG), and a column `label`.
    """
    import pyarrow.parquet as pq  # here, for the same reason as above

    table = pq.read_table(path)
    column = table["image" if "image" in table.column_names else "img"].combine_chunks().field("bytes")
    channels, height, width = shape
    images = np.empty((len(column), height, width, channels), dtype=np.uint8)
    jpeg = False
    for k, item in enumerate(column):
        data = item.as_py()
        jpeg |= data[:2] == b"\xff\xd8"
        picture = Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB")
        images[k] = np.asarray(picture).reshape(shape[1], shape[2], channels)
    labels = table["label"].to_numpy().astype(np.int64)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), jpeg


def read_idx(paths: list[Path], split: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, H, W) and labels (N,) of LeCun's gzipped idx files: [images, labels]."""
    arrays = []
    for path in paths:
        data = gzip.decompress(path.read_bytes())
        zero, kind, ndim = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{ndim}I", data, 4)
        if zero != 0 or kind != 8 or len(data) != 4 + 4 * ndim + int(np.prod(shape)):
            raise ValueError(f"{path.name} is no idx file of bytes")
        arrays.append(torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()))
    return arrays[0].unsqueeze(1), arrays[1].long()


class _Plain(pickle.Unpickler):
    """Unpickles arrays of numpy and nothing else: no other name is looked up, so no code can run."""

    allowed = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
        (f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_cifar(paths: list[Path], split: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, 32, 32) and labels (N,) of cifar-10-python.tar.gz, whose members are read in memory."""
    names = [f"data_batch_{k}" for k in range(1, 6)] if split == "train" else ["test_batch"]
    with tarfile.open(paths[0], "r:gz") as tar:
        batches = {}
        for member in tar:
            name = member.name.removeprefix("cifar-10-batches-py/")
            if member.isfile() and name in names:
                batches[name] = _Plain(io.BytesIO(tar.extractfile(member).read()), encoding="bytes").load()
    images = np.concatenate([batches[name][b"data"] for name in names]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batches[name][b"labels"] for name in names]).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)


def read_running_text(paths: list[Path], split: str) -> TextSet:
    """Return a text of which the first nine tenths, in characters, are for training and the rest for test."""
    whole = paths[0].read_bytes().decode("utf-8")
    border = len(whole) * 9 // 10
    text = whole[:border] if split == "train" else whole[border:]
    return TextSet("tiny_shakespeare", text, (text,), {"terms": "public domain"})


def read_captions(paths: list[Path], split: str) -> PairedText:
    """Return English captions (sources) and their French (targets), from two gzipped files of one caption a line."""
    sides = [gzip.decompress(path.read_bytes()).decode("utf-8").strip("\n").split("\n") for path in paths]
    terms = "non-commercial research and education: weights trained on it may not be passed on"
    return PairedText("multi30k", *(tuple(line.strip() for line in lines) for lines in sides), {"terms": terms})


def _idx(train_images: str, train_labels: str, test_images: str, test_labels: str) -> dict:
    """Return the files and checksums of a set in LeCun's format, from four md5."""
    names = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    sums = (f"md5:{value}" for value in (train_images, train_labels, test_images, test_labels))
    files = {"train": tuple(names[:2]), "test": tuple(names[2:])}
    return {"files": files, "checksums": dict(zip(names, sums, strict=True)), "read": read_idx, "shape": (1, 28, 28)}


PUBLISHED = {
    "mnist": Published(
        repository="ylecun/mnist",
        hub_folder="mnist",
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        **_idx(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        classes=tuple("0123456789"),
        instead='load("glyphs") (28x28 letters and digits) or load("digits") (8x8 handwriting)',
    ),
    "fashion_mnist": Published(
        repository="zalando-datasets/fashion_mnist",
        hub_folder="fashion_mnist",
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
        **_idx(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        classes=tuple("T-shirt/top,trouser,pullover,dress,coat,sandal,shirt,sneaker,bag,ankle boot".split(",")),
        instead='load("glyphs") (28x28 letters and digits)',
    ),
    "cifar10": Published(
        repository="uoft-cs/cifar10",
        hub_folder="plain_text",
        mirrors=("https://www.cs.toronto.edu/~kriz",),
        files=dict.fromkeys(("train", "test"), ("cifar-10-python.tar.gz",)),
        checksums={"cifar-10-python.tar.gz": "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
        read=read_cifar,
        shape=(3, 32, 32),
        classes=tuple("airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck".split(",")),
        instead='load("scenes") (32x32 colour pictures of shapes)',
    ),
    "tiny_shakespeare": Published(
        mirrors=("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",),
        files=dict.fromkeys(("train", "test"), ("input.txt",)),
        checksums={"input.txt": "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
        read=read_running_text,
        folder="tinyshakespeare",
        copy="input.txt",
        instead='load("tales") (stories of a small grammar) or load("python_docs") (running text)',
    ),
    "spoken_digits": Published(
        mirrors=("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags",),
        files=dict.fromkeys(("train", "test"), ("v1.0.10.zip",)),
        checksums={"v1.0.10.zip": "sha256:c680098f5d2355ba7cc4bd8b0ca9e0a24c00ebe3b4c552208889a4d28d4fbc2b"},
        read=read_recordings,
        folder="fsdd",
        copy="recordings.parquet",
        instead='load("tones") (eight notes on three instruments)',
    ),
    "multi30k": Published(  # no address of the publisher is known for certain: nothing is downloaded
        mirrors=(),
        files={"train": ("train.en.gz", "train.fr.gz"), "test": ("test_2016_flickr.en.gz", "test_2016_flickr.fr.gz")},
        checksums={
            "train.en.gz": "sha256:d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
            "train.fr.gz": "sha256:622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
            "test_2016_flickr.en.gz": "sha256:611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
            "test_2016_flickr.fr.gz": "sha256:6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
        },
        read=read_captions,
        instead='load("spoken_forms") (dates and numbers into words)',
    ),
}


def cache_folder() -> Path:
    """Return GENAI_CACHE, else ~/.cache/genai_utils. Its folder `data` is laid out like GENAI_DATA, and can be one."""
    return Path(os.environ.get("GENAI_CACHE") or Path.home() / ".cache" / "genai_utils")


def load_published(name: str, split: str = "train", **options) -> ImageSet | TextSet | AudioSet | PairedText:
    """Return a published set from the first place that has it: GENAI_DATA, the cache, the Hub, the publisher's files.

    `options` are those of `fetch` (timeout, tries, pause). Environment: GENAI_DATA, GENAI_CACHE, GENAI_HUB (else
    HF_ENDPOINT), GENAI_MIRRORS (addresses, separated by blanks, in place of the publisher's), HF_HUB_OFFLINE=1.
    Raises:
        DataError: no place has it; the message tells what failed at each, and which embedded set would serve instead.
    """
    spec, failures = PUBLISHED[name], []
    spec = replace(spec, folder=spec.folder or name, copy=spec.copy.format(split=split))
    for place in (_local, _hub, _mirrors):
        for where, attempt in place(name, split, spec, options):
            try:
                if (paths := attempt()) is not None:
                    return (_decode if spec.shape else _read)(name, split, spec, paths, where)
                failures.append(f"{where}: has no {name}")
            except DataError as problem:
                failures.append(f"{where}: {problem}")
                if where.startswith("GENAI_DATA"):  # the user named this folder: nothing else may quietly replace it
                    raise DataError(_message(name, split, spec, failures)) from problem
    raise DataError(_message(name, split, spec, failures))


def _message(name: str, split: str, spec: Published, failures: list[str]) -> str:
    sought = "\n".join(f"  - {failure}" for failure in failures)
    if spec.mirrors:
        cure = "connect to the network and call again (a broken download goes on where it stopped), or"
        files = f"{spec.folder}/{spec.copy}"
    else:
        cure = "it is not downloaded: ask its publisher for it, under its own terms, and"
        files = ", ".join(f"{spec.folder}/{file}" for file in spec.files[split])
    return (
        f'could not load("{name}", "{split}"):\n{sought}\n'
        f"What to do: {cure} set GENAI_DATA to a folder that holds {files} and a SHA256SUMS.\n"
        f"Offline, {spec.instead} would serve instead."
    )


Attempts = Iterator[tuple[str, Callable[[], list[Path] | None]]]


def _local(name: str, split: str, spec: Published, options: dict) -> Attempts:
    """Yield the folders on this machine: GENAI_DATA if set, and the cache."""

    def find(folder: Path) -> list[Path] | None:
        if not folder.is_dir():
            raise DataError("there is no such folder")
        for files in ((spec.copy,), spec.files[split]):
            paths = [verified(folder, f"{spec.folder}/{file}") for file in files]
            if all(paths):
                return paths
        return None

    if os.environ.get("GENAI_DATA"):
        folder = Path(os.environ["GENAI_DATA"]).expanduser()
        yield f"GENAI_DATA={folder}", lambda: find(folder)
    cache = cache_folder() / "data"
    yield f"cache {cache}", lambda: find(cache) if cache.is_dir() else None


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _hub(name: str, split: str, spec: Published, options: dict) -> Attempts:
    """Yield the Hub's copy, if there is one, checked against the Hub's own metadata."""
    if not spec.repository:
        return
    hub = os.environ.get("GENAI_HUB") or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    url = hub_url(spec.repository, f"{spec.hub_folder}/{spec.copy}", hub=hub)

    def attempt() -> list[Path]:
        if _offline():
            raise DataError("not asked, since HF_HUB_OFFLINE is set")
        checksum = hub_checksum(url, **options)
        return [_fetch_to_cache(url, f"{spec.folder}/{spec.copy}", checksum, options)]

    yield url, attempt


def _mirrors(name: str, split: str, spec: Published, options: dict) -> Attempts:
    """Yield the publisher's addresses, one after the other."""
    for mirror in os.environ.get("GENAI_MIRRORS", "").split() or spec.mirrors:

        def attempt(mirror: str = mirror) -> list[Path]:
            if _offline():
                raise DataError("not asked, since HF_HUB_OFFLINE is set")
            return [
                _fetch_to_cache(f"{mirror.rstrip('/')}/{file}", f"{spec.folder}/{file}", spec.checksums[file], options)
                for file in spec.files[split]
            ]

        yield mirror, attempt


def _fetch_to_cache(url: str, file: str, checksum: str, options: dict) -> Path:
    folder = cache_folder() / "data"
    try:
        path = fetch(url, folder / file, checksum, **options)
        add_sum(folder, file)
    except OSError as problem:
        raise DataError(f"cannot write to {folder} ({problem}); set GENAI_CACHE to a folder with room") from problem
    return path


def _read(name: str, split: str, spec: Published, paths: list[Path], where: str) -> TextSet | AudioSet | PairedText:
    """Return the set that `read` makes of verified files."""
    try:
        data = spec.read(paths, split)
    except Exception as problem:  # whatever a reader trips over becomes the one clear error
        raise DataError(f"{paths[0]} cannot be read as {name}: {problem!r}") from problem
    return replace(data, extra=data.extra | {"source": where, "files": [str(path) for path in paths]})


def _decode(name: str, split: str, spec: Published, paths: list[Path], where: str) -> ImageSet:
    """Return the set read from verified files; decoded pixels are kept in the cache under the files' sha256."""
    source = hashlib.sha256("".join(digest(path) for path in paths).encode()).hexdigest()
    kept = cache_folder() / "decoded" / f"{name}-{split}-{source[:24]}.safetensors"
    try:
        images, labels, note = _recall(kept)
    except (OSError, SafetensorError, KeyError, ValueError):  # not kept yet, or damaged: decode it again
        try:
            if paths[0].suffix == ".parquet":
                images, labels, jpeg = read_parquet(paths[0], spec.shape)
            else:
                (images, labels), jpeg = spec.read(paths, split), False
        except Exception as problem:  # whatever a decoder trips over becomes the one clear error
            raise DataError(f"{paths[0]} cannot be read as {name}: {problem!r}") from problem
        note = JPEG_NOTE if jpeg else ""
        _keep(kept, images, labels, note)
    if images.shape[1:] != spec.shape or len(images) != len(labels) or not labels.max() < len(spec.classes):
        raise DataError(f"{paths[0]} holds images {tuple(images.shape)} and labels up to {labels.max()}: not {name}")
    extra = {"source": where, "files": [str(path) for path in paths]} | ({"note": note} if note else {})
    return ImageSet(name, images, labels, spec.classes, extra)


def _recall(kept: Path) -> tuple[Tensor, Tensor, str]:
    with safe_open(kept, "pt") as file:
        images, labels, said = file.get_tensor("images"), file.get_tensor("labels"), file.metadata()
    if _digest_of(images, labels) != said["sha256"]:
        raise ValueError("the kept pixels are damaged")
    return images, labels, said["note"]


def _digest_of(images: Tensor, labels: Tensor) -> str:
    value = hashlib.sha256(images.numpy())
    value.update(labels.numpy())
    return value.hexdigest()


def _keep(kept: Path, images: Tensor, labels: Tensor, note: str) -> None:
    part = kept.with_suffix(f".{os.getpid()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        said = {"note": note, "sha256": _digest_of(images, labels)}
        save_file({"images": images, "labels": labels}, part, metadata=said)
        os.replace(part, kept)
    except OSError:  # a read-only or full disk: decoding again next time is slow, not wrong
        part.unlink(missing_ok=True)
