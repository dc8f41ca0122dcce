"""A small model of transformers, made here: what it says of texts is what its package says, and nothing else
than data is ever loaded.
"""

from __future__ import annotations

import json

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.training.samples import built, given

from varv.adapters.runtimes import installed_runtimes
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import open_package
from varv.tasks import TaskSpec, task_of
from varv.training import ImportInput, read_foreign
from varv.training.imported import import_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["[PAD]", "[UNK]", "late", "parcel", "again", "where", "is", "it", "thanks"]
RUNTIMES = installed_runtimes()
RNG = np.random.default_rng(3)
ROWS = pl.DataFrame(
    {
        "text": [" ".join(RNG.choice(WORDS[2:], RNG.integers(1, 12))) for _ in range(60)],
        "n": RNG.normal(size=60),
    }
)
MANY = task_of(TaskSpec("multiclass", {"classes": ["calm", "angry", "glad"]}))


def saved(folder, n_labels=2, **config):
    """Write a model with random weights."""
    torch.manual_seed(1)
    words = tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(words)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
    )
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    settings = transformers.BertConfig(
        vocab_size=len(WORDS), max_position_embeddings=16, num_labels=n_labels, initializer_range=0.5, **sizes
    )
    for name, value in config.items():
        setattr(settings, name, value)
    model = transformers.BertForSequenceClassification(settings).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path / "mood")
    return tmp_path / "mood"


def imported(folder, task=None, rows=ROWS, **more):
    foreign = read_foreign(folder)
    for name, value in more.items():
        foreign = msgspec.structs.replace(foreign, **{name: value})
    offer = ImportInput.of(foreign, rows, tuple(rows.columns))
    return open_package(import_model(offer, task=task or task_of("binary"), runtimes=RUNTIMES))


def test_its_package_says_what_the_model_says_however_many_are_asked(folder):
    model, tokenizer = saved(folder)
    package = imported(folder)
    assert (package.runtime, package.signature.names) == ("transformers", ("text",))
    assert set(package.folder("model")) >= {"config.json", "model.safetensors", "tokenizer.json"}
    loaded = RUNTIMES.load(package)
    texts = [*ROWS["text"], "late " * 40, "", "ünknown"]
    found = loaded.predict({"text": np.array(texts, object)})
    assert (found.dtype, found.shape) == (np.float32, (63, 1))
    with torch.no_grad():
        for text, (score,) in zip(texts[:5], found[:5], strict=True):
            logits = model(**tokenizer([text], return_tensors="pt")).logits
            assert torch.softmax(logits, 1)[0, 1].item() == pytest.approx(score, abs=1e-5)
    assert loaded.predict({"text": np.array([], object)}).shape == (0, 1)


def test_classes_are_found_by_their_labels_in_whichever_order(tmp_path):
    labels = {0: "glad", 1: "calm", 2: "angry"}
    model, tokenizer = saved(tmp_path, 3, id2label=labels, label2id={v: k for k, v in labels.items()})
    loaded = RUNTIMES.load(imported(tmp_path, MANY))
    [row] = loaded.predict({"text": np.array(["where is it"], object)})
    with torch.no_grad():
        shares = torch.softmax(model(**tokenizer(["where is it"], return_tensors="pt")).logits, 1)[0].numpy()
    np.testing.assert_allclose(row, shares[[1, 2, 0]], atol=1e-5)
    other = task_of(TaskSpec("multiclass", {"classes": ["a", "b", "c"]}))
    with pytest.raises(InvalidInput, match="has the labels"):
        imported(tmp_path, other)


def test_one_number_is_a_score_or_a_probability(tmp_path):
    saved(tmp_path, 1)
    texts = {"text": np.array(["late parcel", "thanks"], object)}
    score = RUNTIMES.load(imported(tmp_path, task_of("score"))).predict(texts)
    probability = RUNTIMES.load(imported(tmp_path)).predict(texts)
    np.testing.assert_allclose(1 / (1 + np.exp(-score)), probability, atol=1e-6)


def test_a_training_function_may_return_a_pipeline(tmp_path):
    model, tokenizer = saved(tmp_path)
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device=-1)
    train = given(ROWS.select("text"), np.arange(60) % 2)
    package = open_package(built(pipeline, train))
    assert (package.runtime, package.estimator) == (
        "transformers",
        "transformers.BertForSequenceClassification",
    )


def test_which_text_it_reads_must_be_known(folder):
    two = ROWS.with_columns(other=pl.lit("late"))
    with pytest.raises(InvalidInput, match="reads one text, where 2 are declared"):
        imported(folder, rows=two)
    assert imported(folder, rows=two, inputs={"other": True}).signature.names == ("other",)


def test_weights_that_are_pickles_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="other weights are pickles"):
        read_foreign(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_configuration_that_names_code_is_refused_on_both_ways_in(folder, name):
    package = imported(folder)
    config = json.loads((folder / name).read_text())
    data = json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}).encode()
    (folder / name).write_bytes(data)
    with pytest.raises(InvalidInput, match="names code of its own"):
        imported(folder)
    other = msgspec.structs.replace(package, files={**package.files, f"model/{name}": data})
    with pytest.raises(Corrupt, match=f"has a {name} that names code"):
        RUNTIMES.load(other)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_evil.py", "chat_template.jinja"])
def test_a_file_that_is_not_on_the_list_is_refused(folder, name):
    package = imported(folder)
    other = msgspec.structs.replace(package, files={**package.files, f"model/{name}": b"x"})
    with pytest.raises(Corrupt, match="may hold code"):
        RUNTIMES.load(other)


def test_weights_that_are_torn_are_corrupt(folder):
    package = imported(folder)
    torn = package.files["model/model.safetensors"][:100]
    other = msgspec.structs.replace(package, files={**package.files, "model/model.safetensors": torn})
    with pytest.raises(Corrupt, match="is refused by the runtime"):
        RUNTIMES.load(other)
