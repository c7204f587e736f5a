"""The container has no more than this, and a model without network can install nothing."""

import ast
import sys

from tests.container_tree import CODE

OF_THE_CONTAINER = {"numpy", "PIL", "sklearn"}


def test_the_code_imports_only_what_the_container_has() -> None:
    files = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in CODE.glob("*.py")}
    assert files.keys() >= {"train", "inference", "model", "images"}
    imported = set()
    for tree in files.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, "the container has the files in one folder, without a package"
                imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names - OF_THE_CONTAINER <= files.keys()
