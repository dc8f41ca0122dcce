"""What each command does: read or tell, and show the result as text or as one JSON document."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from keyword import iskeyword

import msgspec

from varv.app.settings import load_settings, return_memory, share_processors
from varv.kernel.clock import SystemClock
from varv.kernel.errors import VarvError
from varv.kernel.observe import start_logging

MODULES = {
    "init": "running",
    "replay": "running",
    "plan": "changing",
    "apply": "changing",
    "up": "running",
    "track": "running",
    "run": "scripts",
    "reproduce": "scripts",
    "runs": "runs",
    "status": "status",
    "top": "top",
    "why": "why",
    "logs": "why",
    "requirements": "requirements",
    "verify": "checking",
    "doctor": "checking",
    "quarantine": "quarantine",
    "contract": "contract",
    "data": "data",
    "erase": "privacy",
    "features": "features",
    "rollback": "telling",
    "retrain": "telling",
    "register": "telling",
    "cancel": "telling",
    "review": "review",
    "labels": "labels",
    "token": "tokens",
    "export": "exporting",
    "package": "packaging",
    "import": "importing",
    "ci": "ci",
    "hooks": "hooks",
    "pipeline": "pipeline",
    "tune": "tune",
}
"""Where each command is; only that is imported, since dataframes and servers take their time."""

FLAGS = ("home", "host", "port", "inference_port", "grpc_port", "workers")


def run(options: argparse.Namespace) -> int:
    """Run the command that was chosen; return the exit status."""
    share_processors()
    return_memory()
    loaded = load_settings({name: getattr(options, name, None) for name in FLAGS})
    start_logging("text", sys.stderr, SystemClock(), level=logging.WARNING)
    module = importlib.import_module(f"varv.app.cli.{MODULES[options.command]}")
    # A function cannot have the name of a word of Python.
    name = f"{options.command}_" if iskeyword(options.command) else options.command
    return getattr(module, name)(options, loaded)


def error_document(error: VarvError) -> str:
    """Return an error as the JSON document that `--json` promises."""
    return msgspec.json.encode({"error": error.described()}, enc_hook=str).decode() + "\n"
