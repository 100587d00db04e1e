"""Programs that attack the sandbox, and programs that look like it: each with the verdicts that are true of it.

`python -m sandbox check` runs them against the machine that it is started on, and so do the tests.
"""

from __future__ import annotations

from sandbox.catalogue.cases import Entry, Kind
from sandbox.catalogue.escapes import ESCAPES
from sandbox.catalogue.flaky import FLAKY
from sandbox.catalogue.forging import FORGERIES, OPINIONS
from sandbox.catalogue.own import OWN
from sandbox.catalogue.sources import SOURCES
from sandbox.catalogue.unruly import UNRULY
from sandbox.catalogue.unusual import UNUSUAL

CATALOGUE: tuple[Entry, ...] = (*FORGERIES, *OPINIONS, *ESCAPES, *UNRULY, *UNUSUAL, *FLAKY, *OWN, *SOURCES)

__all__ = ["CATALOGUE", "Entry", "Kind"]
