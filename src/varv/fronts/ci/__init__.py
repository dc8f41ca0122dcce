"""What continuous integration shows of a candidate: a comment in Markdown, test results as JUnit's XML, and
the workflows that make both; of a logged run the same. Plain functions from `home.candidate` and
`home.tracking.judging`; nothing here reads a home or a file.
"""

from varv.fronts.ci.junit import junit
from varv.fronts.ci.markdown import MARKER, markdown
from varv.fronts.ci.runs import run_junit, run_markdown
from varv.fronts.ci.workflows import WORKFLOWS

__all__ = ["MARKER", "WORKFLOWS", "junit", "markdown", "run_junit", "run_markdown"]
