"""Estimators in files of skops: an archive that names the type of everything in it, of which only types on a
list are made.

The list is skops' own, with trees of scikit-learn besides. Their nodes are numbers that compiled code follows
without looking, so they are checked here before anything asks them. A booster of LightGBM is not made at all:
its text is taken out of the archive. A crafted file can still make the reader crash, so files of strangers
are read where a training would run.

Source: the documentation of skops' format and of scikit-learn's `Tree`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np

from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required

LARGEST_BYTES = 256 * 1024 * 1024
SCHEMA = "schema.json"
TREES = ("sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")
OPTIMIZERS = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
_MOST_OBJECTS = 1_000_000
_LEAF = -1
_SEVERAL = (list, tuple, set)


def is_skops(data: bytes) -> bool:
    """Return whether bytes are an archive of skops."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return SCHEMA in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def opened(data: bytes, name: str, trusted: Iterable[str]) -> Any:
    """Return what a file of skops holds.

    Parameters
    ----------
    trusted
        Types that may be made beside those that skops trusts.

    Raises
    ------
    Corrupt
        If it is something else, or does not open.
    InvalidInput
        If it holds a type that is not on the list.
    FailedPrecondition
        If skops is not installed.
    """
    skops = required("skops.io", kind="file", name=name, extra="state")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise Corrupt("file", name, "is too large", limit=LARGEST_BYTES)
        unknown = sorted(set(skops.get_untrusted_types(data=data)) - set(trusted))
        if unknown:
            hint = "export it to ONNX where it was trained"
            raise InvalidInput("file", name, "holds a type that is not trusted", type=unknown[0], hint=hint)
        return skops.loads(data, trusted=list(trusted))
    except (Corrupt, InvalidInput):
        raise
    except Exception as error:
        # It builds what the file says, and raises whatever that raises.
        raise Corrupt("file", name, "does not open", why=str(error)[:200]) from error


def estimator_of(data: bytes, name: str) -> Any:
    """Return an estimator of scikit-learn from a file of skops, its trees checked.

    Raises
    ------
    Corrupt
        If the bytes are something else, or a tree leads out of itself.
    InvalidInput
        If it holds a type that is not on the list.
    FailedPrecondition
        If skops is not installed.
    """
    estimator = opened(data, name, (*TREES, *OPTIMIZERS))
    n_features = getattr(estimator, "n_features_in_", None)
    for part in _reachable(estimator):
        known = getattr(part, "n_features_in_", None)
        n_features = known if isinstance(known, int) else n_features
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        sound = {TREES[0]: _is_sound_tree, TREES[1]: _is_sound_predictor}.get(kind)
        if sound is not None and not (isinstance(n_features, int) and sound(part, n_features)):
            hint = "save it again where it was trained"
            raise Corrupt("file", name, "holds a tree that leads out of itself", hint=hint)
    return estimator


def lightgbm_text(data: bytes, name: str) -> tuple[str, int]:
    """Return the text of the booster in a file of skops that holds an estimator of LightGBM, and up to which
    round it predicts; 0 for all.

    Raises
    ------
    Corrupt
        If it holds none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(SCHEMA).file_size > LARGEST_BYTES:
                raise Corrupt("file", name, "is too large", limit=LARGEST_BYTES)
            schema = msgspec.json.decode(archive.read(SCHEMA))
    except (zipfile.BadZipFile, KeyError, OSError, msgspec.MsgspecError, RecursionError) as error:
        raise Corrupt("file", name, "is no file of skops", why=str(error)[:100]) from None
    for part in _mappings(schema):
        text, best = _plain(part.get("_handle")), _plain(part.get("best_iteration"))
        if isinstance(text, str) and text.startswith("tree\n"):
            return text, best if isinstance(best, int) and best > 0 else 0
    hint = "log the booster itself, or export it to ONNX"
    raise Corrupt("file", name, "holds no booster of LightGBM", hint=hint)


def _mappings(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _plain(node: Any) -> Any:
    """Return a plain value of a schema, which is JSON once more, in a text."""
    content = node.get("content") if isinstance(node, dict) else None
    try:
        return msgspec.json.decode(content) if isinstance(content, str) else None
    except msgspec.MsgspecError:
        return None


def _reachable(estimator: Any) -> Iterator[Any]:
    """Yield an object and all that it holds, those of a part after the part."""
    waiting, seen = [estimator], set[int]()
    while waiting and len(seen) < _MOST_OBJECTS:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, _SEVERAL):
            waiting.extend(part)
        elif isinstance(part, np.ndarray):
            waiting.extend(part.flat if part.dtype == object else ())
        elif not isinstance(part, str | bytes | int | float | type | None):
            waiting.extend(getattr(part, "__dict__", {}).values())


def _is_sound_tree(tree: Any, n_features: int) -> bool:
    """Return whether every node of a tree leads further down in it, or is a leaf."""
    n = tree.node_count
    if not 0 < n <= tree.capacity or tree.n_features != n_features:
        return False
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    return _leads_down(left, right, left == _LEAF, n) and _within(feature[left != _LEAF], n_features)


def _is_sound_predictor(predictor: Any, n_features: int) -> bool:
    """Return the same of a tree of histogram boosting, and whether its sets of categories are there."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    inner = nodes[~leaf]
    sets = min(len(predictor.binned_left_cat_bitsets), len(predictor.raw_left_cat_bitsets))
    of_sets = inner["bitset_idx"][inner["is_categorical"].astype(bool)]
    left, right = (nodes[side].astype(np.int64) for side in ("left", "right"))
    return (
        _leads_down(left, right, leaf, len(nodes))
        and _within(inner["feature_idx"], n_features)
        and _within(of_sets, sets)
    )


def _leads_down(left: np.ndarray, right: np.ndarray, leaf: np.ndarray, n: int) -> bool:
    own = np.arange(n)[~leaf]
    return n > 0 and all(bool(((side[~leaf] > own) & (side[~leaf] < n)).all()) for side in (left, right))


def _within(positions: np.ndarray, n: int) -> bool:
    found = positions.astype(np.int64)
    return bool(((found >= 0) & (found < n)).all())
