"""Training: a visible loop, and the session that runs it.

`train` makes a run from a family's configuration and images; `resume` goes on with one.
"""

from pinxit.training.api import resume, train

__all__ = ["resume", "train"]
