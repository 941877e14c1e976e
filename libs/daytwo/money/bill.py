"""Reads a provider's bill: what the mock provider's `GET /bill` answers, a JSON list of such calls, or CSV with a head line. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daytwo.config_file.units import dollars, nano
from daytwo.money.reconciling import Line
from daytwo.records import Usage

COLUMNS = "attempt_id, input_tokens (or prompt_tokens), output_tokens (or completion_tokens), cached_input_tokens, reasoning_tokens, amount"


class BillError(ValueError):
    """What is no bill, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    lines: tuple[Line, ...]
    whole: bool = True
    """False: it says itself that calls are missing."""


def read_bill(text: str) -> Bill:
    """Raises BillError. A line that is not charged is none."""
    if not text.lstrip().startswith(("{", "[")):
        return _csv(text)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise BillError(f"not JSON: {error}") from None
    calls = value.get("calls") if isinstance(value, dict) else value
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise BillError("needs a list of calls, or an object with one in `calls`")
    lines = tuple(_line(call, f"call {number}") for number, call in enumerate(calls, 1) if call.get("charged", True))
    return Bill(lines=lines, whole=not (isinstance(value, dict) and value.get("truncated")))


def _csv(text: str) -> Bill:
    rows: Iterable[Mapping[str, Any]] = csv.DictReader(io.StringIO(text))
    lines = tuple(_line(row, f"line {number}") for number, row in enumerate(rows, 2))
    if not lines and "attempt_id" not in text.partition("\n")[0]:
        raise BillError(f"neither JSON nor CSV with the columns {COLUMNS}")
    return Bill(lines=lines)


def _line(call: Mapping[str, Any], where: str) -> Line:
    usage = Usage(
        input_tokens=_count(call, where, "input_tokens", "prompt_tokens"),
        cached_input_tokens=_count(call, where, "cached_input_tokens"),
        output_tokens=_count(call, where, "output_tokens", "completion_tokens"),
        reasoning_tokens=_count(call, where, "reasoning_tokens"),
    )
    if usage.cached_input_tokens > usage.input_tokens or usage.reasoning_tokens > usage.output_tokens:
        raise BillError(f"{where}: more cached than read, or more reasoning than written")
    amount = call.get("amount")
    try:
        billed_nano = None if amount in (None, "") else nano(dollars(str(amount) if "$" in str(amount) else f"${amount}"))
    except ValueError as error:
        raise BillError(f"{where}: amount {amount!r}: {error}") from None
    return Line(attempt_id=str(call.get("attempt_id") or ""), usage=usage, billed_nano=billed_nano, at_ms=_count(call, where, "at_ms"))


def _count(call: Mapping[str, Any], where: str, *names: str) -> int:
    value = next((call[name] for name in names if call.get(name) not in (None, "")), 0)
    if isinstance(value, bool) or not str(value).isdecimal():
        raise BillError(f"{where}: {names[0]} {value!r} is no whole number from 0")
    return int(value)
