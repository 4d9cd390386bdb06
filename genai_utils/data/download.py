"""Fetch files over HTTP: resumed, retried, checked against a published checksum, and put in place atomically.

Checksums are written "sha256:<hex>" or "md5:<hex>" (what the publisher gives). Nothing unchecked is ever put in place.
"""

import hashlib
import http.client
import os
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from tqdm.auto import tqdm

AGENT = {"User-Agent": "genai_utils", "Accept-Encoding": "identity"}
CHUNK = 1 << 18  # bytes
BROKEN = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)
T = TypeVar("T")


class DataError(RuntimeError):
    """Data could not be had, or are not what their checksum says; the message says where they were sought."""


class Transient(DataError):
    """A failure that may pass: worth another try at the same address."""


def retry(action: Callable[[], T], tries: int, pause: float) -> T:
    """Return action(), tried up to `tries` times while it raises Transient; `pause` seconds, then doubled, between."""
    for k in range(tries):
        try:
            return action()
        except Transient as problem:
            if k + 1 == tries:
                raise DataError(f"{problem} ({tries} tries)") from problem
        time.sleep(pause * 2**k)
    raise ValueError(f"tries must be at least 1, got {tries}")


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the checksum of a file, written "algorithm:hex"."""
    value = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            value.update(block)
    return f"{algorithm}:{value.hexdigest()}"


def fetch(url: str, path: Path, checksum: str, *, timeout: float = 20.0, tries: int = 4, pause: float = 1.0) -> Path:
    """Download `url` to `path`, unless it is there already, and return `path`.

    An interrupted download leaves a `.part` file beside `path`, from which the next try, or the next call, goes on.
    Args:
        checksum: "sha256:<hex>" or "md5:<hex>" of the whole file.
        timeout: seconds without a byte after which the server counts as stalled.
        tries: how often to ask when the server stalls, breaks off, sends wrong bytes, or answers 5xx or 429.
        pause: seconds before the second try; doubled before each further one.
    Raises:
        DataError: the last failure; `path` is untouched.
    """
    algorithm, expected = checksum.split(":")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{expected[:12]}.part")

    def attempt() -> None:
        _receive(url, part, timeout)
        if (got := digest(part, algorithm)) != checksum:
            part.unlink()  # the next try starts from nothing: the fault may lie in the part kept from before
            raise Transient(f"the checksum is {got}, published is {checksum}")

    with FileLock(f"{part}.lock"):  # two notebooks may ask for the same file at once
        if not path.exists() or digest(path, algorithm) != checksum:
            retry(attempt, tries, pause)
            os.replace(part, path)
    return path


def _receive(url: str, part: Path, timeout: float) -> None:
    """Append to `part` what is missing of `url`; raise Transient when it breaks off, DataError when it is hopeless."""
    start = part.stat().st_size if part.exists() else 0
    headers = AGENT | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            if start and (answer.status != 206 or not _continues(answer, start)):
                start = 0  # the server sends the whole file all the same
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length is not None else None
            bar = tqdm(desc=part.name.split(".")[0], total=total, initial=start, unit="B", unit_scale=True, delay=1)
            with bar, open(part, "r+b" if start else "wb") as file:
                file.seek(start)
                while block := answer.read1(CHUNK):  # what has come, at once: a stall then loses nothing
                    file.write(block)
                    bar.update(len(block))
        if total is not None and part.stat().st_size < total:
            raise Transient(f"broke off after {part.stat().st_size} of {total} bytes")
    except urllib.error.HTTPError as problem:
        if problem.code == 416:  # the part is as long as the file, or longer
            if _complete(problem, start):
                return
            part.unlink()
            raise Transient("answered 416: the part kept from before does not fit") from problem
        if problem.code == 429 or problem.code >= 500:
            raise Transient(f"answered {problem.code} {problem.reason}") from problem
        raise DataError(f"answered {problem.code} {problem.reason}") from problem
    except BROKEN as problem:
        raise _broken(problem, timeout) from problem


def _broken(problem: Exception, timeout: float) -> DataError:
    """Return the error for a connection that failed: hopeless if the name is unknown (offline), else worth a try."""
    reason = getattr(problem, "reason", None) or problem
    if isinstance(reason, socket.gaierror):
        return DataError(f"no connection: {reason.strerror}")
    if isinstance(reason, TimeoutError):
        return Transient(f"stalled for {timeout:g} s")
    return Transient(f"no connection: {reason!r}")


def _continues(answer: http.client.HTTPResponse, start: int) -> bool:
    return (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-")


def _complete(problem: urllib.error.HTTPError, start: int) -> bool:
    return (problem.headers.get("Content-Range") or "") == f"bytes */{start}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs) -> None:
        return None


def hub_url(repository: str, file: str, *, hub: str) -> str:
    """Return the address of a file of a data set on the Hugging Face Hub."""
    return f"{hub.rstrip('/')}/datasets/{repository}/resolve/main/{urllib.parse.quote(file)}"


def hub_checksum(url: str, *, timeout: float = 20.0, tries: int = 4, pause: float = 1.0) -> str:
    """Return "sha256:<hex>" of a large file on the Hub, from the Hub's own metadata (X-Linked-Etag of a HEAD request).

    The answer that bears it is often a redirect to the store of the content, which must not be followed.
    Raises:
        DataError: the Hub cannot be reached, does not know the file, or gives no sha256 for it.
    """
    return retry(lambda: _linked_etag(url, timeout), tries, pause)


def _linked_etag(url: str, timeout: float) -> str:
    opener = urllib.request.build_opener(_NoRedirect)
    for _ in range(5):
        try:
            answer = opener.open(urllib.request.Request(url, headers=AGENT, method="HEAD"), timeout=timeout)
        except urllib.error.HTTPError as problem:
            answer = problem
        except BROKEN as problem:
            raise _broken(problem, timeout) from problem
        with answer:
            code, headers = answer.status, answer.headers
        etag = (headers.get("X-Linked-Etag") or "").removeprefix("W/").strip('"').lower()
        if len(etag) == 64 and set(etag) <= set("0123456789abcdef"):
            return f"sha256:{etag}"
        if code not in (301, 302, 303, 307, 308) or not headers.get("Location"):
            break
        url = urllib.parse.urljoin(url, headers["Location"])  # a renamed repository
    if code == 429 or code >= 500:
        raise Transient(f"answered {code} when asked for its sha256")
    raise DataError(f"answered {code} when asked for its sha256" if code >= 400 else "gives no sha256 for this file")


def read_sums(folder: Path) -> dict[str, str]:
    """Return {file: sha256 in hex} of a folder's SHA256SUMS; empty if it has none."""
    sums = folder / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.exists() else []
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {name.strip().lstrip("*"): value.lower() for value, name in pairs}


def add_sum(folder: Path, file: str) -> None:
    """Note the sha256 of folder/file in the folder's SHA256SUMS, atomically."""
    with FileLock(folder / "SHA256SUMS.lock"):
        sums = read_sums(folder) | {file: digest(folder / file).removeprefix("sha256:")}
        new = folder / "SHA256SUMS.part"
        new.write_text("".join(f"{value}  {name}\n" for name, value in sorted(sums.items())), encoding="utf-8")
        os.replace(new, folder / "SHA256SUMS")


def verified(folder: Path, file: str) -> Path | None:
    """Return folder/file if it exists and its sha256 is the one in the folder's SHA256SUMS; None if there is no file.

    Raises:
        DataError: the file is not listed, or is not what the list says.
    """
    path = folder / file
    if not path.is_file():
        return None
    if (listed := read_sums(folder).get(file)) is None:
        raise DataError(f"{file} is not listed in {folder / 'SHA256SUMS'} (sha256sum {file} writes its line)")
    if (got := digest(path)) != f"sha256:{listed}":
        raise DataError(f"{file} is damaged or changed: it has {got}, but SHA256SUMS says sha256:{listed}")
    return path
