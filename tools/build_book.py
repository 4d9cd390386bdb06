"""Build the book: python -m tools.build_book

Executes each chapter that changed (two at a time, one thread each, on the CPU, QUICK) into jupyter-cache, then builds
every page strictly: a warning is an error. Chapters whose code, and whose package, are as before are not run again.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from tools import chapters, live, vendor

BUILD = chapters.ROOT / "_build"
CACHE = BUILD / ".jupyter_cache"
TIMEOUT = 600


class BuildError(Exception):
    """The book could not be built; the message says what to do."""


def package_hash():
    """Hash of everything outside a chapter that its outputs depend on: package, weights, results, versions."""
    digest = hashlib.sha256()
    package = chapters.ROOT / "genai_utils"
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    made = (chapters.ROOT / "assets" / "live").glob("manifest.json")     # pages name its files
    for path in [*sorted(files), chapters.ROOT / "requirements.lock", *made]:
        digest.update(f"{path.relative_to(chapters.ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def fill_cache(workers=2):
    """Run the chapters that are not in the cache; return {name: seconds} and {name: error}."""
    stamp = CACHE / "package.sha256"
    if CACHE.exists() and (not stamp.exists() or stamp.read_text() != package_hash()):
        shutil.rmtree(CACHE)   # jupyter-cache knows a chapter by its code cells only
    CACHE.mkdir(parents=True, exist_ok=True)
    cache = get_cache(str(CACHE))
    stamp.write_text(package_hash())
    waiting = []
    for path in chapters.paths():
        nb = chapters.read(path)
        try:
            cache.match_cache_notebook(nb)
        except KeyError:
            waiting.append((path, nb))
    seconds, errors = {}, {}

    def run(job):
        path, nb = job
        started = time.monotonic()
        print(f"run {path.name} ...", flush=True)
        try:
            chapters.execute(nb, path.parent, timeout=TIMEOUT)
        except (CellExecutionError, CellTimeoutError) as error:
            errors[path.name] = str(error)
            print(f"run {path.name}: FAILED\n{error}", flush=True)
        else:
            seconds[path.name] = time.monotonic() - started
            print(f"run {path.name}: {seconds[path.name]:.1f} s", flush=True)
        return path, nb

    with ThreadPoolExecutor(workers) as pool:
        for path, nb in pool.map(run, waiting):
            if path.name in seconds:
                bundle = CacheBundleIn(nb, str(path), data={"execution_seconds": seconds[path.name]})
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return seconds, errors


def build(*, log=None):
    """Build everything; return (seconds per chapter run, pages). Raises BuildError or vendor.FetchError."""
    vendor.build()
    live.build()
    seconds, errors = fill_cache()
    if errors:
        raise BuildError(f"{len(errors)} of {len(chapters.paths())} chapters failed: {', '.join(errors)} (see above)")
    html = BUILD / "html"
    shutil.rmtree(html, ignore_errors=True)    # a page that left _toc.yml must not stay
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(chapters.ROOT),
               "-W", "-n", "--keep-going", "--all"]
    done = subprocess.run(command, cwd=chapters.ROOT, env=chapters.environment(), stdout=log, stderr=log)
    missing = [page for page in chapters.toc() if not (html / f"{page}.html").exists()]
    if missing:
        raise BuildError(f"_toc.yml names pages that were not built: {', '.join(missing)}")
    if done.returncode:
        raise BuildError("jupyter-book reported warnings or errors (above); each is an error, cure them one by one")
    return seconds, len(chapters.toc())


def main():
    started = time.monotonic()
    try:
        seconds, pages = build()
    except (BuildError, vendor.FetchError) as error:
        sys.exit(f"error: {error}")
    ran = f"{len(seconds)} of {len(chapters.paths())} chapters run, the rest unchanged"
    print(f"\nbook: {pages} pages in {time.monotonic() - started:.0f} s ({ran}): "
          f"{Path(os.path.relpath(BUILD / 'html' / 'index.html'))}")


if __name__ == "__main__":
    main()
