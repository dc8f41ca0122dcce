"""Record how MLflow's own server answers the scenes of `tests.fronts.mlflow`.

    python -m tests.peers.recording .venv-peers/mlflow .venv-peers/mlflow-of-a-year-ago [area ...]

The first peer's answers become the transcripts; where those of the next differ, the step is marked with what
they answered. A peer is an environment with `mlflow` in it, or the URL of a server that runs already.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from tests.fronts.mlflow import golden
from tests.fronts.mlflow.areas import AREAS
from tests.fronts.mlflow.playing import play
from tests.fronts.mlflow.steps import Area
from tests.peers.mlflow_server import tracking_server

Said = dict[str, list[dict[str, Any]]]


def main(arguments: Sequence[str]) -> int:
    names = {area.name for area in AREAS}
    peers = [given for given in arguments if given not in names]
    wanted = [area for area in AREAS if area.name in arguments or not names & set(arguments)]
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(_client(held, peer)) for peer in peers]
        versions = [client.get("/version").text for client in clients]
        for area in wanted:
            heard = [_heard(area, client) for client in clients]
            for version, said in zip(versions[1:], heard[1:], strict=True):
                _mark(heard[0], version, said)
            transcript = {
                "area": area.name,
                "level": area.level,
                "mlflow": versions[0],
                "compared": versions[1:],
            }
            golden.write(area.name, transcript | {"scenes": heard[0]})
            print(f"{area.name}: {area.n_steps} steps, {_n_marked(heard[0])} differ between versions")
    return 0


def _client(held: contextlib.ExitStack, peer: str) -> httpx.Client:
    if not peer.startswith("http"):
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        peer = held.enter_context(tracking_server(Path(peer), folder))
    # A connection each: MLflow ends some that it has refused a body on, and the next request would meet that.
    return httpx.Client(base_url=peer, timeout=60.0, limits=httpx.Limits(max_keepalive_connections=0))


def _heard(area: Area, client: httpx.Client) -> Said:
    heard: Said = {}
    for scene in area.scenes:
        answers = play(scene, client, f"u{uuid.uuid4().hex[:15]}")
        heard[scene.title] = [
            answer.transcript(step) for step, answer in zip(scene.steps, answers, strict=True)
        ]
        for step, answer in zip(scene.steps, answers, strict=True):
            unsaid = [words for words in step.words if words not in answer.raw]
            if unsaid:
                print(f"  {scene.title}: {step.line} does not say {unsaid}: {answer.raw[:200]}")
            if step.kept and answer.status != 200:
                print(f"  {scene.title}: {step.line} gave nothing to keep: {answer.raw[:200]}")
    return heard


def _mark(newest: Said, version: str, said: Said) -> None:
    """Note what another version answered, where clients could tell the difference."""
    for title, steps in newest.items():
        for step, other in zip(steps, said[title], strict=True):
            one = {name: value for name, value in step.items() if name != "differs"}
            if _seen(one) != _seen(other):
                step.setdefault("differs", {})[version] = {
                    name: value for name, value in other.items() if name != "step" and value != one.get(name)
                }


def _seen(answer: dict[str, Any]) -> dict[str, Any]:
    body = answer.get("body")
    refused = answer["status"] >= 400 and isinstance(body, dict)
    return answer | ({"body": body["error_code"]} if refused else {})


def _n_marked(said: Said) -> int:
    return sum("differs" in step for steps in said.values() for step in steps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
