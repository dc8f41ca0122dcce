import subprocess
import sys

FORKED = r"""
import os
from varv.kernel.ids import random_bits
child = os.fork()
os.write(1, b"%d\n" % random_bits(128))
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_process_goes_on_with_numbers_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 2
