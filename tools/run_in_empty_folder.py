"""Run notebooks as a reader in Colab meets them: each alone in an empty folder, its setup cell installing the package.

python tools/run_in_empty_folder.py [--repository URL] [--report FILE] [--keep FOLDER] [notebook ...]

Uses only what Colab has (nbformat, nbclient), and nothing of this repository but the notebooks themselves. --repository
puts another address (say, file:///a/clone) into the setup cell. The report is markdown; exit status 1 when one failed.
"""

import argparse
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path, repository=None, folder=None):
    """Run one notebook in an empty folder; return (seconds, None or the error's last lines)."""
    nb = nbformat.read(path, as_version=4)
    if repository:
        for cell in nb.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source, changed = re.subn(r"git\+[^\"]+", lambda _: f"git+{repository}", cell.source)
                if changed != 1:
                    raise ValueError(f"{path.name}: the setup cell names no git+ address: {cell.source}")
    with tempfile.TemporaryDirectory() as empty:
        where = Path(folder or empty)
        if any(where.iterdir()):
            raise ValueError(f"{where} is not empty")
        client = NotebookClient(nb, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(where)}})
        started, error = time.monotonic(), None
        try:
            client.execute(env=dict(os.environ))
        except Exception:
            error = re.sub(r"\x1b\[[0-9;]*m", "", "".join(traceback.format_exc()))[-4000:]
        nbformat.write(nb, where / path.name)
        return time.monotonic() - started, error


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all chapters and assignments here")
    parser.add_argument("--repository", help="address to install from instead of the setup cell's own")
    parser.add_argument("--report", type=Path, help="write what happened here, as markdown")
    parser.add_argument("--keep", type=Path, help="run in this (empty) folder and leave the executed notebook there")
    args = parser.parse_args(argv)
    beside = Path(__file__).resolve().parents[1] / "notebooks"
    notebooks = args.notebooks or [p for folder in (beside, beside / "assignments")
                                   for p in sorted(folder.glob("[0-9][0-9]_*.ipynb"))]
    lines, failed = [], 0
    for path in notebooks:
        seconds, error = run(path, args.repository, args.keep)
        failed += error is not None
        lines.append(f"- {'FAILED' if error else 'passed'} `{path.parent.name}/{path.name}` ({seconds:.0f} s)")
        if error:
            lines.append(f"\n```text\n{error}\n```\n")
        print(lines[-1] if not error else "".join(lines[-2:]), flush=True)
    if args.report:
        args.report.write_text(f"{failed} of {len(notebooks)} notebooks failed.\n\n" + "\n".join(lines) + "\n")
    sys.exit(1 if failed or not notebooks else 0)


if __name__ == "__main__":
    main()
