"""The README is what a newcomer runs: every block, in order, in a folder of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.app.serving import eventually

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
SERVER = "varv up deliveries.py\n"


def test_every_make_target_that_the_readme_names_exists():
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


class Newcomer:
    """Types the blocks of the README, one after the other, on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8400": free_port(), "8480": free_port()}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        ports = {"VARV_PORT": self.ports["8400"], "VARV_INFERENCE_PORT": self.ports["8480"]}
        self.environment = {**os.environ, "PATH": path, **ports}
        self.server: subprocess.Popen[bytes] | None = None

    def type(self, block: str) -> str:
        for usual, own in self.ports.items():
            block = block.replace(f":{usual}", f":{own}")
        typed = f"set -e\n{block}\npwd > .where\n"
        done = subprocess.run(
            ["bash", "-c", typed], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        self.folder = Path(next(self.folder.rglob(".where")).read_text().strip())
        return done.stdout

    def leave_running(self, block: str) -> None:
        self.server = subprocess.Popen(block.split(), cwd=self.folder, env=self.environment)
        ready = f"http://127.0.0.1:{self.ports['8480']}/v2/health/ready"
        health = f"http://127.0.0.1:{self.ports['8400']}/health"
        # A worker answers before the owner has read all that it remembers.
        eventually(lambda: True if answers(ready) and serves(health) else None)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def serves(url: str) -> bool:
    return httpx.get(url).json()["state"] == "serving"


@pytest.mark.slow
def test_every_block_works_in_the_order_of_the_page(tmp_path):
    newcomer = Newcomer(tmp_path)
    said = {}
    try:
        for block in BLOCKS:
            if block.startswith("make "):
                continue
            if block == SERVER:
                newcomer.leave_running(block)
            else:
                said[block.split("\n")[0]] = newcomer.type(block)
    finally:
        if newcomer.server is not None:
            newcomer.server.send_signal(signal.SIGTERM)
            assert newcomer.server.wait(60) == 0
    told = "\n".join(said.values())
    assert "report.html" in told
    predictions = [
        json.loads(text) for start, text in said.items() if "8480" in start or "/invocations" in start
    ]
    assert len(predictions) == 2
    assert 0 < predictions[0]["predictions"][0] < 1
    assert '{"n_rows":1,' in said[next(start for start in said if "outcome/record" in start)]
