"""The digest of code follows what a function reaches, and nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from varv.pipelines import code_closure

_NUMBER = count()

PROJECT = '''
import math
import numpy as np
import {beside} as beside

ROUNDS = 100
WEIGHTS = {{"a": (1, {{"x", "y", "z"}}), "b": [None, 2.5]}}
TABLE = np.arange(3)


def scale(x):
    """Return the double."""
    return x * 2  # twice


def fit(train, params):
    """Fit."""
    return scale(beside.shift(ROUNDS)) + WEIGHTS["b"][1] + math.pi
'''
BESIDE = """
OFFSET = 3


def shift(x):
    return x + OFFSET


def never_called(x):
    return x
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that writes a small project anew, with edits, and loads its module."""
    loaded = []

    def load(*edits, body=PROJECT):
        beside = f"closure_beside_{next(_NUMBER)}"
        texts = {"main": body.format(beside=beside), "beside": BESIDE}
        for old, new in edits:
            assert old in texts["main"] + texts["beside"]
            texts = {name: text.replace(old, new) for name, text in texts.items()}
        folder = tmp_path / beside
        folder.mkdir()
        (folder / f"{beside}.py").write_text(texts["beside"])
        (folder / "main.py").write_text(texts["main"])
        sys.path.insert(0, str(folder))
        loaded.append((str(folder), beside))
        return module_of(folder / "main.py", "closure_main")

    yield load
    for folder, beside in loaded:
        sys.path.remove(folder)
        sys.modules.pop(beside, None)
    sys.modules.pop("closure_main", None)


def module_of(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def digests(module):
    # Module names of beside differ between loads, so what is compared are the digests of the parts.
    return sorted(code_closure(module.fit).parts.values())


def parts(module):
    return {name.rpartition(":")[2] for name in code_closure(module.fit).parts}


def test_everything_that_is_reached_is_a_part_and_nothing_else(project):
    assert parts(project()) == {"fit", "scale", "shift", "ROUNDS", "OFFSET", "WEIGHTS"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x * 3"),
        ("ROUNDS = 100", "ROUNDS = 101"),
        ("x + OFFSET", "x - OFFSET"),
        ("OFFSET = 3", "OFFSET = 4"),
        ('"y", "z"', '"y"'),
        ("[None, 2.5]", "[None, 2.0]"),
        ("[None, 2.5]", "(None, 2.5)"),
    ],
)
def test_an_edit_of_a_reached_function_or_constant_changes_the_digest(project, old, new):
    first = project().beside.__name__
    edited = project((old, new))
    assert edited.beside.__name__ != first
    assert digests(edited) != digests(project())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # twice", "  # two times, that is"),
        ('"""Return the double."""', '"""Return x, twice."""'),
        ('"""Fit."""', '"""Fit; see the notes."""'),
        ("    return x * 2", "\n    return (\n        x * 2\n    )"),
        ("def never_called(x):\n    return x", "def never_called(x):\n    return -x"),
        ('{"x", "y", "z"}', '{"z", "y", "x"}'),
        ('{"a": (1, ', '{"a": ( 1,  '),
    ],
)
def test_comments_docstrings_layout_and_unreached_code_do_not_count(project, old, new):
    assert digests(project((old, new))) == digests(project())


def test_libraries_are_named_and_the_standard_library_is_not(project):
    assert code_closure(project().fit).libraries == ()
    with_numpy = project(("math.pi", "np.pi"))
    assert code_closure(with_numpy.fit).libraries == ("numpy",)


def test_what_cannot_be_followed_is_listed_as_unknown(project):
    closure = code_closure(project(("math.pi", "TABLE[0]")).fit)
    assert closure.unknown == ("closure_main:TABLE",)


def test_a_module_imported_inside_the_function_is_followed(project):
    body = PROJECT.replace("import {beside} as beside\n", "").replace(
        '    """Fit."""\n', '    """Fit."""\n    import sklearn.svm\n    import {beside} as beside\n'
    )
    plain = project(body=body)
    assert {"shift", "OFFSET"} <= parts(plain)
    assert "sklearn" in code_closure(plain.fit).libraries
    assert digests(project(("OFFSET = 3", "OFFSET = 4"), body=body)) != digests(plain)


def test_a_name_imported_inside_the_function_is_followed(project):
    body = PROJECT.replace("import {beside} as beside\n", "").replace(
        '    """Fit."""\n    return scale(beside.shift(',
        '    """Fit."""\n    from {beside} import shift\n    return scale(shift(',
    )
    plain = project(body=body)
    assert digests(project(("x + OFFSET", "x - OFFSET"), body=body)) != digests(plain)


def test_the_arguments_of_a_partial_count(project):
    module = project()
    same, other = partial(module.fit, params=1), partial(module.fit, params=2)
    assert code_closure(same).digest == code_closure(partial(module.fit, params=1)).digest
    assert code_closure(same).digest != code_closure(other).digest
    assert set(code_closure(module.fit).parts) < set(code_closure(same).parts)


def test_an_object_that_is_called_counts_by_its_class_and_is_listed_as_unknown(project):
    body = (
        PROJECT
        + "\n\nclass Fitter:\n    def __call__(self, train, params):\n        return fit(train, params)\n"
    )
    closure = code_closure(project(body=body).Fitter())
    assert {name.rpartition(":")[2] for name in closure.parts} >= {"Fitter", "fit", "scale"}
    assert closure.unknown == ("closure_main:Fitter object",)


def test_a_function_without_source_counts_by_what_it_compiles_to():
    def made(text):
        space = {"__name__": __name__}
        exec(text, space)
        return space["fit"]

    one = "def fit(a, b):\n    return [a for _ in {'x', 'y'}]"
    assert code_closure(made(one)).unknown == (f"{__name__}:fit",)
    assert code_closure(made(one)).digest == code_closure(made(one)).digest
    assert code_closure(made(one)).digest != code_closure(made(one.replace("'x'", "'z'"))).digest


def test_recursion_ends(project):
    looped = project(("return x * 2", "return x if x < 0 else fit(-x, 0)"))
    assert "scale" in parts(looped)


@pytest.mark.slow
def test_the_digest_is_the_same_in_every_process(tmp_path):
    (tmp_path / "beside_x.py").write_text(BESIDE)
    (tmp_path / "main_x.py").write_text(PROJECT.format(beside="beside_x"))
    script = "import main_x; from varv.pipelines import code_closure; print(code_closure(main_x.fit).digest)"
    found = set()
    for seed in ("0", "1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1
    assert Path(tmp_path).name not in "".join(found)


def test_a_parameter_that_is_called_like_a_global_is_not_that(project):
    body = "LIMIT = 1\nDEFAULT = 2\n\ndef fit(LIMIT, x=DEFAULT):\n    return LIMIT + x\n"
    assert parts(project(body=body)) == {"fit", "DEFAULT"}
