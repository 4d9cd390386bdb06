"""Mechanical mutants of a solution: one small mistake each, made on the syntax tree."""

import ast
import copy

DROPPED = {"sqrt", "exp", "log", "square", "detach", "log1p", "expm1", "cumsum", "cumprod"}
SWAPPED = {"sum": "mean", "mean": "sum"}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


def mutants(text):
    """[(name, text)] of every mutant of a solution cell; name: '<line>: <old> -> <new>', and (2), (3) if it repeats."""
    tree, found, seen = ast.parse(text), [], {ast.unparse(ast.parse(text))}
    names = {}
    for index, node in enumerate(ast.walk(tree)):
        for number in range(len(_changes(node, tree))):
            other = copy.deepcopy(tree)
            target = list(ast.walk(other))[index]
            new = _changes(target, other)[number]
            changed = ast.unparse(ast.fix_missing_locations(_Replace(target, new).visit(other)))
            if changed in seen:
                continue
            seen.add(changed)
            name = f"{node.lineno}: {_short(node)} -> {_short(new)}"
            names[name] = names.get(name, 0) + 1
            found.append((name if names[name] == 1 else f"{name} ({names[name]})", changed))
    return sorted(found, key=lambda mutant: int(mutant[0].split(":")[0]))


class _Replace(ast.NodeTransformer):
    def __init__(self, target, new):
        self.target, self.new = target, new

    def visit(self, node):
        return self.new if node is self.target else super().visit(node)


def _short(node):
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:28]} ... {text[-28:]}"


def _call(value, method):
    return ast.Call(ast.Attribute(copy.deepcopy(value), method, ast.Load()), [], [])


def _changes(node, tree):
    """What may stand in place of a node, wrongly."""
    found = []
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        module = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) \
            and node.func.value.id in ("torch", "math", "F", "np")
        if name in DROPPED:
            inner = node.func.value if isinstance(node.func, ast.Attribute) and not module else (node.args or [None])[0]
            found += [copy.deepcopy(inner)] if inner is not None else []
        if name in SWAPPED and isinstance(node.func, ast.Attribute):
            new = copy.deepcopy(node)
            new.func.attr = SWAPPED[name]
            found.append(new)
    elif isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            new = copy.deepcopy(node)
            new.op = OPERATORS[type(node.op)]()
            found.append(new)
        if isinstance(node.op, ast.Sub):
            found.append(ast.BinOp(copy.deepcopy(node.right), ast.Sub(), copy.deepcopy(node.left)))
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
            found.append(copy.deepcopy(node.left))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found.append(copy.deepcopy(node.operand))
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        found += [ast.Constant(node.value + 1), ast.UnaryOp(ast.USub(), ast.Constant(1)) if node.value == 0
                  else ast.Constant(node.value - 1)]
    elif isinstance(node, ast.Constant) and type(node.value) is float:
        found.append(ast.Constant(2 * node.value if node.value else 1.0))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        new = copy.deepcopy(node)
        new.ops = [COMPARISONS[type(node.ops[0])]()]
        found.append(new)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) \
            and isinstance(node.value, (ast.BinOp, ast.Call)):
        found.append(ast.Assign(node.targets, _call(node.value, "detach"), lineno=node.lineno))
    elif isinstance(node, ast.Return) and isinstance(node.value, (ast.BinOp, ast.Call)):
        found.append(ast.Return(_call(node.value, "detach")))
    return found
