"""What a prediction costs: ``python benchmarks/bench_serving.py`` prints a table.

A server is started on a project as `varv init` writes it, with one worker. Each request brings one row, is
given its windowed features, is scored, and is captured before its answer goes out. The clients run on the
same machine. There is no bar yet; the figures are here to be watched.
"""

from __future__ import annotations

import http.client
import json
import statistics
import threading

from served import deliveries
from varv.kernel.clock import wall_seconds

N_ALONE = 500
N_CLIENTS = 8
SECONDS = 10.0
ROW = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}


class Client:
    """One connection that asks for one prediction after another."""

    def __init__(self, port: int, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._name, self._n = name, 0

    def ask(self) -> float:
        """Ask once; return the milliseconds until the answer was there."""
        self._n += 1
        body = json.dumps({"dataframe_records": [{**ROW, "delivery_id": f"{self._name}-{self._n}"}]})
        begin = wall_seconds()
        self._connection.request("POST", "/invocations", body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise SystemExit(told.decode())
        return (wall_seconds() - begin) * 1000


def together(port: int) -> list[float]:
    """Return the milliseconds of every request that several clients made in some seconds."""
    spent: list[float] = []
    until = wall_seconds() + SECONDS

    def ask(number: int) -> None:
        client = Client(port, f"together-{number}")
        while wall_seconds() < until:
            spent.append(client.ask())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent


def shown(name: str, spent: list[float]) -> None:
    cuts = statistics.quantiles(spent, n=100)
    print(f"{name:<28} p50 {cuts[49]:6.2f} ms   p99 {cuts[98]:6.2f} ms")


def main() -> int:
    with deliveries() as server:
        alone = Client(server.inference, "alone")
        spent = [alone.ask() for _ in range(N_ALONE)]
        shown("one client", spent[N_ALONE // 5 :])
        spent = together(server.inference)
        shown(f"{N_CLIENTS} clients", spent)
        print(f"{'requests a second':<28} {len(spent) / SECONDS:10.0f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
