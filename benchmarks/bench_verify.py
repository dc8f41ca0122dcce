"""What `varv verify` costs on a home: ``python benchmarks/bench_verify.py HOME``, best that of the demo."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from varv.app.verifying import verify_report
from varv.kernel.clock import cpu_seconds, wall_seconds


def main() -> int:
    home = Path(sys.argv[1] if len(sys.argv) > 1 else ".varv")
    for quick in (True, False):
        wall, cpu = wall_seconds(), cpu_seconds()
        found = verify_report(home, quick=quick)
        spent = f"{wall_seconds() - wall:.2f} s, processor {cpu_seconds() - cpu:.2f} s"
        what = (
            f"{found.n_entries:,} entries"
            if quick
            else f"{found.n_segments:,} segments, {found.n_blobs} blobs"
        )
        print(
            f"{'--quick' if quick else 'all':<8} {spent}; {what}; {'ok' if found.ok else found.findings[0]}"
        )
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"home of {size / 1e6:.0f} MB, peak memory {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
