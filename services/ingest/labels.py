"""Rules of ids, names and labels, which requests and documents share. Each gives the problem in words, or None."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LONGEST_SOURCE: Final = 512
LONGEST_CATEGORY: Final = 128

_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,128}")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_CONTROL_IN_NAME: Final = re.compile("[\x00-\x1f\x7f]")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MOST_LABELS: Final = 32
_LONGEST_LABEL: Final = 64
_LONGEST_LABEL_VALUE: Final = 512


def id_problem(field: str, value: str) -> str | None:
    if _ID.fullmatch(value):
        return None
    return text_problem(field, value) or f"{field}: needs 1 to 128 letters, digits and . _ : @ -"


def optional_id_problem(field: str, value: str) -> str | None:
    return id_problem(field, value) if value else None


def text_problem(field: str, value: str) -> str | None:
    """Text may hold tabs and line ends, but no other control character."""
    found = _CONTROL.search(value)
    return f"{field}: control character U+{ord(found[0]):04X}" if found else None


def name_problem(field: str, value: str, *, longest: int, empty: bool = False) -> str | None:
    """A name is one line of at most `longest` characters."""
    if not empty and not value:
        return f"{field}: must not be empty"
    if len(value) > longest:
        return f"{field}: {len(value)} characters; at most {longest}"
    found = _CONTROL_IN_NAME.search(value)
    return f"{field}: control character U+{ord(found[0]):04X}" if found else None


def metadata_problem(metadata: Mapping[str, str]) -> str | None:
    if len(metadata) > _MOST_LABELS:
        return f"metadata: {len(metadata)} entries; at most {_MOST_LABELS}"
    for key, value in metadata.items():
        problem = name_problem("metadata key", key, longest=_LONGEST_LABEL) or name_problem(
            f"metadata[{key}]", value, longest=_LONGEST_LABEL_VALUE, empty=True
        )
        if problem:
            return problem
    return None


def traceparent_problem(traceparent: str) -> str | None:
    """Source: W3C Trace Context, version 00."""
    if not traceparent or _TRACEPARENT.fullmatch(traceparent):
        return None
    return "traceparent: neither empty nor of the form of W3C Trace Context"
