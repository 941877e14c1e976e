"""What was spent, counted again from the results alone. It shares no code with cost-meter, the ledger or the rest of the audit. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from daytwo.records import RequestFinished


def recount(results: Iterable[RequestFinished]) -> Mapping[str, tuple[int, int]]:
    """Nano-dollars and tokens by tenant. Of each accepted request the first of the results, which come in the order of the log."""
    seen = set()
    spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for result in results:
        accepted = result.fingerprint and not result.submission
        if accepted and (result.tenant, result.request_id, result.fingerprint) not in seen:
            seen.add((result.tenant, result.request_id, result.fingerprint))
            spent[result.tenant][0] += result.cost_nano
            spent[result.tenant][1] += result.usage.input_tokens + result.usage.output_tokens
    return {tenant: (nano, tokens) for tenant, (nano, tokens) in spent.items()}
