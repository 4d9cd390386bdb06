"""Say that a change of code leaves stored results as they are: python -m tools.results.vouch --why TEXT FILE...

A mended corner, such as the error for a bad argument, does not ask for hours of measuring. This command takes your word
for it, but not alone: the figures that tests/results/test_recomputed.py measures again must come out as stored. The
results then name the file's new hash and, under "vouched", the old one and your reason, for every later reader. Where a
stored number may have changed, run the script that measured it instead.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from genai_utils.results import FOLDER, ROOT, source_hash, stale


def recomputed() -> bool:
    """Say whether the cheap figures of every chapter come out as they are stored."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/results/test_recomputed.py"]
    return subprocess.run(command, cwd=ROOT).returncode == 0


def vouch(
    files: Iterable[str], why: str, *, check: Callable[[], bool] = recomputed, folder: Path = FOLDER, root: Path = ROOT
) -> list[str]:
    """Vouch for every stored result that one of the files has made stale, and for those that rest on it; return names.

    Args:
        files: sources that have changed, relative to the repository.
        why: what has changed, and why no stored number depends on it.
        check: says whether the stored figures still come out.
        folder, root: of the results, and of the repository.
    Raises:
        ValueError: no reason; a file that made nothing stale; other files made a result stale, too; `check` failed.
            Nothing is written then.
    """
    files, left = list(files), set(files)
    if not why.strip():
        raise ValueError("say why no stored number depends on the change: --why 'only the error message is new'")
    found = {path: stale(path.stem, folder=folder, root=root) for path in sorted(folder.glob("*.json"))}
    mine = {path: changed for path, changed in found.items() if set(changed) & set(files)}
    for path, changed in mine.items():
        left -= set(changed)
        if other := sorted(set(changed) - set(files)):
            raise ValueError(
                f"results {path.stem} are stale by {', '.join(other)}, too: name these as well, or measure again"
            )
    if left:
        raise ValueError(f"no stored result became stale by {', '.join(sorted(left))}: there is nothing to vouch for")
    if not check():
        raise ValueError("a figure that is measured again is not the stored one: measure the results again")
    written: list[Path] = []
    while mine:
        for path, changed in mine.items():
            _write(path, changed, why.strip(), root)
        written += mine
        known = {path.relative_to(root).as_posix() for path in written}  # results that rest on these come next
        found = {path: stale(path.stem, folder=folder, root=root) for path in sorted(folder.glob("*.json"))}
        mine = {path: changed for path, changed in found.items() if changed and set(changed) <= known}
    return sorted({path.stem for path in written})


def _write(path: Path, changed: list[str], why: str, root: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    for name in changed:
        now = source_hash(root / name)
        entry = {"source": name, "was": record["sources"][name], "now": now, "why": why}
        record.setdefault("vouched", []).append(entry)
        record["sources"][name] = now
    path.write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--why", required=True)
    args = parser.parse_args()
    try:
        print("vouched for:", ", ".join(vouch(args.files, args.why)))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
