"""Money, durations, token counts and dates as people write them, as exact numbers. Each raises ValueError with the reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Literal, NamedTuple

NANO = 1_000_000_000
DOLLARS_LIMIT = Decimal(100_000_000)
LONGEST_MS = 366 * 24 * 3_600_000

_DOLLARS = re.compile(r"\$ ?(\d{1,3}(?:,\d{3})+|\d{1,12})(\.\d{1,18})?|(\d{1,12})(\.\d{1,18})? ?USD")
_OTHER_MONEY = re.compile(r"[€£¥₹₽₩]|\b(?!USD\b)[A-Z]{3}\b|\b[A-Z]{1,2}\$")
_DURATION = re.compile(r"(\d{1,12})(ms|s|m|h|d)")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TOKENS = re.compile(r"(\d{1,9}) ?([kKmM]?)(?: ?tokens?)?")
_COUNT = re.compile(r"(-?)(\d{1,3}(?:,\d{3})+|\d{1,15}) ?([kKmMgG]?) ?(tokens?|requests?|open requests?)?")
_TIMES = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}
LARGEST_COUNT = 10**15
"""Tokens or requests. The ledger compares exactly up to 2^53."""


def dollars(text: str) -> Decimal:
    """`$5.00`, `$1,000` or `5 USD` as dollars, 0 to a hundred million."""
    text = text.strip()
    if "-" in text:
        raise ValueError("an amount must not be negative")
    if _OTHER_MONEY.search(text):
        raise ValueError("only US dollars are counted")
    match = _DOLLARS.fullmatch(text)
    if match is None:
        raise ValueError("write the currency, as in $5.00" if re.fullmatch(r"[\d.,]+", text) else "not an amount")
    amount = Decimal((match[1] or match[3]).replace(",", "") + (match[2] or match[4] or ""))
    if amount > DOLLARS_LIMIT:
        raise ValueError(f"more than ${DOLLARS_LIMIT:,} is surely not meant")
    return amount


def nano(amount: Decimal, *, times: int = 1, per: int = 1) -> int:
    """Nano-dollars of `amount` times `times` / `per`, exactly."""
    with localcontext() as context:
        context.prec = 60
        whole, rest = divmod(amount * NANO * times, per)
    if rest:
        raise ValueError("finer than a nano-dollar")
    return int(whole)


def nano_ceiling(amount: Decimal, *, times: int = 1, per: int = 1) -> int:
    """Nano-dollars of `amount` times `times` / `per`, rounded up."""
    with localcontext() as context:
        context.prec = 60
        whole, rest = divmod(amount * NANO * times, per)
    return int(whole) + bool(rest)


def milliseconds(text: str) -> int:
    """`500ms`, `30s`, `1h30m` or `7d` as milliseconds, more than 0 and at most a year."""
    compact = text.replace(" ", "")
    if not compact or _DURATION.sub("", compact):
        raise ValueError("write the unit, as in 30s" if compact.isdigit() else "not a duration")
    total = sum(int(number) * _MS[unit] for number, unit in _DURATION.findall(compact))
    if not 0 < total <= LONGEST_MS:
        raise ValueError("must be more than 0" if total == 0 else "longer than a year is surely not meant")
    return total


def seconds(text: str) -> int:
    """A duration in whole seconds."""
    total = milliseconds(text)
    if total % 1000:
        raise ValueError("must be whole seconds")
    return total // 1000


def tokens(text: str) -> int:
    """`1M tokens`, `1k tokens` or `1 token` as a number."""
    match = _TOKENS.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError("not a number of tokens")
    return int(match[1]) * _TIMES[match[2].lower()]


class Amount(NamedTuple):
    """Of a limit: nano-dollars, tokens, or requests."""

    unit: Literal["money", "tokens", "requests", "open requests"]
    value: int


def limit(text: str) -> Amount:
    """`$5.00`, `2M tokens`, `60 requests` or `20 open requests`. Zero is a limit: nothing is let through."""
    text = text.strip()
    match = _COUNT.fullmatch(text)
    if match is None or not match[4]:
        if match is not None:
            raise ValueError("write the unit, as in $5.00, 2M tokens, 60 requests or 20 open requests")
        return Amount("money", nano(dollars(text)))
    if match[1]:
        raise ValueError("a limit must not be negative")
    value = int(match[2].replace(",", "")) * _TIMES[match[3].lower()]
    if value > LARGEST_COUNT:
        raise ValueError(f"more than {LARGEST_COUNT:,} is surely not meant")
    unit = match[4].removesuffix("s") + "s"
    return Amount("tokens" if unit == "tokens" else "requests" if unit == "requests" else "open requests", value)


def permille(text: str) -> int:
    """`50%` or `12.5%` as thousandths, 0 to 1000."""
    match = re.fullmatch(r"(\d{1,3})(?:\.(\d))? ?%", text.strip())
    if match is None:
        raise ValueError("write it as in 50% or 12.5%")
    value = int(match[1]) * 10 + int(match[2] or 0)
    if value > 1000:
        raise ValueError("more than 100%")
    return value


def moment(text: str) -> int:
    """`2026-01-31` or `2026-01-31T12:00:00Z` as epoch milliseconds; without a zone it is UTC."""
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("not a date")
    parsed = datetime.fromisoformat(text)
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def money_text(amount_nano: int) -> str:
    """Nano-dollars for people: $5.00, $0.000012; all digits that are not zero, at least two."""
    whole, rest = divmod(abs(amount_nano), NANO)
    cents = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_nano < 0 else ''}${whole:,}.{cents}"


def duration_text(ms: int) -> str:
    """Milliseconds for people, in the largest unit that divides them."""
    unit = next(name for name in ("d", "h", "m", "s", "ms") if ms % _MS[name] == 0)
    return f"{ms // _MS[unit]}{unit}"
