"""Under consensus/: no I/O, clock, randomness, floats, sets or hash order (DESIGN 2, CHAIN 5).

There is one exception, for speed, and one way to claim it: a line that ends in the comment `# lint: certified-float`
may use floats if it stands in the epoch's folder. It is meant for quotients whose exactness is proven, or whose one-off
error is mended from an integer residual, with the plain integer version in the tests as oracle (EPOCH_SPEED hints 4, 5
and 12). The mark excuses floats only, and a mark on a line without any is an error, so that the list cannot rot.
"""

import ast
import io
import tokenize

import pytest

CERTIFIED_MARK = "# lint: certified-float"
CERTIFIED_FOLDER = "consensus/rules/v1/yuma/"
"""Where the mark counts: the epoch, the only rule code whose budget needs it (DESIGN 6)."""

BANNED_MODULES = (
    "asyncio",
    "concurrent",
    "datetime",
    "decimal",
    "fractions",
    "io",
    "locale",
    "logging",
    "math",
    "multiprocessing",
    "os",
    "pathlib",
    "platform",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "statistics",
    "structlog",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "trio",
    "urllib",
    "uuid",
    "zoneinfo",
)
BANNED_CALLS = {
    "set": "a set has hash order; use a sorted tuple",
    "frozenset": "a set has hash order; use a sorted tuple",
    "hash": "hash() differs between processes",
    "id": "id() differs between processes",
    "open": "rules do no I/O",
    "print": "rules do no I/O",
    "input": "rules do no I/O",
    "eval": "rules are read, not evaluated",
    "exec": "rules are read, not evaluated",
    "globals": "rules have no hidden inputs",
}
FLOAT_DTYPES = (
    "<f2",
    "<f4",
    "<f8",
    ">f2",
    ">f4",
    ">f8",
    "complex128",
    "complex256",
    "complex64",
    "f2",
    "f4",
    "f8",
    "float128",
    "float16",
    "float32",
    "float64",
    "float96",
)
"""Names of float dtypes that mean nothing else, as a string or as an attribute of anything."""

FLOAT_FUNCTIONS = (
    "average",
    "cbrt",
    "divide",
    "double",
    "exp",
    "exp2",
    "expm1",
    "float_",
    "float_power",
    "floating",
    "half",
    "histogram",
    "inexact",
    "interp",
    "linspace",
    "log",
    "log10",
    "log1p",
    "log2",
    "longdouble",
    "mean",
    "median",
    "nanmean",
    "percentile",
    "quantile",
    "reciprocal",
    "single",
    "sqrt",
    "std",
    "true_divide",
    "var",
)
"""Attributes of numpy whose result is a float whatever goes in: functions, and the dtypes with everyday names."""


def certified_lines(source: str) -> set[int]:
    """Line numbers that carry the mark as a comment (not inside a string)."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0] for t in tokens if t.type == tokenize.COMMENT and CERTIFIED_MARK in t.string}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [(node.module or "").split(".")[0]]
    return []


def _is_numpy(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy")


def _float_use(node: ast.AST) -> str | None:
    """What makes this node a float, or None."""
    match node:
        case ast.Constant(value=float() | complex()):
            return "float literal"
        case ast.Constant(value=str(text)) if text in FLOAT_DTYPES:
            return f"float dtype {text!r}"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "true division"
        case ast.Attribute(attr=attribute) if attribute in FLOAT_DTYPES:
            return f"float dtype {attribute}"
        case ast.Attribute(value=base, attr=attribute) if _is_numpy(base) and attribute in FLOAT_FUNCTIONS:
            return f"numpy.{attribute} yields floats"
        case ast.Call(func=ast.Name(id="float" | "complex")):
            return "conversion to float"
        case ast.Call(args=arguments, keywords=keywords):
            given = [*arguments, *(k.value for k in keywords)]
            if any(isinstance(a, ast.Name) and a.id == "float" for a in given) and not _is_type_test(node):
                return "float as a dtype"
    return None


def _is_type_test(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("isinstance", "issubclass")


def _impurity(node: ast.AST) -> str | None:
    """What besides floats a rule may not do, or None."""
    banned = [module for module in _imported(node) if module in BANNED_MODULES]
    if banned:
        return f"import of {banned[0]}"
    match node:
        case ast.Set() | ast.SetComp():
            return "a set has hash order; use a sorted tuple"
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
            return "rules are synchronous"
        case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
            return BANNED_CALLS[name]
        case ast.Attribute(value=base, attr="random") if _is_numpy(base):
            return "randomness"
        case ast.Call(func=ast.Attribute(attr="argsort"), keywords=keywords):
            if not any(k.arg == "kind" and getattr(k.value, "value", "") == "stable" for k in keywords):
                return 'argsort without kind="stable" leaves the order of ties to the library'
    return None


def purity_violations(path: str, source: str) -> list[str]:
    """Lines `path:line: what` for everything in a consensus module that could differ between two peers."""
    marked = certified_lines(source)
    found = [f"{path}:{line}: the mark counts in {CERTIFIED_FOLDER} only" for line in sorted(marked)]
    if path.startswith(CERTIFIED_FOLDER):
        found = []
    used: set[int] = set()
    for node in ast.walk(ast.parse(source, path)):
        what = _impurity(node)
        if what is not None:
            found.append(f"{path}:{getattr(node, 'lineno', 0)}: {what}")
        use = _float_use(node)
        if use is None:
            continue
        first, last = node.lineno, node.end_lineno or node.lineno  # type: ignore[attr-defined]
        claimed = marked & set(range(first, last + 1)) if path.startswith(CERTIFIED_FOLDER) else set()
        used |= claimed
        if not claimed:
            found.append(f"{path}:{first}: {use}")
    if path.startswith(CERTIFIED_FOLDER):
        found += [f"{path}:{line}: certified-float mark on a line without floats" for line in sorted(marked - used)]
    return found


@pytest.fixture(scope="session")
def consensus_sources(package_sources: dict[str, str]) -> dict[str, str]:
    return {path: source for path, source in package_sources.items() if path.startswith("consensus/")}


def test_rules_use_no_floats_sets_clock_or_io(consensus_sources: dict[str, str]) -> None:
    assert [line for path, source in consensus_sources.items() for line in purity_violations(path, source)] == []


def test_certified_float_lines_stand_in_the_epoch_only(consensus_sources: dict[str, str]) -> None:
    lines = {path: len(certified_lines(source)) for path, source in consensus_sources.items()}
    print(f"certified-float lines: {sum(lines.values())}", {path: n for path, n in lines.items() if n})
    assert [path for path, n in lines.items() if n and not path.startswith(CERTIFIED_FOLDER)] == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5",
        "x = 2j",
        "x = a / b",
        "x /= b",
        "x = float(a)",
        "x = a.astype(float)",
        "x = np.zeros(3, dtype=np.float64)",
        "x = np.zeros(3, dtype='float64')",
        "x = np.zeros(3, dtype='<f8')",
        "x = np.true_divide(a, b)",
        "x = np.mean(a)",
        "x = a.astype(np.double)",
        "x = np.random.default_rng(1)",
        "import math",
        "import os.path",
        "from time import monotonic",
        "def late():\n    import random",
        "import trio",
        "x = {1, 2}",
        "x = {a for a in b}",
        "x = set()",
        "x = frozenset(b)",
        "x = hash(a)",
        "x = id(a)",
        "x = open('f')",
        "x = a.argsort()",
        "x = np.argsort(a, kind='quicksort')",
        "async def late() -> None: ...",
    ],
)
def test_impure_statement_in_the_rules_is_caught(source: str) -> None:
    assert len(purity_violations("consensus/planted.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "x = a // b",
        "x = {1: 2}",
        "x = np.argsort(a, kind='stable')",
        "x = isinstance(a, float)",
        "def f(seen: frozenset[int]) -> None: ...",
        "x = 'a / b and 0.5'",
        "x = a.hash()",
        "x = a.half or 'double'",
        "from .os import x",
    ],
)
def test_pure_statement_in_the_rules_is_allowed(source: str) -> None:
    assert purity_violations("consensus/planted.py", source) == []


def test_certified_quotient_in_the_epoch_is_allowed() -> None:
    source = f"q = np.floor(\n    x / (s * scale)  {CERTIFIED_MARK}\n)"
    assert purity_violations(CERTIFIED_FOLDER + "planted.py", source) == []


def test_certified_quotient_outside_the_epoch_is_caught() -> None:
    source = f"q = x / s  {CERTIFIED_MARK}"
    assert purity_violations("consensus/rules/v1/planted.py", source) == [
        f"consensus/rules/v1/planted.py:1: the mark counts in {CERTIFIED_FOLDER} only",
        "consensus/rules/v1/planted.py:1: true division",
    ]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (f"q = x // s  {CERTIFIED_MARK}", "certified-float mark on a line without floats"),
        (f"import math  {CERTIFIED_MARK}", "import of math"),
        (f"q = x // s\ny = '{CERTIFIED_MARK}' and x / s", "true division"),
    ],
)
def test_certified_mark_that_excuses_something_else_is_caught(source: str, what: str) -> None:
    assert any(line.endswith(what) for line in purity_violations(CERTIFIED_FOLDER + "planted.py", source))
