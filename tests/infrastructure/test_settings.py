"""Each function has exactly the environment variables that its code reads."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lambda_src.shared import settings
from scanners.policies import Environment
from stacks.config import PROJECT_ROOT

Name = tuple[str, str]  # module, and a name that it defines

SETTINGS = "lambda_src.shared.settings"
# The environment variable of each setting: the first string in its definition
VARIABLES = {
    target.id: next(
        part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    for node in ast.parse(Path(settings.__file__).read_text()).body
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call)
    for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    if isinstance(target, ast.Name) and hasattr(getattr(settings, target.id), "cache_clear")
}


@cache
def definitions(module: str) -> dict[str, frozenset[Name]]:
    """What each function, class or constant of a module names, of its own module or of another."""
    path = PROJECT_ROOT / f"{module.replace('.', '/')}.py"
    body = ast.parse(path.read_text()).body
    imported: dict[str, Name] = {}
    for node in body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lambda_src"):
            for alias in node.names:
                imported[alias.asname or alias.name] = (str(node.module), alias.name)

    def names(node: ast.AST) -> Iterator[Name]:
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in imported:
                yield ".".join(imported[part.value.id]), part.attr
            elif isinstance(part, ast.Name):
                yield imported.get(part.id, (module, part.id))

    found: dict[str, frozenset[Name]] = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        defined = [getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)]
        found |= {name: frozenset(names(node)) for name in defined if name}
    return found


def reads(module: str) -> set[str]:
    """The variables that a handler can come to."""
    seen: set[Name] = set()
    ahead = [(module, "handler")]
    while ahead:
        found = ahead.pop()
        if found not in seen:
            seen.add(found)
            if found[0] != SETTINGS and (PROJECT_ROOT / f"{found[0].replace('.', '/')}.py").is_file():
                ahead += definitions(found[0]).get(found[1], ())
    return {VARIABLES[name] for where, name in seen if where == SETTINGS}


def test_each_function_has_the_variables_that_it_reads(assembly: Path) -> None:
    functions = dict(Environment(assembly, "dev").resources("AWS::Lambda::Function", "Environment", "Handler"))
    own = {name: each for name, each in functions.items() if each["Handler"].startswith("lambda_src.")}
    assert own
    for name, function in own.items():
        needed = reads(function["Handler"].removesuffix(".handler"))
        assert set(function["Environment"]["Variables"]) == needed | {"METRIC_NAMESPACE"}, name
