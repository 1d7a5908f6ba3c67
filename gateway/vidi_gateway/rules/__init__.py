"""The site's rules: which films are processed, by which model, and what of the results goes where.

Everything here is pure: besides reading its file once, nothing waits, writes or remembers.
"""

from vidi_gateway.rules.engine import OUT_OF_RULES, Rules
from vidi_gateway.rules.routing import Routing
from vidi_gateway.rules.schema import DEFAULT
from vidi_gateway.rules.trace import Step, Trace

__all__ = ["DEFAULT", "OUT_OF_RULES", "Routing", "Rules", "Step", "Trace"]
