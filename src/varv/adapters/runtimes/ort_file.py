"""A model in ONNX Runtime's own form, made in a process of its own: ``python ort_file.py FILE``, with the
model as ONNX on standard input.

What it takes to make one is several times the model, and much of that would stay with the process that did.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from varv.kernel.errors import Corrupt


def write_ort(onnx: bytes, file: Path) -> None:
    """Write a model to a file.

    Raises
    ------
    Corrupt
        If the engine does not read it, or cannot write it.
    """
    # As a file, not as a module: its packages import what takes half a second, and it needs none of that.
    command = [sys.executable, "-P", __file__, str(file)]
    done = subprocess.run(command, input=onnx, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = lines[-1][:200] if lines else f"the process ended with status {done.returncode}"
        raise Corrupt("package", "onnx", "cannot be written in the form of the runtime", why=why)


def main() -> int:
    """Write the model."""
    # The environment says that it sends no reports: whoever began this has the engine too.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.optimized_model_filepath = sys.argv[1]
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.disable_prepacking", "1")
    onnxruntime.InferenceSession(sys.stdin.buffer.read(), options, providers=["CPUExecutionProvider"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
