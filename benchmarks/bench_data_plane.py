"""What a prediction costs the processor: ``python benchmarks/bench_data_plane.py`` prints tables.

A server is started on a small model of thirty numbers, with one worker. `wrk` asks for predictions, each
captured before its answer goes out, over 1, 16 and 64 connections. The processor time is that of the worker
and, beside it, of everything else that the server runs, until all that was captured is on record; a bare
handler on the same protocol that only calls ONNX Runtime is measured as well, and `h2load` calls both over
gRPC, on one connection of 1, 16 and 64 streams. So are other servers with
``--peers``, or some of them with ``--with NAME,...``: they are installed on first use, each into a virtual
environment of its own, and their processor time is that of all their processes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from data_plane.calls import ONE_CALL, STREAMS, answered, measured_calls
from data_plane.load import CONNECTIONS, INFER, ONE_ROW, Payload, measured, payloads
from data_plane.peers import PEERS, LeftOut, Serving, peer_server
from data_plane.processes import Tree, cpu_s
from data_plane.servers import bare_server, settled, varv_server
from data_plane.tables import Line, ratios, shown, tables
from served import free_port

CACHE = Path.home() / ".cache" / "varv-bench"
IDLE_S = 2.0


def of_bare(chosen: Sequence[Payload], seconds: float) -> Iterator[Line]:
    """Measure the bare handler on what it understands."""
    with bare_server() as (port, process):
        for payload in (one for one in chosen if one.path == INFER and "tensors" not in one.name):
            for connections in CONNECTIONS:
                cost = measured(port, payload, connections, seconds, lambda: cpu_s(process))
                yield Line("bare", payload.name, connections, cost)


def of_calls(seconds: float) -> Iterator[Line]:
    """Measure calls over gRPC, of a bare handler and of varv."""
    with bare_server("bare_calls", answered) as (port, process):
        for streams in STREAMS:
            cost = measured_calls(port, streams, seconds, lambda: cpu_s(process))
            yield Line("bare", ONE_CALL, streams, cost)
    port = free_port()
    with varv_server("--grpc-port", str(port)) as (served, worker):
        tree = Tree(psutil.Process(served.process.pid))
        for streams in STREAMS:
            settled(tree)
            before = tree.cpu_s()
            cost = measured_calls(port, streams, seconds, lambda: cpu_s(worker))
            settled(tree)
            whole_us = 1e6 * (tree.cpu_s() - before) / max(cost.n_requests, 1)
            yield Line("varv", ONE_CALL, streams, cost, whole_us - cost.cpu_us)


def of_varv(chosen: Sequence[Payload], seconds: float) -> Iterator[Line]:
    """Measure varv: its worker while it answers, all its processes until what was captured is on record."""
    with varv_server() as (served, worker):
        tree = Tree(psutil.Process(served.process.pid))
        for payload in chosen:
            for connections in CONNECTIONS:
                settled(tree)
                before = tree.cpu_s()
                cost = measured(served.inference, payload, connections, seconds, lambda: cpu_s(worker))
                settled(tree)
                whole_us = 1e6 * (tree.cpu_s() - before) / max(cost.n_requests, 1)
                yield Line("varv", payload.name, connections, cost, whole_us - cost.cpu_us)


def of_peer(name: str, folder: Path, seconds: float) -> Iterator[Line]:
    """Measure a peer, or say why not."""
    try:
        with peer_server(name, folder) as serving:
            said(f"{name} spends {idle(serving):.1f} ms a second when nobody asks")
            for connections in CONNECTIONS:
                cost = measured(serving.port, PEERS[name], connections, seconds, serving.tree.cpu_s)
                yield Line(name, ONE_ROW, connections, cost)
            if strays := serving.tree.n_strays():
                said(f"{name}: {strays} processes left its tree, and are not counted from then on")
    except LeftOut as reason:
        said(f"{name} is left out: {reason}")


def idle(serving: Serving) -> float:
    """Return the processor time of a peer that nobody asks, in milliseconds a second."""
    before = serving.tree.cpu_s()
    threading.Event().wait(IDLE_S)
    return 1e3 * (serving.tree.cpu_s() - before) / IDLE_S


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def kept(found: Iterator[Line], lines: list[Line]) -> None:
    """Keep lines, and say each as it comes."""
    for line in found:
        said(f"{line.payload:<20}{shown(line)}")
        lines.append(line)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default="", help="measure payloads whose name has this")
    where = f"where peers are installed ({CACHE})"
    parser.add_argument("--peers", type=Path, nargs="?", const=CACHE, metavar="FOLDER", help=where)
    parser.add_argument("--with", dest="names", metavar="NAME,...", help=f"of {', '.join(PEERS)}")
    options = parser.parse_args()
    everyone = list(PEERS) if options.peers else []
    options.names = options.names.split(",") if options.names else everyone
    options.peers = (options.peers or CACHE).resolve()
    if unknown := set(options.names).difference(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = arguments()
    if shutil.which("wrk") is None or shutil.which("h2load") is None:
        raise SystemExit("this needs wrk and h2load: apt install wrk nghttp2-client")
    chosen = [one for one in payloads() if options.only in one.name]
    lines: list[Line] = []
    if chosen:
        kept(of_bare(chosen, options.seconds), lines)
        kept(of_varv(chosen, options.seconds), lines)
    if options.only in ONE_CALL:
        kept(of_calls(options.seconds), lines)
    by_row = any(one.name == ONE_ROW for one in chosen)
    for name in options.names if by_row else []:
        kept(of_peer(name, options.peers, options.seconds), lines)
    print(tables(lines))
    if by_row:
        print(f"\n{ratios(lines)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
