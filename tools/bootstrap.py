"""Set up .venv from nothing: python3 tools/bootstrap.py (every make target does it first; standard library only).

Creates the virtual environment, installs requirements.lock and this package in editable form, and notes the lock's hash
beside it: the next call with the same lock returns at once. TORCH_INDEX, if set, is the package index from which torch
itself is installed (a CPU or another CUDA build of the pinned version). VENV chooses another folder than .venv.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
OLDEST = (3, 11)


def stop(message):
    sys.exit(f"error: {message}")


def find_python():
    """A Python new enough for the lock: $PYTHON if set, else this one, else python3.13 .. python3.11 on the PATH."""
    wanted = os.environ.get("PYTHON")
    others = [f"python3.{minor}" for minor in range(13, OLDEST[1] - 1, -1)]
    candidates = [wanted] if wanted else [sys.executable, *others]
    for candidate in candidates:
        path = shutil.which(candidate)
        if path is None:
            continue
        probe = [path, "-c", f"import sys; sys.exit(sys.version_info[:2] < {OLDEST})"]
        if subprocess.run(probe).returncode == 0:
            return path
    version = ".".join(map(str, OLDEST))
    stop(f"Python {version} or newer is needed, found none (looked at {', '.join(candidates)}). Install one, for "
         f"example `sudo apt-get install python{version} python{version}-venv`, `brew install python@{version}` or "
         f"`conda env create -f environment.yml`, or name one: `make book PYTHON=/path/to/python{version}`.")


def fingerprint():
    text = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + os.environ.get("TORCH_INDEX", "").encode()
    return hashlib.sha256(text).hexdigest()


def run(what, command, cure):
    started = time.monotonic()
    print(f"setup: {what} ...", flush=True)
    if subprocess.run([str(c) for c in command], cwd=ROOT).returncode:
        stop(f"{what} failed (its messages stand above). {cure}")
    print(f"setup: {what}: {time.monotonic() - started:.0f} s", flush=True)


def main():
    venv = Path(os.environ.get("VENV") or ROOT / ".venv")
    venv = venv if venv.is_absolute() else ROOT / venv
    stamp, python = venv / ".genai-installed", venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if stamp.exists() and stamp.read_text() == fingerprint() and python.exists():
        return
    if not python.exists():
        run(f"create {venv.name}", [find_python(), "-m", "venv", venv],
            "On Debian and Ubuntu the module is a package of its own: `sudo apt-get install python3-venv`.")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    online = "Check the network (pip must reach its index), then run the same command again; nothing is done twice."
    torch = next(line for line in LOCK.read_text().splitlines() if line.startswith("torch=="))
    if os.environ.get("TORCH_INDEX"):
        run(f"install {torch} from TORCH_INDEX", [*pip, "--index-url", os.environ["TORCH_INDEX"], torch],
            "TORCH_INDEX must be the address of a package index that has this version; unset it to take the usual one.")
    run("install requirements.lock (minutes, once; torch is the large part)", [*pip, "-r", LOCK], online)
    run("install genai_utils in editable form", [*pip, "--no-deps", "--no-build-isolation", "-e", "."], online)
    stamp.write_text(fingerprint())


if __name__ == "__main__":
    main()
