"""The options of the commands that live a project: through its past, and served.

Only the standard library is imported here.
"""

from __future__ import annotations

import argparse

INIT = """Write deliveries.py, a small declaration that works, and the data that it reads. What is there
already is left as it is; running it again changes nothing.
"""
REPLAY = """Feed the data of FILE, as it arrived, through the whole loop under a virtual clock: training,
gates, shadow, canary, promotion, monitors, retraining. Then do the same with reference policies and
compare. A replay that was cut short goes on; a finished one is shown again. FILE must declare a
varv.Replay.
"""
UP = """Own the home folder: answer predictions, take outcomes, watch, retrain and roll out, until a
signal comes. On an empty home the history in the data is taken in first and the first model trained; on one
that a replay has filled, its champion serves. What FILE declares otherwise than before is said, as varv
plan says it, and carried out. The console is there at once, on http://127.0.0.1:8400/.
"""
TRACK = """Own the home folder and answer MLflow's REST protocol, until a signal comes: set
MLFLOW_TRACKING_URI=http://127.0.0.1:8400 where experiments are run. varv up answers it too, beside the models
that it serves.
"""
PLAN = """Compare FILE with what the home has on record, and say what varv up or varv apply will do about it:
new models, new features and the stored requests that they are computed for, features that go and the
versions that still read them, settings before and after, models that are retired, and what is refused, with
the reason and what to do instead. Nothing is changed; also while varv up runs. Exit status 0 if there is
nothing to do, 2 if there is something, 1 if any of it is refused.
"""
APPLY = """Let the running varv up read its declaration anew, from where it was started with, and carry out
what changed, as varv plan says it, while requests are answered: new worker processes take over from the ones
before, stored requests get what is new, and versions are trained on it. If any of it is refused, nothing is
changed.
"""
_REGRET = "show what each policy lost beyond the best schedule in hindsight, and what trainings are worth"
_SEARCH = "live through every policy of the declared search, and show which was chosen in time"


def add_init(init: argparse.ArgumentParser) -> None:
    """Add the options of `varv init`."""
    init.add_argument(
        "folder", nargs="?", default=".", help="where; made if it is not there (the present folder)"
    )


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Add the options of `varv replay`."""
    add_project(replay)
    replay.add_argument("--declared-only", action="store_true", help="leave the reference policies out")
    replay.add_argument(
        "--policies",
        metavar="NAMES",
        help="policies to compare with, of those declared and never,monthly,weekly,every-2-weeks,"
        "every-4-weeks,every-8-weeks,volume-25,volume-50",
    )
    replay.add_argument("--regret", action="store_true", help=_REGRET)
    replay.add_argument("--search", action="store_true", help=_SEARCH)
    replay.add_argument(
        "--price",
        metavar="PRICE",
        default="",
        help='what a training costs: 30 (summed loss), "0.01 on 10000 requests" or "12 a year"',
    )
    replay.add_argument("--fresh", action="store_true", help="set a replay that is there aside, and run anew")


def add_up(up: argparse.ArgumentParser) -> None:
    """Add the options of `varv up`."""
    add_project(up)
    up.add_argument("--port", type=int, help="port of the console and the API (8400)")
    up.add_argument("--inference-port", type=int, help="port of predictions (8480)")
    up.add_argument("--grpc-port", type=int, help="port of predictions over gRPC (none)")
    up.add_argument("--host", help="address to listen on (127.0.0.1)")
    up.add_argument("--workers", type=int, help="processes that answer predictions (1)")
    add_retiring(up)


def add_track(track: argparse.ArgumentParser) -> None:
    """Add the options of `varv track`."""
    track.add_argument("--port", type=int, help="port of the console and the API (8400)")
    track.add_argument("--host", help="address to listen on (127.0.0.1)")


def add_plan(plan: argparse.ArgumentParser) -> None:
    """Add the options of `varv plan`."""
    add_project(plan)
    add_retiring(plan)


def add_project(command: argparse.ArgumentParser) -> None:
    """Add which project is meant."""
    command.add_argument(
        "file",
        nargs="?",
        default="",
        help="the project: FILE.py, FILE.py:name, or a folder of files (project in varv.toml)",
    )
    command.add_argument("--model", metavar="NAME", default="", help="this model of the project alone")


def add_retiring(command: argparse.ArgumentParser) -> None:
    """Add which models may go."""
    command.add_argument(
        "--retire",
        metavar="NAME",
        action="append",
        default=[],
        help="a model that the project does not declare any more may go; it can be declared again",
    )
    command.add_argument(
        "--despite-traffic", action="store_true", help="also if it answered requests in the last day"
    )
