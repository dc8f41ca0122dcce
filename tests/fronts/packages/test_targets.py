"""Folders for other servers: what is in them, byte for byte, and that it says what the model is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
import yaml
from google.protobuf import text_format
from tests.fronts.packages.made import CODED, PLAIN, SOURCES
from tritonclient.grpc import model_config_pb2

from varv.fronts.packages import TARGETS, Cluster
from varv.kernel.errors import InvalidInput

GOLDEN = Path(__file__).with_name("golden")
PUBLISHED = os.environ.get("VARV_GATEWAY_SCHEMAS", "")
BINARY = (".onnx", ".gz")
THERE = Cluster(storage="s3://models/late", image="registry.example/late:3", namespace="serving")
NOWHERE = Cluster()
DTYPES = {"TYPE_FP32": np.float32, "TYPE_INT64": np.int64}


def files(target, name, cluster=NOWHERE):
    return TARGETS[target](SOURCES[name], cluster)[1]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_written_is_as_it_was(target, name):
    """Set VARV_WRITE_GOLDEN to write anew what is compared here, and look at the difference."""
    place = GOLDEN / f"{target}-{name}.txt"
    found = "".join(
        f"==> {path}\n{data.hex() if '/warmup/' in path else data.decode()}\n"
        for path, data in sorted(files(target, name, THERE).items())
        if not path.endswith(BINARY)
    )
    if os.environ.get("VARV_WRITE_GOLDEN"):
        place.write_text(found)
    assert place.read_text() == found


@pytest.mark.parametrize("target", TARGETS)
def test_equal_versions_have_equal_bytes(target):
    assert files(target, "coded", THERE) == files(target, "coded", THERE)


@pytest.mark.parametrize("target", TARGETS)
def test_resources_of_a_cluster_are_written_only_if_it_is_said_where_the_folder_will_be(target):
    assert not [path for path in files(target, "plain") if path in ("kserve.yaml", "seldon.yaml")]


@pytest.mark.parametrize("target", TARGETS)
def test_the_page_says_what_the_model_reads_and_what_varv_computes(target):
    page = files(target, "coded")["README.md"].decode()
    assert "varv computes heat" in page
    assert "mean of weather.heat over 1d by origin" in page
    about = json.loads(files(target, "coded")["signature.json"])
    assert [one["name"] for one in about["columns"]] == ["origin", "wind", "heat"]
    assert about["columns"][0]["categories"] == list(CODED.package.signature.columns[0].categories)
    assert about["output"]["numbers"] == ["early", "on time", "late"]


@pytest.mark.parametrize("name", SOURCES)
def test_tritons_own_definition_takes_the_configuration(name):
    written = files("triton", name)
    config = text_format.Parse(written["late_parcel/config.pbtxt"].decode(), model_config_pb2.ModelConfig())
    assert (config.name, config.backend) == ("late_parcel", "onnxruntime")
    graph = onnx.load_model_from_string(written["late_parcel/3/model.onnx"]).graph
    kinds = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT64: "TYPE_INT64"}
    kinds[onnx.TensorProto.STRING] = "TYPE_STRING"
    for said, tensors in ((config.input, graph.input), (config.output, graph.output)):
        expected = [
            (one.name, kinds[one.type.tensor_type.elem_type], one.type.tensor_type.shape.dim[1].dim_value)
            for one in tensors
        ]
        # The first dimension, of rows, is Triton's.
        found = [(one.name, model_config_pb2.DataType.Name(one.data_type), *one.dims) for one in said]
        assert found == expected


def read_warm(data, kind):
    if kind in DTYPES:
        return np.frombuffer(data, DTYPES[kind]).tolist()
    size = int.from_bytes(data[:4], "little")
    assert len(data) == 4 + size
    return [data[4:].decode()]


@pytest.mark.parametrize("name", SOURCES)
def test_triton_warms_up_with_the_first_probe_row(name):
    written = files("triton", name)
    config = text_format.Parse(written["late_parcel/config.pbtxt"].decode(), model_config_pb2.ModelConfig())
    [warm] = config.model_warmup
    found = []
    for tensor in config.input:
        one = warm.inputs[tensor.name]
        assert (one.data_type, list(one.dims)) == (tensor.data_type, list(tensor.dims))
        data = written[f"late_parcel/warmup/{one.input_data_file}"]
        found += read_warm(data, model_config_pb2.DataType.Name(one.data_type))
    expected = {"plain": [0.5, np.nan], "coded": ['J"F|K', 0.5, np.nan], "texts": ["N2", 2**40, 0.5]}
    np.testing.assert_array_equal(
        np.array(found, object).astype(str), np.array(expected[name], object).astype(str)
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"storage": "models/late"}, "is no address"),
        ({"storage": "s3://models late"}, "is no address"),
        ({"image": "Late Parcel"}, "is no image"),
        ({"namespace": "a_b"}, "is no name"),
    ],
)
def test_what_names_no_place_in_a_cluster_is_refused(given, problem):
    with pytest.raises(InvalidInput, match=problem):
        Cluster(**given)


def resources():
    for target in TARGETS:
        for path, data in files(target, "plain", THERE).items():
            if path in ("kserve.yaml", "seldon.yaml"):
                yield target, yaml.safe_load(data)


def test_resources_are_named_as_kubernetes_has_names():
    found = list(resources())
    assert {one["kind"] for _, one in found} == {"InferenceService", "Model"}
    assert {(one["metadata"]["name"], one["metadata"]["namespace"]) for _, one in found} == {
        ("late-parcel", "serving")
    }


DEFINITIONS = ("inferenceservices.yaml", "models.yaml")


@pytest.mark.skipif(
    not PUBLISHED or not all((Path(PUBLISHED) / name).exists() for name in DEFINITIONS),
    reason=f"VARV_GATEWAY_SCHEMAS names no folder with {' and '.join(DEFINITIONS)}",
)
def test_the_published_definitions_take_the_resources():
    from tests.fronts.gateways.test_gateways import crd_schema

    folder = Path(PUBLISHED)
    definitions = [one for name in DEFINITIONS for one in yaml.safe_load_all((folder / name).read_text())]
    for _, document in resources():
        jsonschema.validate(document, crd_schema(definitions, document))


def test_a_model_of_numbers_keeps_its_matrix_for_triton():
    given, _ = TARGETS["triton"](PLAIN, NOWHERE)
    assert given.inputs == (("X", "FP32", 2),)
