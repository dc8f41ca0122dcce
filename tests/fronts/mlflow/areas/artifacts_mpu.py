"""Uploads in parts and addresses signed beforehand, which the server's own store may do without."""

from tests.fronts.mlflow.steps import NO_PATH, SHOULD, STARTED, Area, get, post, scene

MPU = "/api/2.0/mlflow-artifacts/mpu/"
BELOW = "{e}/{run}/artifacts"
IN_PARTS = "a file may come in parts, though the server keeps it itself"
MADE = ("upload_id", "credentials")

AREA = Area(
    "artifacts_mpu",
    SHOULD,
    (
        scene(
            "a store of files takes no upload in parts",
            STARTED,
            post(MPU + "create/" + BELOW, path="large.bin", num_parts=2).instead(IN_PARTS).but(*MADE),
            post(
                MPU + "complete/" + BELOW,
                path="large.bin",
                upload_id="x",
                parts=[{"part_number": 1, "etag": "e"}],
            ).stricter(IN_PARTS, 404, "RESOURCE_DOES_NOT_EXIST"),
            post(MPU + "abort/" + BELOW, path="large.bin", upload_id="x").instead(IN_PARTS),
        ),
        scene(
            "an upload in parts leads nowhere else",
            STARTED,
            post(MPU + "create/" + BELOW + "/%2e%2e/%2e%2e", path="x", num_parts=2).stricter(
                NO_PATH, code=None
            ),
            post(MPU + "create/" + BELOW, path="../../x", num_parts=2).instead(IN_PARTS).but(*MADE),
            post(MPU + "create/" + BELOW, num_parts=2),
            post(MPU + "create/" + BELOW, path="x").instead(IN_PARTS).but(*MADE),
        ),
        scene(
            "a store of files signs no address",
            STARTED,
            get("/api/2.0/mlflow-artifacts/presigned/" + BELOW + "/a.txt"),
            get("/api/2.0/mlflow/artifacts/presigned-download-url", run_id="{run}", path="a.txt"),
            post("/api/2.0/mlflow/artifacts/presigned-upload-url", run_id="{run}", path="a.txt"),
        ),
    ),
)
