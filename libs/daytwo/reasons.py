"""Every reason code a result, a dead letter or a document can carry, with what it means and whether trying again helps.

docs/concepts.md shows this table.
"""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {
    "ok": "Answered, or done.",
    # refused at the door
    "unreadable": "The bytes are no record of this topic: framing, schema id or body. Dead letter.",
    "invalid_request": "A field is missing, out of range or malformed; the detail names it.",
    "invalid_document": "The document is no text, or a field is missing or malformed; the detail names it.",
    "too_large": "Larger than the limit; the detail names it.",
    "unknown_tenant": "No such tenant is configured.",
    "inactive_tenant": "The tenant is switched off.",
    "missing_signature": "The tenant has signing keys and the record carries no signature.",
    "bad_signature": "The signature is not that of a key of the tenant over these bytes.",
    "id_reused": "The request id was used before with other content.",
    "deadline_in_past": "The deadline had passed when the request arrived.",
    "overloaded": "Too many requests are before it; refused before anything was reserved. retry_after_ms says when to try again.",
    # money and models
    "unknown_model": "No deployment serves this model or alias, or the tenant may not use it.",
    "unpriced_model": "No price is known for a deployment of this model; an unknown price is refused, never free.",
    "invalid_configuration": "The tenant's configuration cannot be applied, a cap for instance; the detail says why. Closed, not open.",
    "budget_exceeded": "A spending cap is reached and no cached answer was found; retry_after_ms says when it renews.",
    # on the road
    "deadline_exceeded": "The deadline passed before an answer was there.",
    "text_too_long": "The text is longer than the embedding model takes, even split.",
    "incomplete_document": "A chunk of the document was refused or failed; nothing of this version is served, the one before still is.",
    "providers_unavailable": "No deployment could answer in time; retry_after_ms says when to try again.",
    "provider_refused": "The provider refused the request as such (status 4xx); another attempt would be refused too.",
    "store_unavailable": "A store of a service did not answer until the deadline; trying again later may help.",
    "internal_error": "A bug in daytwo; the dead letter has the traceback.",
    "poison_record": "The record was there at three deaths of the service in a row and was set aside.",
}
