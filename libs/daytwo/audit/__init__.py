"""Conservation, checked on the log: nothing lost, nothing paid twice, no tenant mixed with another, the ledger equal to the log."""

from daytwo.audit.invariants import RULES, Violation, invariants
from daytwo.audit.ledger import differences, sums
from daytwo.audit.reading import Reading
from daytwo.audit.report import LedgerView, Report, audit, judge
from daytwo.audit.view import Place, View

__all__ = ["RULES", "LedgerView", "Place", "Reading", "Report", "View", "Violation", "audit", "differences", "invariants", "judge", "sums"]
