"""Prompts, which are registered models and versions with tags of their own."""

from typing import Any

from tests.fronts.mlflow.steps import SHOULD, Area, Step, delete, get, post, scene

IS_PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}
PROMPT = post("registered-models/create", name="p-{u}", tags=[IS_PROMPT, {"key": "task", "value": "sum"}])
DETAILS = ("creation_timestamp", "last_updated_timestamp", "latest_versions", "tags")


def version(text: str, **more: Any) -> Step:
    tags = [
        IS_PROMPT,
        {"key": "mlflow.prompt.text", "value": text},
        {"key": "mlflow.prompt.type", "value": "text"},
    ]
    return post("model-versions/create", {"name": "p-{u}", "source": "prompt-template", "tags": tags, **more})


def search(filter: str, **more: Any) -> Step:
    return get("registered-models/search", {"filter": filter, **more}).but(*DETAILS)


AREA = Area(
    "prompts",
    SHOULD,
    (
        scene(
            "a prompt is a model with versions of text",
            PROMPT,
            version("Sum up {{ text }}.", description="first"),
            version("Sum up {{ text }} in {{ n }} words."),
            get("registered-models/get", name="p-{u}"),
            get("model-versions/get", name="p-{u}", version="1"),
            get("model-versions/search", filter="name = 'p-{u}'", order_by=["version_number DESC"]),
            post("registered-models/alias", name="p-{u}", alias="production", version="2"),
            get("registered-models/alias", name="p-{u}", alias="production"),
        ),
        scene(
            "a search of models does not find prompts unless it asks for them",
            PROMPT,
            post("registered-models/create", name="{u}-model"),
            search("name LIKE '%{u}%'"),
            search("name LIKE '%{u}%' AND tags.`mlflow.prompt.is_prompt` = 'true'"),
            search("name LIKE '%{u}%' AND tags.`mlflow.prompt.is_prompt` != 'true'"),
            search("name LIKE '%{u}%' AND tags.`mlflow.prompt.is_prompt` = 'false'"),
            search("name = 'p-{u}'"),
            search("name LIKE '%{u}%' AND tags.task = 'sum'"),
            search("tags.`mlflow.prompt.is_prompt` = 'true' AND tags.task = 'sum' AND name ILIKE 'P-{u}'"),
        ),
        scene(
            "a search of versions does not find prompts unless it asks for them",
            PROMPT,
            version("one"),
            get("model-versions/search", filter="name LIKE '%{u}%'"),
            get(
                "model-versions/search",
                filter="name LIKE '%{u}%' AND tags.`mlflow.prompt.is_prompt` = 'true'",
            ),
        ),
        scene(
            "prompts and models share their names",
            PROMPT,
            post("registered-models/create", name="p-{u}"),
            post("registered-models/create", name="m-{u}"),
            post("registered-models/create", name="m-{u}", tags=[IS_PROMPT]),
        ),
        scene(
            "a prompt is tagged and deleted",
            PROMPT,
            version("one"),
            post("registered-models/set-tag", name="p-{u}", key="owner", value="ana"),
            post("model-versions/set-tag", name="p-{u}", version="1", key="checked", value="yes"),
            get("model-versions/get", name="p-{u}", version="1"),
            delete("model-versions/delete", name="p-{u}", version="1"),
            get("model-versions/get", name="p-{u}", version="1"),
            delete("registered-models/delete", name="p-{u}"),
            get("registered-models/get", name="p-{u}"),
        ),
    ),
)
