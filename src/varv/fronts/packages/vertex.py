"""An image for Vertex AI: a Dockerfile, and a server of some ninety lines beside the model.

Source: Vertex AI's requirements for custom containers, and SageMaker's.
"""

from __future__ import annotations

from varv.fronts.packages.clusters import Cluster
from varv.fronts.packages.describing import readme, requirements, signature_file, source_file
from varv.fronts.packages.model import Exported, Files, Source, exported


def vertex(source: Source, cluster: Cluster) -> tuple[Exported, Files]:
    """Return what an image is built of, and the model that is in it."""
    given = exported(source)
    return given, {
        "Dockerfile": _dockerfile(given),
        "model.onnx": given.package.file("model.onnx"),
        "signature.json": signature_file(given),
        "server.py": source_file("server.py"),
        "varv_scoring.py": source_file("varv_scoring.py"),
        "requirements.txt": requirements(given),
        "README.md": readme(given, "Vertex AI", _serving()),
    }


def _dockerfile(given: Exported) -> bytes:
    python = ".".join(given.package.environment.python.split(".")[:2])
    lines = [
        f"FROM python:{python}-slim",
        "WORKDIR /model",
        "COPY requirements.txt .",
        "RUN pip install --no-cache-dir -r requirements.txt",
        "COPY model.onnx signature.json server.py varv_scoring.py ./",
        "EXPOSE 8080",
        'ENTRYPOINT ["python", "server.py"]',
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _serving() -> list[str]:
    return [
        "`docker build -t IMAGE .`, push it, and make a model of it: Vertex AI tells the server its port and "
        "routes by `AIP_HTTP_PORT`, `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE`. SageMaker takes the same "
        "image, by `/ping` and `/invocations` on port 8080, and so does any other platform for containers.",
        '`{"instances": [{"column": value}]}` is answered by `{"predictions": [...]}`, what the model does '
        "not read by 400.",
        "The server is the standard library's, a thread a connection: small, not fast. For much traffic "
        "write the package `--as triton`, which Vertex AI runs too, or let varv serve: its workers answer "
        "`/ping` and `/invocations` as well, with its features, checks and log.",
    ]
