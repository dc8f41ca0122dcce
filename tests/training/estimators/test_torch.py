"""What a module of PyTorch says of a month of flights is what its package says, in ONNX or as a program."""

from __future__ import annotations

import io
import re
import zipfile

import msgspec
import numpy as np
import pytest
from tests.training.samples import NUMBERS, RUNTIMES, built, delay, delay_class, flights, late, opened, served

import varv
from varv.kernel.errors import Corrupt, InvalidInput
from varv.tasks import TaskSpec, task_of

torch = pytest.importorskip("torch")

LATE = task_of("binary")
THREE = task_of(TaskSpec("multiclass", {"classes": [0, 1, 2]}))
NUMBER = task_of("regression")


class Net(torch.nn.Module):
    """Two layers over scaled numbers and an embedding of the carrier."""

    def __init__(self, train, n_outputs, last):
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.nanmean(train.X, axis=0)))
        self.register_buffer("scale", torch.from_numpy(np.nanstd(train.X, axis=0) + 1e-6))
        self.carriers = torch.nn.Embedding(20, 4)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(train.X.shape[1] + 4, 16),
            torch.nn.BatchNorm1d(16),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(16, n_outputs),
        )
        self.last = last

    def forward(self, x):
        carrier = torch.nan_to_num(x[:, len(NUMBERS)], nan=19.0).long()
        scaled = torch.nan_to_num((x - self.mean) / self.scale)
        return self.last(self.layers(torch.cat([scaled, self.carriers(carrier)], dim=1)))


def trained(train, n_outputs, last, loss):
    torch.manual_seed(0)
    net = Net(train, n_outputs, last)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for rows in np.array_split(np.arange(len(train)), 20):
        optimizer.zero_grad()
        loss(net(torch.from_numpy(train.X[rows])), torch.from_numpy(train.y[rows])).backward()
        optimizer.step()
    return net


def binary_loss(p, y):
    return torch.nn.functional.binary_cross_entropy(p[:, 0], y.float())


def class_loss(p, y):
    return -p.log()[range(len(y)), y].mean()


def number_loss(p, y):
    return (p - y.float()).abs().mean()


CASES = {
    "binary": (LATE, late, 1, torch.nn.Sigmoid(), binary_loss),
    "multiclass": (THREE, delay_class, 3, torch.nn.Softmax(dim=1), class_loss),
    "regression": (NUMBER, delay, 1, torch.nn.Flatten(0), number_loss),
}
# The exporter takes seconds, and its first run a quarter of a minute.
ONNX = pytest.param("onnx", marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("runtime", [ONNX, "torch"])
def test_every_row_of_a_month_is_predicted_as_the_module_does(january, case, runtime):
    task, target, n_outputs, last, loss = CASES[case]
    train = flights(january, target(january))
    net = trained(train, n_outputs, last, loss)
    assert net.training
    chosen = net if runtime == "onnx" else varv.packaged(net, runtime="torch", trust=True)
    package = opened(chosen, train, task=task)
    assert package.runtime == runtime
    assert net.training, "the author's own module is left as it was"
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(train.X)).numpy().reshape(len(train), -1)
    got = served(package, january)
    if runtime == "torch":
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert RUNTIMES.load(package).predict(train.X[:0]).shape == (0, task.width)


@pytest.mark.parametrize("runtime", [ONNX, "torch"])
def test_equal_modules_have_equal_bytes_and_name_no_place_of_this_machine(january, runtime):
    train = flights(january.head(1000), late(january.head(1000)))
    net = trained(train, 1, torch.nn.Sigmoid(), binary_loss)
    chosen = varv.packaged(net, runtime=runtime, trust=True)
    data = built(chosen, train)
    assert data == built(chosen, train)
    assert not re.search(rb"test_torch\.py|site-packages", data)


class Odd(torch.nn.Module):
    """Uses an operator that ONNX lacks."""

    def forward(self, x):
        return torch.special.bessel_j1(torch.nan_to_num(x[:, :1])).abs().clamp(0, 1)


@pytest.mark.slow
def test_a_module_without_onnx_form_needs_the_author_to_trust_its_own_format(january):
    train = flights(january.head(500), late(january.head(500)))
    with pytest.raises(InvalidInput, match=r"'Odd' has no ONNX form: .*varv.packaged\(module, trust=True\)"):
        built(Odd(), train)
    package = opened(varv.packaged(Odd(), trust=True), train)
    assert package.runtime == "torch"
    assert package.not_onnx.startswith("has no ONNX form")


class Logits(torch.nn.Module):
    def forward(self, x):
        return 5 + torch.nan_to_num(x[:, :1])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Logits, "'Logits' predicts .* of a row, which is no prediction"),
        (lambda: varv.packaged(Odd(), form="columns"), "'Odd' reads a matrix only"),
        (
            lambda: varv.packaged(Odd(), runtime="torch"),
            "may run code when torch loads it; return ",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(january, make, problem):
    train = flights(january.head(500), late(january.head(500)))
    with pytest.raises(InvalidInput, match=problem):
        built(make(), train)


def with_entry(name: str, content: bytes):
    def spoil(data: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(made, "w") as kept:
            for entry in given.namelist():
                kept.writestr(entry, content if entry.endswith(name) else given.read(entry))
            if not any(entry.endswith(name) for entry in given.namelist()):
                kept.writestr(f"archive/{name}", content)
        return made.getvalue()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: b"", "is refused by the runtime"),
        (lambda data: data[:-30], "is refused by the runtime"),
        (with_entry("models/model.json", b"{}"), "is refused by the runtime"),
        (with_entry("data/sample_inputs/model.pt", b"cos\nsystem\n(S'true'\ntR."), "may be a pickle"),
        (
            with_entry("data/constants/custom_obj_0", b"x"),
            "'archive/data/constants/custom_obj_0' that",
        ),
        (
            with_entry("model_weights_config.json", b'{"config": {"w": {"use_pickle": true}}}'),
            "may be a pickle; export the module with varv",
        ),
    ],
)
def test_an_archive_that_could_unpickle_something_is_refused_before_it_is_loaded(january, spoil, problem):
    train = flights(january.head(500), late(january.head(500)))
    package = opened(varv.packaged(Odd(), runtime="torch", trust=True), train)
    spoiled = msgspec.structs.replace(package, files={"model.pt2": spoil(package.file("model.pt2"))})
    with pytest.raises(Corrupt, match=problem):
        RUNTIMES.load(spoiled)
