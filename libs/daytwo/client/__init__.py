"""daytwo for Python programs: ask and await the answer, or submit now and take the results later.

    async with Client("127.0.0.1:9092", tenant="acme") as daytwo:
        result = await daytwo.ask("What is a rebalance?")
        print(result.message.content)

`SyncClient` is the same for scripts without an event loop. What can go wrong is drawn in `daytwo.client.errors`.
"""

from daytwo.client.client import Client, Session
from daytwo.client.errors import (
    BudgetExceededError,
    ClientError,
    DocumentError,
    ExpiredError,
    FailedError,
    InvalidInputError,
    NotAcknowledgedError,
    NotConnectedError,
    OverloadedError,
    RefusedError,
    RequestError,
    UnreadableResultError,
    WaitTimeoutError,
)
from daytwo.client.input import DocumentFields, RequestFields
from daytwo.client.sync import SyncClient, SyncSession
from daytwo.records import DocumentFinished, Grounding, Message, RequestFinished, SigningKey, Tool

__all__ = [
    "BudgetExceededError",
    "Client",
    "ClientError",
    "DocumentError",
    "DocumentFields",
    "DocumentFinished",
    "ExpiredError",
    "FailedError",
    "Grounding",
    "InvalidInputError",
    "Message",
    "NotAcknowledgedError",
    "NotConnectedError",
    "OverloadedError",
    "RefusedError",
    "RequestError",
    "RequestFields",
    "RequestFinished",
    "Session",
    "SigningKey",
    "SyncClient",
    "SyncSession",
    "Tool",
    "UnreadableResultError",
    "WaitTimeoutError",
]
