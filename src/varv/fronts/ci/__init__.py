"""What continuous integration shows of a candidate: a comment in Markdown, test results as JUnit's XML, and
the workflows that make both. Plain functions from `home.candidate`; nothing here reads a home or a file.
"""

from varv.fronts.ci.junit import junit
from varv.fronts.ci.markdown import MARKER, markdown
from varv.fronts.ci.workflows import WORKFLOWS

__all__ = ["MARKER", "WORKFLOWS", "junit", "markdown"]
