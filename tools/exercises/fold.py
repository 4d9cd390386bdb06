"""Fold what a choice of variants has made constant, so that a student version shows no trace of the other choices.

`merge if False else pick` becomes `pick`, `"a" == "a"` decides such a choice, `nats / 1.0` becomes `nats`, and
`{"rate": 2, "distortion": 3}["rate"]` becomes `2`. Only such pieces are replaced; comments and layout stay.
"""

import ast

ATOMS = (ast.Name, ast.Call, ast.Attribute, ast.Constant, ast.Subscript, ast.List, ast.Tuple, ast.Dict, ast.JoinedStr)


def fold(text):
    """The text of a code cell with constant pieces folded. Raises SyntaxError when it is no Python."""
    while True:
        tree = ast.parse(text)
        inside = {id(node) for outer in ast.walk(tree) if isinstance(outer, ast.JoinedStr) for node in ast.walk(outer)}
        for node in ast.walk(tree):
            new = None if id(node) in inside else _folded(node)
            if new is not None:
                text = _replaced(text, node, new)
                break
        else:
            return text


def _folded(node):
    """What may stand in place of an expression, or None."""
    if isinstance(node, ast.IfExp) and (value := _known(node.test)) is not None:
        return node.body if value else node.orelse
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Mult) and _is_one(node.left):
            return node.right
        if isinstance(node.op, ast.Mult | ast.Div | ast.Pow) and _is_one(node.right):
            return node.left
        if isinstance(node.op, ast.Pow) and _is_one(node.left):
            return node.left
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict) and isinstance(node.slice, ast.Constant):
        keys = node.value.keys
        if keys and all(isinstance(key, ast.Constant) for key in keys):
            return next((v for k, v in zip(keys, node.value.values) if k.value == node.slice.value), None)
    return None


def _is_one(node):
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value == 1


def _known(test):
    """The truth of a test that is made of constants alone, or None."""
    parts = (ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.cmpop, ast.boolop, ast.unaryop,
             ast.operator, ast.expr_context, ast.Tuple)
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and test.func.attr in (
            "startswith", "endswith") and not test.keywords:
        pieces = [test.func.value, *test.args]
    else:
        pieces = [test]
    if not all(isinstance(node, parts) for piece in pieces for node in ast.walk(piece)):
        return None
    return bool(eval(compile(ast.Expression(test), "<constant>", "eval"), {"__builtins__": {}}))


def _span(text, node):
    """Where an expression stands in the text, as positions; the tree counts in bytes of a line."""
    lines = text.encode().splitlines(keepends=True)
    place = lambda line, column: sum(map(len, lines[:line - 1])) + column
    return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)


def _replaced(text, node, new):
    data = text.encode()
    (start, stop), (first, last) = _span(text, node), _span(text, new)
    piece = data[first:last]
    wrapped = data[start - 1:start] == b"(" and data[stop:stop + 1] == b")"
    if not isinstance(new, ATOMS) and not wrapped:
        piece = b"(" + piece + b")"
    return (data[:start] + piece + data[stop:]).decode()
