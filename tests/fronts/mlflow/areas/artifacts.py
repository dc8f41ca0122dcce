"""Files of runs: put, listed, read with safe headers, deleted, and never found anywhere else."""

from tests.fronts.mlflow.steps import MUST, NO_PATH, STARTED, Area, Step, get, given, post, scene

STORE = "/api/2.0/mlflow-artifacts/artifacts/"
ROOT = STORE + "{e}/{run}/artifacts/"
OWN_FILES = "a server finds the files that it keeps itself"
SAFE = ("content-disposition", "x-content-type-options", "content-type", "content-length")
HOSTILE = (
    "%2e%2e/%2e%2e/x",
    "..%2f..%2fx",
    "a/%2e%2e/%2e%2e/%2e%2e/x",
    "%252e%252e%252fx",
    "%25252e%25252e/x",
    "..%5c..%5cx",
    "C:%5cx",
    "%2fetc%2fpasswd",
    "a%00b",
    "a%23b",
)


def put(path: str, content: bytes | str = b"hello", *, root: str = ROOT) -> Step:
    return Step("PUT", root + path, content=content.encode() if isinstance(content, str) else content)


def read(path: str, *, root: str = ROOT) -> Step:
    return get(root + path)


def listed(path: str | None = None, **more: object) -> Step:
    return get("artifacts/list", {"run_id": "{run}", **({} if path is None else {"path": path}), **more})


FILES = given(
    *STARTED,
    put("a.txt"),
    put("models/best/MLmodel", "flavors: {}"),
    put("models/best/data.bin", b"12345"),
)

LEFT = {"files": [{"file_size": 5, "is_dir": False, "path": "a.txt"}, {"is_dir": True, "path": "models"}]}

AREA = Area(
    "artifacts",
    MUST,
    (
        scene("a run without files lists none", STARTED, listed(), listed("none"), listed("")),
        scene(
            "a file is put, listed and read",
            FILES,
            listed(),
            listed("models"),
            listed("models/best"),
            listed("models/best/"),
            read("a.txt").showing(*SAFE),
            read("models/best/data.bin").showing(*SAFE),
            listed("a.txt"),
            listed("none"),
            get("artifacts/list", run_uuid="{run}"),
            get("/ajax-api/2.0/mlflow/artifacts/list", run_id="{run}"),
        ),
        scene(
            "folders are listed by the store too",
            FILES,
            get("/api/2.0/mlflow-artifacts/artifacts", path="{e}/{run}/artifacts"),
            get("/api/2.0/mlflow-artifacts/artifacts", path="{e}/{run}/artifacts/models/best"),
            get("/api/2.0/mlflow-artifacts/artifacts", path="{e}/{run}/artifacts/none"),
            get("/api/2.0/mlflow-artifacts/artifacts", path="{e}/{run}/artifacts/a.txt"),
            get("/ajax-api/2.0/mlflow-artifacts/artifacts", path="{e}/{run}/artifacts"),
        ),
        scene(
            "a file is replaced",
            FILES,
            put("a.txt", "longer than before"),
            read("a.txt"),
            listed(),
        ),
        scene(
            "a file may be empty and of any bytes",
            STARTED,
            put("empty", b""),
            put("bytes.json", b'{"a": [1, 2.5, null]}'),
            put("utf8.txt", "Läufer №7".encode()),
            read("empty").showing(*SAFE),
            read("bytes.json").showing(*SAFE),
            read("utf8.txt").showing("content-length"),
            listed(),
        ),
        scene(
            "a file is of no type that a browser runs",
            STARTED,
            *(put(name, "<script>1</script>") for name in ("page.html", "image.svg", "code.js", "table.csv")),
            *(read(name).showing(*SAFE[:2]) for name in ("page.html", "image.svg", "code.js", "table.csv")),
        ),
        scene(
            "a page reads a file of a run by its path",
            FILES,
            get("/get-artifact", run_id="{run}", path="a.txt").showing(
                "content-disposition", "x-content-type-options"
            ),
            get("/get-artifact", run_uuid="{run}", path="models/best/MLmodel"),
            get("/get-artifact", run_id="{run}", path="none"),
            get("/get-artifact", run_id="{run}", path="../../x"),
            get("/get-artifact", run_id="{run}"),
            get("/get-artifact", run_id="0" * 32, path="a.txt"),
        ),
        scene(
            "a page reads a file of a version",
            FILES,
            post("registered-models/create", name="m-{u}"),
            post("model-versions/create", name="m-{u}", source="runs:/{run}/models/best", run_id="{run}"),
            get("/model-versions/get-artifact", name="m-{u}", version="1", path="MLmodel").instead(
                OWN_FILES, "flavors: {}"
            ),
            get("/model-versions/get-artifact", name="m-{u}", version="1", path="none").stricter(
                OWN_FILES, 404, "RESOURCE_DOES_NOT_EXIST"
            ),
            get("/model-versions/get-artifact", name="m-{u}", version="1", path="../../a.txt"),
            get("/model-versions/get-artifact", name="m-{u}", version="9", path="MLmodel"),
        ),
        scene(
            "a file that is not there is not found",
            STARTED,
            read("none.txt"),
            read("none/none.txt"),
            read("none.txt", root=STORE + "{e}/{run}/"),
            read("", root=STORE + "{e}/{run}/artifacts"),
        ),
        scene(
            "a folder is not read as a file, nor a file as a folder",
            FILES,
            read("models").stricter("a folder is no file", 404, "RESOURCE_DOES_NOT_EXIST"),
            put("a.txt/below"),
            put("models", "a file now"),
            listed(),
        ),
        scene(
            "files and folders are deleted, those that are not there too",
            FILES,
            Step("DELETE", ROOT + "a.txt"),
            read("a.txt"),
            listed(),
            Step("DELETE", ROOT + "a.txt"),
            Step("DELETE", ROOT + "models"),
            listed("models"),
            listed(),
            Step("DELETE", ROOT + "never/there"),
        ),
        scene(
            "letters that mean something to a shell are letters of a name",
            STARTED,
            *(
                put(name)
                for name in (
                    "a%20b.txt",
                    "a%3Bb",
                    "a%3Fb",
                    "a%25b",
                    "a%26b%3Dc",
                    "l%C3%A4uft",
                    "%5Bx%5D",
                    ".hidden",
                    "a..b",
                )
            ),
            listed(),
            read("a%20b.txt"),
            read("a%25b"),
            read("l%C3%A4uft"),
            read("a%3Fb"),
        ),
        scene(
            "no path leads out of a run",
            FILES,
            *(put(path).stricter(NO_PATH) for path in HOSTILE),
            *(read(path).stricter(NO_PATH) for path in HOSTILE),
            *(Step("DELETE", ROOT + path).stricter(NO_PATH) for path in HOSTILE[:4]),
            listed().but("root_uri").instead(NO_PATH, LEFT),
        ),
        scene(
            "no path of a list leads out of a run",
            FILES,
            *(
                listed(path).stricter(NO_PATH)
                for path in (
                    "../..",
                    "..",
                    "models/../..",
                    "/etc",
                    "%2e%2e/x",
                    "..\\..",
                    "C:\\",
                    "a\x00b",
                    "#x",
                    "//etc",
                )
            ),
            *(
                get("/api/2.0/mlflow-artifacts/artifacts", path=path).stricter(NO_PATH)
                for path in ("../..", "/etc", "{e}/{run}/artifacts/../../..", "%2e%2e/%2e%2e", "..\\..")
            ),
        ),
        scene(
            "files belong to a run that exists",
            get("artifacts/list", run_id="0" * 32),
            get("artifacts/list"),
            get("artifacts/list", path="a"),
            get("artifacts/list", run_id=""),
        ),
        scene(
            "a list may ask for a page",
            FILES,
            listed(page_token="x"),
        ),
        scene(
            "files of a deleted run are still there",
            FILES,
            post("runs/delete", run_id="{run}"),
            listed(),
            read("a.txt"),
        ),
    ),
)
