"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from daytwo.records import SigningKey

F = TypeVar("F", bound=Callable[..., Any])


class DurationType(click.ParamType):
    """`30s`, `15m`, `24h` or `7d`, as milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from daytwo.config_file.units import milliseconds

        try:
            return value if isinstance(value, int) else milliseconds(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}, as in 30s, 15m, 24h or 7d", param, ctx)


class MomentType(click.ParamType):
    """`2026-01-31` or `2026-01-31T12:00:00Z`, as epoch milliseconds; UTC if no zone is given."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from daytwo.config_file.units import moment

        try:
            return value if isinstance(value, int) else moment(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}, as in 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx)


class KeyType(click.ParamType):
    """`ID:SECRET`"""

    name = "id:secret"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SigningKey:
        if isinstance(value, SigningKey):
            return value
        key_id, colon, secret = str(value).partition(":")
        if not (key_id and colon and secret):
            self.fail("must be ID:SECRET", param, ctx)
        return SigningKey(id=key_id, secret=secret)


def tenant_options(command: F) -> F:
    """--tenant and --key, as those who submit need them."""
    key = click.option("--key", type=KeyType(), envvar="DAYTWO_KEY", help="Sign with this key, ID:SECRET; better in DAYTWO_KEY than typed.")
    tenant = click.option("--tenant", required=True, envvar="DAYTWO_TENANT", help="Who asks and pays. Else DAYTWO_TENANT.")
    return tenant(key(command))


def timeout_option(default: str = "60s") -> Callable[[F], F]:
    return click.option("--timeout", "timeout_ms", type=DurationType(), default=default, show_default=True, help="Time until the deadline.")
