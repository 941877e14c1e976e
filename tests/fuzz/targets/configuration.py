"""`daytwo.yaml`: any text is applied, or refused with every problem at its place."""

from __future__ import annotations

from typing import Final

from daytwo.broker import outgoing
from daytwo.config_file import ConfigError, parse
from schemas.load import HERE

ENV: Final = {"SECRET": "s3cret of the environment", "EMPTY": ""}


def configuration(data: bytes) -> None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    try:
        config = parse(text, "daytwo.yaml", ENV)
    except ConfigError as error:
        assert error.problems
        assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
        str(error).encode("utf-8", "backslashreplace")
        return
    for records in config.records.values():
        for key, record in records.items():
            assert outgoing(record).key == key.encode()


def configuration_seeds() -> list[bytes]:
    root = HERE.parent
    files = (root / "examples" / "daytwo.yaml", root / "deploy" / "demo" / "daytwo.yaml")
    return [
        *(path.read_bytes() for path in files),
        b'tenants: {a: {keys: [{id: k, secret: "${SECRET}"}], caps: [{scope: user, period: day, limit: "$1"}]}}',
        b"prices:\n- {provider: p, model: m, valid_from: 2026-01-31T12:00:00Z, input: $1, output: 2 USD, per: 1k tokens}\n",
        b"tenants: &t\n  a: &a {max_timeout: 1h30m}\n  b: *a\ndeployments: {}\n",
        b'%YAML 1.1\n---\ntenants: !!map {? a : {}, <<: {b: {}}, "\\x41": }\n...\n',
    ]
