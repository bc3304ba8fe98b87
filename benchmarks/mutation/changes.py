"""Small mistakes that can be made in a line of Python: a sign, a constant, a term or an argument.

changes(source) lists all of them as Change(start, end, text, kind): bytes start…end of the source are replaced by text.
It leaves out changes that every run would notice (undefined names) or that no test should (messages, annotations).
"""

import ast
import random
from typing import NamedTuple

SWAPPED = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.Pow: ("**", "*"),
           ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "//"), ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"),
           ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
           ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
           ast.And: ("and", "or"), ast.Or: ("or", "and")}


class Change(NamedTuple):
    start: int
    end: int
    text: str
    kind: str

    def of(self, source):
        """The source with this change made."""
        raw = source.encode()
        return (raw[:self.start] + self.text.encode() + raw[self.end:]).decode()


def changes(source):
    """All changes that leave a source text valid Python with another meaning."""
    tree, lines = ast.parse(source), [0]
    for line in source.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def span(node):
        return lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset
    found = list(_of(tree, [], span, source.encode()))
    return [c for c in found if _valid(c.of(source), ast.dump(tree))]


def one_per_line(source, seed):
    """{line number: Change} for every line that can be changed. First a kind is drawn, then a change of that kind. The
    draw depends on the seed and on the line's own text, so that an edit elsewhere does not affect it."""
    lines, by_line = source.splitlines(), {}
    for change in changes(source):
        number = source.encode()[:change.start].count(b"\n") + 1
        by_line.setdefault(number, {}).setdefault(change.kind, []).append(change)
    drawn = {}
    for number, kinds in sorted(by_line.items()):
        rng = random.Random(f"{seed} {lines[number - 1]}")
        drawn[number] = rng.choice(kinds[rng.choice(sorted(kinds))])
    return drawn


def _valid(source, original):
    try:
        return ast.dump(ast.parse(source)) != original
    except SyntaxError:
        return False


def _of(node, names, span, raw):
    """Changes of a node and of all below it; names are the arguments of the function around it."""
    if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.FunctionDef):
        names = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
    elif isinstance(node, ast.AnnAssign):
        node = node.value or ast.Pass()
    elif type(node) in OF:
        for start, end, text in OF[type(node)](node, names, span, raw):
            yield Change(start, end, text, type(node).__name__)
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.FunctionDef) and child in node.decorator_list:
            continue
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):  # a docstring
            yield from _of(child, names, span, raw)


def _operators(operators, operands, span, raw):
    for operator, left, right in zip(operators, operands, operands[1:], strict=False):
        if type(operator) in SWAPPED:
            old, new = SWAPPED[type(operator)]
            start, end = span(left)[1], span(right)[0]
            yield start, end, raw[start:end].decode().replace(old, new, 1)


def _sum_or_product(node, names, span, raw):
    """a + b → a − b, and either side alone"""
    yield from _operators([node.op], [node.left, node.right], span, raw)
    for side in (node.left, node.right):
        yield *span(node), f"({_text(side, span, raw)})"


def _comparison(node, names, span, raw):
    yield from _operators(node.ops, [node.left, *node.comparators], span, raw)


def _logic(node, names, span, raw):
    yield from _operators([node.op] * (len(node.values) - 1), node.values, span, raw)


def _sign(node, names, span, raw):
    """−a → a, not a → a"""
    yield *span(node), f"({_text(node.operand, span, raw)})"


def _number(node, names, span, raw):
    """n → n + 1, true ↔ false"""
    if isinstance(node.value, bool):
        yield *span(node), str(not node.value)
    elif isinstance(node.value, (int, float)):
        yield *span(node), str(node.value + 1)


def _name(node, names, span, raw):
    """Another argument of the function in place of this one"""
    if node.id in names and isinstance(node.ctx, ast.Load):
        for other in names:
            if other not in (node.id, "self"):
                yield *span(node), other


def _call(node, names, span, raw):
    """f(a, …) → a, f(a, b) → f(b, a), an option left out"""
    plain = [a for a in node.args if not isinstance(a, ast.Starred)]
    if plain and plain == node.args:
        yield *span(node), f"({_text(plain[0], span, raw)})"
        for a, b in zip(plain, plain[1:], strict=False):
            between = raw[span(a)[1]:span(b)[0]].decode()
            yield span(a)[0], span(b)[1], _text(b, span, raw) + between + _text(a, span, raw)
    before = [*node.args, *[k.value for k in node.keywords]]
    for option in node.keywords:
        earlier = [span(a)[1] for a in before if span(a)[1] <= span(option)[0]]
        if option.arg and earlier:
            yield max(earlier), span(option)[1], ""


def _statement(node, names, span, raw):
    """A call whose result is not used, left out"""
    if isinstance(node.value, ast.Call):
        yield *span(node), "pass"


def _augmented(node, names, span, raw):
    """a += b → a −= b, and left out"""
    if type(node.op) in SWAPPED:
        old, new = SWAPPED[type(node.op)]
        start, end = span(node.target)[1], span(node.value)[0]
        yield start, end, raw[start:end].decode().replace(old, new, 1)
    yield *span(node), "pass"


def _condition(node, names, span, raw):
    yield *span(node.test), f"(not ({_text(node.test, span, raw)}))"


def _text(node, span, raw):
    start, end = span(node)
    return raw[start:end].decode()


OF = {ast.BinOp: _sum_or_product, ast.Compare: _comparison, ast.BoolOp: _logic, ast.UnaryOp: _sign,
      ast.Constant: _number, ast.Name: _name, ast.Call: _call, ast.Expr: _statement, ast.AugAssign: _augmented,
      ast.If: _condition, ast.IfExp: _condition, ast.While: _condition}
