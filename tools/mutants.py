"""Mutants of a source: copies of it, each with one small change that its tests should see."""

import ast
from dataclasses import dataclass
from typing import Any

COMPARISONS: dict[type, tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
WORDS = {
    kind: ast.unparse(ast.Compare(ast.Name("a"), [kind()], [ast.Name("b")]))[2:-2]
    for kind in COMPARISONS
}
OPERATORS: dict[type, str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.BitXor: "|",
}
OPPOSITES = (
    ("max", "min"),
    ("maximum", "minimum"),
    ("argmax", "argmin"),
    ("reduce_max", "reduce_min"),
    ("any", "all"),
    ("reduce_any", "reduce_all"),
    ("floor", "ceil"),
    ("ones", "zeros"),
    ("ones_like", "zeros_like"),
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
SCOPES = (*FUNCTIONS, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NAMES = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


@dataclass(frozen=True)
class Mutant:
    """One change of a source: bytes from `start` to `stop` are replaced by `after`."""

    number: int
    line: int
    kind: str
    before: str
    after: str
    start: int
    stop: int

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.stop :]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"#{self.number} line {self.line}, {self.kind}: `{before}` -> `{after}`"


def _bound(node: ast.AST) -> frozenset[str]:
    """Names that a piece of code binds where it stands, so not those of functions in it."""
    if isinstance(node, SCOPES):
        return frozenset()
    if isinstance(node, ast.arg):
        return frozenset({node.arg})
    if isinstance(node, ast.Name):
        return frozenset({node.id} if isinstance(node.ctx, ast.Store) else ())
    return frozenset().union(*map(_bound, ast.iter_child_nodes(node)))


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


class _Walk:
    """Every change of a tree, as (node, kind, replacement)."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, str, str]] = []

    def add(self, node: ast.AST, kind: str, *after: str) -> None:
        self.found += [(node, kind, text) for text in after]

    def walk(self, node: ast.AST, known: frozenset[str] = frozenset()) -> None:
        """Go through a node, before which these names are known."""
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)) or _is_docstring(node):
            return
        visit = getattr(self, f"_{type(node).__name__.lower()}", None)
        if visit is not None:
            visit(node)
        if isinstance(node, SCOPES):
            known = frozenset()
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.stmt):
                    self.statement(child, known)
                if isinstance(child, ast.AST):
                    self.walk(child, known)
                    known |= _bound(child)

    def statement(self, node: ast.stmt, known: frozenset[str]) -> None:
        """A statement is left out where the names that it binds are known without it."""
        if isinstance(node, ast.Assign):
            bound = _bound(node)
            without = bool(bound) and bound <= known
        else:
            called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            without = called or isinstance(node, (ast.AugAssign, ast.Raise))
        if without:
            self.add(node, "left out", "pass")

    def _compare(self, node: ast.Compare) -> None:
        for i, op in enumerate(node.ops):
            sides = [node.left, *node.comparators]
            words = [WORDS[type(o)] for o in node.ops]
            for other in COMPARISONS[type(op)]:
                changed = [*words[:i], other, *words[i + 1 :]]
                text = ast.unparse(sides[0])
                for word, side in zip(changed, sides[1:], strict=True):
                    text += f" {word} {_inside(side)}"
                self.add(node, "comparison", f"({text})")

    def _binop(self, node: ast.BinOp) -> None:
        other = OPERATORS.get(type(node.op))
        if other:
            text = f"({_inside(node.left)} {other} {_inside(node.right)})"
            self.add(node, "operator", text)

    def _augassign(self, node: ast.AugAssign) -> None:
        other = OPERATORS.get(type(node.op))
        if other:
            text = f"{ast.unparse(node.target)} {other}= {ast.unparse(node.value)}"
            self.add(node, "operator", text)

    def _unaryop(self, node: ast.UnaryOp) -> None:
        self.add(node, "sign left out", _inside(node.operand))

    def _boolop(self, node: ast.BoolOp) -> None:
        word = " or " if isinstance(node.op, ast.And) else " and "
        self.add(node, "and, or", f"({word.join(_inside(value) for value in node.values)})")

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add(node, "boolean", repr(not value))
        elif isinstance(value, int):
            self.add(node, "constant", repr(value + 1), *(["0"] if value else []))
        elif isinstance(value, float):
            self.add(node, "constant", *([repr(1e3 * value), "0.0"] if value else ["1.0"]))

    def _negate(self, node: Any) -> None:
        test = node.test
        self.add(test, "condition", f"(not {_inside(test)})")

    _if = _while = _ifexp = _negate

    def _comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self.add(condition, "condition", f"(not {_inside(condition)})")

    def _break(self, node: ast.Break) -> None:
        self.add(node, "break, continue", "continue")

    def _continue(self, node: ast.Continue) -> None:
        self.add(node, "break, continue", "break")

    def _return(self, node: ast.Return) -> None:
        if node.value is not None and not _is_none(node.value):
            self.add(node, "result", "return None")

    def _call(self, node: ast.Call) -> None:
        if node.args and not isinstance(node.args[0], ast.Starred):
            self.add(node, "call left out", _inside(node.args[0]))
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                kept = [*node.keywords[:i], *node.keywords[i + 1 :]]
                shorter = ast.Call(node.func, node.args, kept)
                self.add(node, f"{keyword.arg} left out", ast.unparse(shorter))
        name = node.func
        if isinstance(name, ast.Attribute) and name.attr in NAMES:
            other = ast.Attribute(name.value, NAMES[name.attr], ast.Load())
            self.add(name, "opposite", ast.unparse(other))
        elif isinstance(name, ast.Name) and name.id in NAMES:
            self.add(name, "opposite", NAMES[name.id])


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _inside(node: ast.AST) -> str:
    """Source of an expression that can stand anywhere."""
    text = ast.unparse(node)
    simple = (ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript, ast.List, ast.Tuple)
    return text if isinstance(node, simple) else f"({text})"


def mutants_of(source: bytes) -> list[Mutant]:
    """All mutants of a source, from top to bottom; those that do not compile are left out."""
    walk = _Walk()
    walk.walk(ast.parse(source))
    starts = [0]
    for row in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(row))
    found: dict[tuple[int, int, str], str] = {}
    for node, kind, after in walk.found:
        start = starts[node.lineno - 1] + node.col_offset
        stop = starts[node.end_lineno - 1] + node.end_col_offset
        found.setdefault((start, stop, after), kind)
    mutants: list[Mutant] = []
    for (start, stop, after), kind in sorted(found.items()):
        line = source[:start].count(b"\n") + 1
        before = source[start:stop].decode()
        mutant = Mutant(len(mutants), line, kind, before, after, start, stop)
        try:
            changed = ast.parse(mutant.apply(source))
        except SyntaxError:
            continue
        if ast.dump(changed) != ast.dump(ast.parse(source)):
            mutants.append(mutant)
    return mutants
