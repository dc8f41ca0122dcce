"""Webhooks: kept, listed, changed, deleted; nothing here makes the server call anybody."""

from typing import Any

from tests.fronts.mlflow.steps import (
    NO_PATH,
    SHOULD,
    SPOILT,
    Area,
    Step,
    delete,
    get,
    patch,
    post,
    raw,
    scene,
)

CREATED = {"entity": "REGISTERED_MODEL", "action": "CREATED"}


def hook(**more: Any) -> Step:
    # An address that needs no name server, and asleep, so that no other scene wakes it.
    given = {
        "name": "w-{u}",
        "url": "https://8.8.8.8/hook",
        "events": [CREATED],
        "status": "DISABLED",
        **more,
    }
    return post("webhooks", {name: value for name, value in given.items() if value is not None})


HOOK = hook().keep(hook="webhook.webhook_id")

AREA = Area(
    "webhooks",
    SHOULD,
    (
        scene(
            "a webhook is created, read, changed and deleted",
            hook(description="tells us", secret="s3cret", status="ACTIVE").keep(hook="webhook.webhook_id"),
            get("webhooks/{hook}"),
            patch("webhooks/{hook}", status="DISABLED"),
            patch(
                "webhooks/{hook}",
                url="https://8.8.4.4/other",
                events=[{"entity": "MODEL_VERSION", "action": "CREATED"}],
            ),
            get("webhooks/{hook}"),
            delete("webhooks/{hook}"),
            get("webhooks/{hook}"),
        ),
        scene(
            "events are of the kinds there are",
            *(
                hook(events=[{"entity": entity, "action": action}])
                for entity, action in (
                    ("MODEL_VERSION", "CREATED"),
                    ("MODEL_VERSION_TAG", "SET"),
                    ("MODEL_VERSION_TAG", "DELETED"),
                    ("MODEL_VERSION_ALIAS", "CREATED"),
                    ("MODEL_VERSION_ALIAS", "DELETED"),
                    ("PROMPT", "CREATED"),
                    ("PROMPT_VERSION", "CREATED"),
                    ("RUN", "CREATED"),
                    ("MODEL_VERSION", "EXPLODED"),
                )
            ),
        ),
        scene(
            "a webhook needs a name, an address and events",
            hook(name=None),
            hook(name=""),
            hook(url=None),
            hook(events=None),
            hook(events=[]),
            hook(events="all"),
            hook(status="ASLEEP").stricter(SPOILT),
            hook(name="n" * 300),
        ),
        scene(
            "a webhook calls nobody but public servers over https",
            hook(url="http://8.8.8.8/").stricter(NO_PATH),
            hook(url="file:///etc/passwd").stricter(NO_PATH),
            hook(url="https://127.0.0.1/").stricter(NO_PATH),
            hook(url="https://169.254.169.254/latest").stricter(NO_PATH),
            hook(url="https://[::ffff:127.0.0.1]/").stricter(NO_PATH),
            hook(url="https://0x7f.1/").stricter(NO_PATH),
            hook(url="https://user:word@8.8.8.8/").stricter(NO_PATH),
            hook(url="nonsense"),
            HOOK,
            patch("webhooks/{hook}", url="https://127.0.0.1/").stricter(NO_PATH),
        ),
        scene(
            "webhooks are listed page by page",
            HOOK,
            get("webhooks", max_results=1).but("webhooks", "next_page_token"),
            get("webhooks", max_results=0).but("webhooks", "next_page_token"),
            get("webhooks", max_results=-1),
            get("webhooks", page_token="garbage", max_results=1),
        ),
        scene(
            "a webhook that does not exist is not found",
            get("webhooks/00000000-0000-0000-0000-000000000000"),
            patch("webhooks/00000000-0000-0000-0000-000000000000", status="ACTIVE"),
            delete("webhooks/00000000-0000-0000-0000-000000000000"),
            post("webhooks/00000000-0000-0000-0000-000000000000/test"),
            raw("POST", "webhooks", "not JSON"),
        ),
    ),
)
