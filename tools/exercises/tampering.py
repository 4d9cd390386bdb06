"""Put back what a submission may not change, and flag for a person what a program cannot judge.

Seen and put back: a locked or graded cell that was changed, deleted, doubled or invented, and a changed order.
Seen and flagged only, from the text of the student's cells: replaced functions of imported modules, names of the tests
that the student's cells define anew, access to the interpreter (get_ipython, builtins, gc, ctypes, frames), other
processes, the network, exit. Not seen: whatever the text does not show, such as names put together at run time, code
that is unpacked and run, or an object that claims to equal everything (__eq__ is flagged, but there are other ways).
A flag is no proof, and no flag is none either: read the cells of who has one.
"""

import ast
from copy import deepcopy

REACHES = {  # names that an answer to an exercise does not need
    "get_ipython", "__builtins__", "builtins", "ctypes", "gc", "inspect", "settrace", "setprofile", "_getframe",
    "currentframe", "subprocess", "system", "popen", "fork", "kill", "_exit", "exit", "quit", "socket", "urllib",
    "requests", "exec", "eval", "compile", "__import__", "importlib", "__eq__", "__class__", "__subclasses__",
    "excepthook", "atexit", "showtraceback", "input_transformers_post", "setattr", "delattr",
}


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def is_fixed(cell):
    """Whether the text of a cell of the release is not the student's to write."""
    marks = cell.metadata.get("nbgrader", {})
    return bool(marks) and not marks.get("solution")


def recognise(nb, release):
    """Give cells their nbgrader metadata back by cell id, where an editor dropped them (Colab: id in the metadata)."""
    known = {cell.id: cell for cell in release.cells if grade_id(cell)}
    for cell in nb.cells:
        original = known.get(cell.get("id")) or known.get(cell.metadata.get("id"))
        if original is not None and "nbgrader" not in cell.metadata:
            cell.metadata["nbgrader"] = deepcopy(original.metadata["nbgrader"])


def restore(nb, release):
    """Make `nb` (a submission) keep to the release, in place; return the flags, one text each."""
    recognise(nb, release)
    originals = {grade_id(cell): cell for cell in release.cells if grade_id(cell)}
    flags, kept, seen = [], [], set()
    for cell in nb.cells:
        name = grade_id(cell)
        if name is None:
            cell.metadata.pop("nbgrader", None)
        elif name not in originals:
            flags.append(f"a cell claims to be {name!r}, which the assignment does not have")
            del cell.metadata["nbgrader"]
        elif name in seen:
            flags.append(f"cell {name} is there twice")
            if is_fixed(originals[name]):
                continue
            del cell.metadata["nbgrader"]
        else:
            seen.add(name)
            original = originals[name]
            if is_fixed(original) and cell.source.rstrip() != original.source.rstrip():
                flags.append(f"locked cell {name} was changed" if not original.metadata.nbgrader["grade"]
                             else f"test cell {name} was changed")
            if cell.cell_type != original.cell_type:
                flags.append(f"cell {name} was made a {cell.cell_type} cell")
            if not is_fixed(original) and cell.cell_type == original.cell_type:
                cell.metadata["nbgrader"] = deepcopy(original.metadata["nbgrader"])
            else:
                text = original.source if is_fixed(original) else cell.source
                cell = deepcopy(original)
                cell.source = text
        kept.append(cell)
    order = [grade_id(cell) for cell in kept if grade_id(cell)]
    if order != [name for name in originals if name in seen]:
        flags.append("cells were moved")
    for before, name in zip([None, *originals], originals):
        if name not in seen:
            what = "test cell" if originals[name].metadata.nbgrader["grade"] and is_fixed(originals[name]) else "cell"
            flags.append(f"{what} {name} was deleted")
            at = next((i for i, cell in enumerate(kept) if before and grade_id(cell) == before), -1)
            kept.insert(at + 1 if before else 0, deepcopy(originals[name]))
            seen.add(name)
    nb.cells = kept
    return flags


def bound(tree):
    """Names that the top level of a module defines, imports left out."""
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif not isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names


def parsed(text):
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def suspicious(nb, source):
    """Flags from the text of the cells that the student wrote; `source` is the notebook with solutions and tests."""
    given = {cell.source.rstrip() for cell in source.cells}
    imported, expected, tested, allowed = set(), set(), set(), set()
    for cell in source.cells:
        if cell.cell_type != "code":
            continue
        tree = parsed(cell.source)
        allowed |= {getattr(n, "id", getattr(n, "attr", None)) for n in ast.walk(tree)}
        if cell.metadata.get("nbgrader", {}).get("grade"):
            tested |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            expected |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
            expected |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        expected |= bound(tree)
    flags = []
    for cell in nb.cells:
        if cell.cell_type != "code" or cell.source.rstrip() in given or is_fixed(cell):
            continue
        if any(line.lstrip().startswith(("!", "%")) for line in cell.source.splitlines()):
            flags.append("runs a shell command or a magic")
        tree = parsed(cell.source)
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                imported |= {(a.asname or a.name).split(".")[0] for a in node.names}
                names = {a.name.split(".")[0] for a in node.names} | {str(getattr(node, "module", "")).split(".")[0]}
                flags += [f"uses {name}" for name in sorted((names & REACHES) - allowed)]
            name = getattr(node, "id", getattr(node, "attr", None))
            if isinstance(node, ast.FunctionDef):
                name = node.name
            if name in REACHES and name not in allowed:
                flags.append(f"uses {name}")
        modules = imported | {alias for c in source.cells if c.cell_type == "code" for n in ast.walk(parsed(c.source))
                              if isinstance(n, (ast.Import, ast.ImportFrom))
                              for alias in [(a.asname or a.name).split(".")[0] for a in n.names]}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
                root = node.value
                while isinstance(root, ast.Attribute):
                    root = root.value
                if isinstance(root, ast.Name) and root.id in modules:
                    flags.append(f"replaces {ast.unparse(node)}")
        flags += [f"defines {name} anew, which the tests use" for name in sorted((bound(tree) & tested) - expected)]
    return list(dict.fromkeys(flags))
