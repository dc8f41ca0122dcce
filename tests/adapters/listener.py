"""A server that writes down what it is sent, and answers as it is told."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listener:
    """Takes what is sent to it.

    Parameters
    ----------
    answers
        Statuses of the first requests, with their headers; those after them are taken.
    """

    def __init__(self, answers=()):
        self.answers = list(answers)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self._lock = threading.Lock()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                listener.take(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?a=b"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, request):
        body = request.rfile.read(int(request.headers["content-length"]))
        with self._lock:
            status, headers = self.answers.pop(0) if self.answers else (200, {})
            named = {name.lower(): value for name, value in request.headers.items()}
            self.taken.append(({**named, ":path": request.path}, body))
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("content-length", "6")
        request.end_headers()
        request.wfile.write(b"secret")
