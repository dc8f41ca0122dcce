"""Servers that sources are read from: PostgreSQL's own, and one of files that can be told to misbehave."""

from __future__ import annotations

import http.server
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

BIN = Path("/usr/lib/postgresql/15/bin")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Postgres:
    """A server of its own, by whoever is not root, which it refuses to be run by."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="varv-postgres-"))
        self.port = free_port()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        data = self.folder / "data"
        self.run(f"{BIN}/initdb -D {data} -U reader --auth=trust -E UTF8 --no-sync")
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run(f"{BIN}/pg_ctl -D {data} -o '{options}' -l {self.folder}/log -w start")
        self.url = f"postgresql://reader:${{VARV_TEST_PASSWORD}}@127.0.0.1:{self.port}/postgres"

    def run(self, command: str) -> None:
        asked = (
            ["su", "nobody", "-s", "/bin/sh", "-c", command] if os.geteuid() == 0 else ["sh", "-c", command]
        )
        done = subprocess.run(asked, capture_output=True, text=True, cwd=self.folder, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        self.run(f"{BIN}/pg_ctl -D {self.folder}/data -m immediate stop")
        shutil.rmtree(self.folder, ignore_errors=True)


class FileServer:
    """Serves one file with an ETag and ranges; `cut` answers end early, and `redirect` leads elsewhere."""

    def __init__(self, body: bytes) -> None:
        self.body, self.etag = body, '"v1"'
        self.cut = 0
        self.redirect = ""
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                outer.asked.append({name.lower(): value for name, value in self.headers.items()})
                if outer.redirect:
                    self.send_response(302)
                    self.send_header("location", outer.redirect)
                    self.end_headers()
                    return
                if self.headers.get("if-none-match") == outer.etag:
                    self.send_response(304)
                    self.end_headers()
                    return
                start = 0
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
                if asked and self.headers.get("if-range") == outer.etag:
                    start = int(asked[1])
                    self.send_response(206)
                    self.send_header(
                        "content-range", f"bytes {start}-{len(outer.body) - 1}/{len(outer.body)}"
                    )
                else:
                    self.send_response(200)
                rest = outer.body[start:]
                self.send_header("etag", outer.etag)
                self.send_header("content-length", str(len(rest)))
                self.end_headers()
                if outer.cut:
                    outer.cut -= 1
                    rest = rest[: len(rest) // 2]
                self.wfile.write(rest)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
