"""Conservation, checked on the log: nothing lost, nothing paid twice, no tenant mixed with another, the ledger equal to the log."""

from daytwo.audit.bill import Charge, against_bill
from daytwo.audit.invariants import RULES, Violation, invariants
from daytwo.audit.ledger import differences, sums
from daytwo.audit.offsets import Outputs, passed_over
from daytwo.audit.reading import Reading
from daytwo.audit.report import Bill, LedgerView, Report, audit, judge
from daytwo.audit.view import Place, View

__all__ = [
    "RULES",
    "Bill",
    "Charge",
    "LedgerView",
    "Outputs",
    "Place",
    "Reading",
    "Report",
    "View",
    "Violation",
    "against_bill",
    "audit",
    "differences",
    "invariants",
    "judge",
    "passed_over",
    "sums",
]
