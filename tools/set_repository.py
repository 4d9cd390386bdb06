"""Keep the repository's address in step: python -m tools.set_repository [--url URL] [--write]

_config.yml (repository.url, repository.branch) is the one place of the address. The "Open in Colab" line and the setup
cell of every chapter and student version follow it, and the setup cell of every assignment's source. Without --write
the command only names the notebooks that do not, and fails when there are any.
"""

import argparse
import re
import sys

import yaml

from tools import chapters
from tools.clean_notebooks import write

CONFIG = chapters.ROOT / "_config.yml"
SETUP = """\
# Colab, or an empty folder: install this book's package, and never another torch.
from importlib.util import find_spec

if find_spec("genai_utils") is None:
    import importlib.metadata as installed, pathlib, subprocess, sys
    torch = [f"torch=={d.version}\\n" for d in installed.distributions(name="torch")]
    pathlib.Path("keep-torch.txt").write_text("".join(torch[:1]))
    package = "genai_utils[notebook] @ git+{url}"
    command = [sys.executable, "-m", "pip", "install", "-q", "-c", "keep-torch.txt"]
    subprocess.run([*command, package], check=True)"""


def address():
    """(url, branch) as _config.yml has them."""
    repository = yaml.safe_load(CONFIG.read_text())["repository"]
    return repository["url"], repository["branch"]


def setup_cell(url):
    """The text of every chapter's cell tagged `setup`."""
    return SETUP.replace("{url}", url)


def colab_line(url, branch, name):
    """The line below every chapter's title. A text link: the book loads no picture from outside."""
    owner = url.removeprefix("https://github.com/")
    return f"[Open in Colab](https://colab.research.google.com/github/{owner}/blob/{branch}/notebooks/{name})"


def stamp(nb, name, url, branch):
    """Write the address into one notebook; raises ValueError when it has no title or setup cell."""
    first = nb.cells[0] if nb.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        raise ValueError(f"{name}: the first cell must be markdown and open with the title, '# ...'")
    setup = chapters.tagged(nb, "setup")
    if len(setup) != 1 or setup[0].cell_type != "code":
        raise ValueError(f"{name}: exactly one code cell must carry the tag 'setup', found {len(setup)}")
    line = colab_line(url, branch, name)
    if re.search(r"^\[Open in Colab\]\(.*\)$", first.source, re.M):
        first.source = re.sub(r"^\[Open in Colab\]\(.*\)$", lambda _: line, first.source, flags=re.M)
    else:
        title, _, rest = first.source.partition("\n")
        first.source = f"{title}\n\n{line}\n\n{rest.lstrip()}".rstrip()
    setup[0].source = setup_cell(url)


def sources():
    """The assignments' sources: they have no link, only a setup cell."""
    return sorted((chapters.ROOT / "notebooks" / "exercises").glob("*/*.ipynb"))


def follow(path, url, branch):
    """The notebook at `path` with the address written into it, and whether that changed anything."""
    nb = chapters.read(path)
    before = [cell.source for cell in nb.cells]
    if path in sources():
        for cell in chapters.tagged(nb, "setup"):
            cell.source = setup_cell(url)
    else:
        stamp(nb, path.relative_to(chapters.ROOT / "notebooks").as_posix(), url, branch)
    return nb, before != [cell.source for cell in nb.cells]


def notebooks():
    """Every notebook that holds the address."""
    return [*chapters.paths(), *chapters.assignments(chapters.ROOT), *sources()]


def out_of_step():
    """Paths of the notebooks whose link or setup cell is not what _config.yml says."""
    return [path for path in notebooks() if follow(path, *address())[1]]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="", help="new address, https://github.com/OWNER/REPO")
    parser.add_argument("--write", action="store_true", help="write it into _config.yml and every notebook")
    args = parser.parse_args(argv)
    if args.write and args.url:
        url = args.url.rstrip("/").removesuffix(".git")
        if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
            sys.exit(f"error: URL must be https://github.com/OWNER/REPO (Colab opens no other), got {args.url!r}")
        text = re.sub(r"^(repository:\n(?:[ #].*\n)*?  url: ).*$", lambda m: m[1] + url, CONFIG.read_text(), flags=re.M)
        CONFIG.write_text(text)
    try:
        stale = out_of_step()
    except ValueError as error:
        sys.exit(f"error: {error}")
    names = {path: path.relative_to(chapters.ROOT / "notebooks").as_posix() for path in stale}
    if stale and not args.write:
        sys.exit(f"error: {', '.join(names.values())}: link or setup cell is not _config.yml's; cure: "
                 "python -m tools.set_repository --write")
    url, branch = address()
    for path in stale:
        write(follow(path, url, branch)[0], path)
        print(f"{names[path]}: now {url}")
    print(f"repository: {url} ({branch}), {len(notebooks())} notebooks in step")


if __name__ == "__main__":
    main()
