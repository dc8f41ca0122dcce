"""``python -m varv.app.cli``, as the command ``varv``."""

import sys

from varv.app.cli.parser import main

sys.exit(main())
