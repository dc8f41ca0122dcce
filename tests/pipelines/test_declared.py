"""What a declaration of a pipeline says is checked before anything runs."""

from __future__ import annotations

import pytest

import varv
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound, VarvError
from varv.pipelines import Node, StepCache, run_graph


@varv.step
def numbers(n: int, start: int = 0) -> list[int]:
    return list(range(start, start + n))


@varv.step
def total(values: list[int], scale: float = 1.0) -> float:
    return sum(values) * scale


@varv.step
def drawn(seed: int) -> int:
    return seed


@varv.step(effect=True)
def sent(amount: float, idempotency_key: str) -> str:
    return idempotency_key


def built(**options):
    return varv.Pipeline("sums", total.bind(numbers.bind(n=4)), **options)


@pytest.fixture
def cache(tmp_path):
    return StepCache(tmp_path / "cache", FolderBlobs(tmp_path / "blobs"))


def values(pipeline, cache):
    return {name: one.value for name, one in run_graph(pipeline.graph(), cache).items()}


def test_a_step_is_still_the_function_that_it_was():
    assert total(numbers(3), scale=2) == 6
    assert total.__name__ == "total"


def test_a_pipeline_holds_all_that_its_ends_need_in_order(cache):
    rows = numbers.bind(4)
    pipeline = varv.Pipeline("sums", total.bind(rows).named("all"), total.bind(rows, scale=2).named("twice"))
    assert [node.name for node in pipeline.nodes] == ["numbers", "all", "twice"]
    assert values(pipeline, cache) == {"numbers": [0, 1, 2, 3], "all": 6.0, "twice": 12.0}


def test_parameters_are_named_by_their_step_and_can_be_changed(cache):
    assert built().params == {"numbers.n": 4, "numbers.start": 0, "total.scale": 1.0}
    changed = built().with_params({"numbers.n": 2, "total.scale": 3})
    assert values(changed, cache)["total"] == 3.0
    assert changed.digest != built().digest
    assert built().digest == built().digest


@pytest.mark.parametrize(
    ("changed", "error", "problem"),
    [
        ({"numbers.m": 1}, InvalidInput, "'numbers.m' does not exist; the parameters are numbers.n, numb"),
        ({"n": 1}, NotFound, "step 'n' is not in pipeline 'sums'"),
        ({"total.values": [1]}, InvalidInput, "does not exist"),
        ({"numbers.n": "many"}, InvalidDeclaration, "is given a str 'many' for 'n', which is a int"),
    ],
)
def test_a_parameter_that_cannot_be_changed_so_is_refused(changed, error, problem):
    with pytest.raises(error, match=problem):
        built().with_params(changed)


def test_a_seed_is_given_to_steps_that_ask_for_one(cache):
    assert values(varv.Pipeline("one", drawn.bind(), seed=7), cache) == {"drawn": 7}
    assert values(varv.Pipeline("one", drawn.bind(seed=3), seed=7), cache) == {"drawn": 3}


def test_a_step_with_an_effect_runs_each_time_under_the_same_key(cache):
    pipeline = varv.Pipeline("one", sent.bind(amount=1.5))
    first = run_graph(pipeline.graph(), cache)["sent"]
    second = run_graph(pipeline.graph(), cache)["sent"]
    assert (first.hit, second.hit) == (False, False)
    assert second.missed_for == ("has effects",)
    assert first.value == second.value == first.key
    other = run_graph(varv.Pipeline("one", sent.bind(amount=2.5)).graph(), cache)["sent"]
    assert other.value != first.value


OPAQUE = object()


@varv.step
def unfollowed() -> bool:
    return OPAQUE is not None


@varv.step(version="1")
def vouched_for() -> bool:
    return OPAQUE is not None


def test_code_that_cannot_be_followed_is_not_cached_unless_vouched_for(cache):
    pipeline = varv.Pipeline("one", unfollowed.bind(), vouched_for.bind())
    run_graph(pipeline.graph(), cache)
    again = run_graph(pipeline.graph(), cache)
    assert again["unfollowed"].missed_for == (f"cannot follow {__name__}:OPAQUE",)
    assert again["vouched_for"].hit


def test_two_nodes_of_one_function_share_results(cache):
    rows = numbers.bind(n=3)
    run_graph(varv.Pipeline("one", total.bind(rows)).graph(), cache)
    results = run_graph(varv.Pipeline("two", total.bind(rows).named("again")).graph(), cache)
    assert results["again"].hit


def step_of(function, **options):
    return varv.step(**options)(function) if options else varv.step(function)


def untyped(x) -> int: ...
def unsaid(x: int): ...
def several(*x: int) -> int: ...
def odd(x: object) -> int: ...
def keyed(idempotency_key: str) -> int: ...
def seeded(seed: str) -> int: ...
def odd_default(x: int = "many") -> int: ...
def Upper() -> int: ...


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (lambda: step_of(untyped), "has a parameter 'x' without a type"),
        (lambda: step_of(unsaid), "does not say what it returns"),
        (lambda: step_of(several), "has a parameter 'x' that cannot be bound by name"),
        (lambda: step_of(odd), "has type object for x, which cannot be stored"),
        (lambda: step_of(keyed), "has a parameter 'idempotency_key', and no effect"),
        (lambda: step_of(seeded), "has a parameter 'seed' that is no int"),
        (lambda: step_of(odd_default), "is given a str 'many' for 'x', which is a int"),
        (lambda: step_of(Upper), "'Upper' is not a valid name"),
        (lambda: step_of(drawn.function, retries=-1), "is not allowed"),
        (lambda: step_of(drawn.function, backoff="soon"), "duration 'soon' is not understood"),
        (lambda: total.bind(), "step 'total' is not given 'values'"),
        (lambda: total.bind([1], 2, 3), "step 'total' cannot be bound: too many positional arguments"),
        (lambda: total.bind(values=[1], colour="red"), "unexpected keyword argument 'colour'"),
        (lambda: total.bind("many"), "is given a str 'many' for 'values', which is a list\\[int\\]"),
        (lambda: total.bind(total.bind([1])), "is given a float for 'values', which is a list\\[int\\]"),
        (lambda: total.bind([1]).after(total), "comes after a Step"),
        (lambda: varv.Pipeline("empty"), "pipeline 'empty' has no step"),
        (lambda: varv.Pipeline("unbound", total), "pipeline 'unbound' has no step"),
        (lambda: varv.Pipeline("Upper", drawn.bind()), "pipeline 'Upper' is not a valid name"),
        (
            lambda: varv.Pipeline("twice", total.bind(numbers.bind(1)), numbers.bind(2)),
            "has two steps named 'numbers'",
        ),
    ],
)
def test_a_declaration_that_cannot_run_is_refused_with_its_reason(declare, problem):
    with pytest.raises(VarvError, match=problem):
        declare()


def test_a_node_is_not_changed_by_what_is_said_of_a_copy():
    node = numbers.bind(n=1)
    assert (node.named("other").name, node.name) == ("other", "numbers")
    assert isinstance(node.after(drawn.bind()), Node)
    assert node.before == ()
