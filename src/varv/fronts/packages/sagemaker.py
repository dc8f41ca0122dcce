"""An artifact of SageMaker: ``model.tar.gz`` with the model and the handlers of its inference toolkit.

Source: the documentation of SageMaker's inference toolkit, which its images for PyTorch and scikit-learn use.
"""

from __future__ import annotations

import gzip
import io
import tarfile

from varv.fronts.packages.clusters import Cluster
from varv.fronts.packages.describing import readme, signature_file, source_file
from varv.fronts.packages.model import Exported, Files, Source, exported

_REQUIREMENTS = b"onnxruntime>=1.17\n"
"""Not the version that was trained with: the image brings its own Python and numpy."""


def sagemaker(source: Source, cluster: Cluster) -> tuple[Exported, Files]:
    """Return an artifact, and the model that is in it."""
    given = exported(source)
    inside = {
        "code/inference.py": source_file("inference.py"),
        "code/requirements.txt": _REQUIREMENTS,
        "code/varv_scoring.py": source_file("varv_scoring.py"),
        "model.onnx": given.package.file("model.onnx"),
        "signature.json": signature_file(given),
    }
    return given, {
        "model.tar.gz": _archive(inside),
        "signature.json": inside["signature.json"],
        "README.md": readme(given, "SageMaker", _serving()),
    }


def _archive(files: Files) -> bytes:
    """Return an archive; equal files have equal bytes, whoever writes them and when."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(data), 0o644
            archive.addfile(about, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def _serving() -> list[str]:
    return [
        "`model.tar.gz` goes to S3 as it is, as the `ModelDataUrl` of a model whose image uses SageMaker's "
        "inference toolkit: AWS's images for PyTorch and for scikit-learn do. They install "
        "`code/requirements.txt` (ONNX Runtime) and call `code/inference.py`.",
        '`{"instances": [{"column": value}]}` as `application/json`, or `text/csv` with a line of names, is '
        'answered by `{"predictions": [...]}`, or by CSV where `Accept` asks for it.',
        "For an image of your own, without the toolkit, write the package `--as vertex`: its server answers "
        "`/ping` and `/invocations` on port 8080, as SageMaker asks.",
    ]
