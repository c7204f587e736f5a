"""The functions that contain a file, and files with syntax errors."""

import re
from pathlib import Path

import pytest

from local.dev.function_code import Function, Package, changed, package_of, read, syntax_errors

CLASSIFIER: Package = {
    "lambda_src/__init__.py": b"",
    "lambda_src/classification/classifier.py": b"old",
    "lambda_src/classification/filter.py": b"old",
    "lambda_src/shared/aws.py": b"old",
}
SUMMARY: Package = {
    "lambda_src/__init__.py": b"",
    "lambda_src/bulk/summary.py": b"old",
    "lambda_src/shared/aws.py": b"old",
}


def function(module: str, package: Package) -> Function:
    return Function(f"scones-dev-{module}", module, f"/aws/lambda/{module}", package)


FUNCTIONS = [function("classifier", CLASSIFIER), function("summary", SUMMARY)]
SOURCE: Package = {**CLASSIFIER, **SUMMARY}


@pytest.mark.parametrize(
    ("path", "holders"),
    [
        ("lambda_src/classification/classifier.py", ["classifier"]),
        ("lambda_src/classification/filter.py", ["classifier"]),
        ("lambda_src/classification/new.py", ["classifier"]),
        ("lambda_src/bulk/summary.py", ["summary"]),
        ("lambda_src/shared/aws.py", ["classifier", "summary"]),
        ("lambda_src/__init__.py", ["classifier", "summary"]),
        ("lambda_src/retraining/gate.py", []),
    ],
)
def test_a_saved_file_changes_the_functions_that_hold_its_folder(path: str, holders: list[str]) -> None:
    updated = changed(FUNCTIONS, {**SOURCE, path: b"new"})
    assert [function.module for function in updated] == holders
    assert all(function.package[path] == b"new" for function in updated)


def test_a_removed_file_leaves_the_functions_that_hold_it() -> None:
    source = {path: content for path, content in SOURCE.items() if path != "lambda_src/classification/filter.py"}
    (updated,) = changed(FUNCTIONS, source)
    assert updated.module == "classifier"
    assert "lambda_src/classification/filter.py" not in updated.package


def test_saving_an_unchanged_file_changes_nothing() -> None:
    assert changed(FUNCTIONS, SOURCE) == []
    assert package_of(FUNCTIONS[0], SOURCE) == CLASSIFIER


def test_temporary_files_of_editors_and_python_are_not_sources(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.json", "__pycache__/a.cpython-311.pyc", ".a.py.swp", "a.py~", "sub/.#b.json"):
        path = tmp_path / "lambda_src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "stacks").mkdir()
    assert read(tmp_path, "lambda_src") == {"lambda_src/a.py": b"x", "lambda_src/sub/b.json": b"x"}


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"a = 1\nif a:\nb = 2\n", r"a\.py:3: expected an indented block"),
        (b"return 1\n", r"a\.py:1: 'return' outside function"),
        ("é".encode("latin-1"), r"a\.py:1: (\(unicode error\)|Non-UTF-8 code)"),  # up to Python 3.13, and from 3.14 on
        (b"a\0", "null bytes"),
    ],
)
def test_a_syntax_error_is_reported_with_file_and_line(content: bytes, where: str) -> None:
    errors = syntax_errors({"a.py": content, "b.py": b"import no_such_module\n'\\w'\n", "c.json": b"{"})
    assert list(errors) == ["a.py"]
    assert re.search(where, errors["a.py"])
