"""The client: one producer and one reader, for as many sessions as there are."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar, Unpack

from daytwo.broker import Broker, Outgoing, Raw, Sender, outgoing
from daytwo.client.errors import (
    ClientError,
    InvalidInputError,
    NotAcknowledgedError,
    NotConnectedError,
    UnreadableResultError,
    document_error,
    request_error,
)
from daytwo.client.input import DocumentFields, Question, RequestFields, check_address
from daytwo.client.input import request as request_of
from daytwo.client.tail import Tail
from daytwo.client.waiting import Mailbox, within
from daytwo.clock import Clock, SystemClock
from daytwo.codec import decode
from daytwo.errors import RetryableError, TerminalError, UnreadableError
from daytwo.fate import DOCUMENT_ID_HEADER, REQUEST_ID_HEADER, headers_of, submission
from daytwo.records import DocumentFinished, DocumentSubmitted, RequestFinished, RequestSubmitted, SigningKey
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign
from daytwo.topic import Topic
from daytwo.topics import DOCUMENT_FINISHED, REQUEST_FINISHED

Result = TypeVar("Result", RequestFinished, DocumentFinished)

TIMEOUT_S = 60.0
GRACE_S = 10.0
LONGEST_TIMEOUT_S = 10_000_000.0
RESEND_PAUSE_S = 0.5


class Client:
    """Submits requests and documents of one tenant, and gives their results.

    `timeout` is the deadline of a request that names none, in seconds from now; a result is awaited `grace` seconds longer,
    for the word that the deadline passed. Nothing waits longer than both. `key` signs what is sent, where the tenant must sign.
    """

    def __init__(
        self,
        bootstrap: str = "127.0.0.1:9092",
        *,
        tenant: str,
        user: str = "",
        key: SigningKey | None = None,
        timeout: float = TIMEOUT_S,
        grace: float = GRACE_S,
        broker: Broker | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.tenant = tenant
        self.user = user
        self._bootstrap = bootstrap
        self._broker = broker
        self._key = key
        self._timeout = timeout
        self._grace = grace
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        self._requests: Mailbox[RequestFinished] = Mailbox(self._clock)
        self._documents: Mailbox[DocumentFinished] = Mailbox(self._clock)
        self._own = f"{tenant}/".encode()
        self._sender: Sender | None = None
        self._tail: Tail | None = None

    async def __aenter__(self) -> Self:
        """Takes its place at the end of the log, so that no result of what is submitted later is missed. Raises NotConnectedError."""
        broker = self._broker or _kafka(self._bootstrap)
        topics = (REQUEST_FINISHED.name, DOCUMENT_FINISHED.name)
        self._tail = Tail(broker, topics, take=self._take, trouble=self._trouble, died=self._died, clock=self._clock, rng=self._rng)
        sender = broker.sender()
        try:
            await self._tail.start()
            await sender.start()
        except RetryableError as error:
            await self._tail.stop()
            raise NotConnectedError(f"no connection to Kafka ({error.detail}): does it run there? (`daytwo status`)") from error
        self._sender = sender
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Sends what is waiting. Whoever still awaits a result gets NotConnectedError; the results stay on the log."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.stop()
        if self._tail is not None:
            await self._tail.stop()
        self._fail(NotConnectedError("the client was closed; `daytwo results` finds what comes later"))

    async def ask(self, question: Question, *, check: bool = True, **fields: Unpack[RequestFields]) -> RequestFinished:
        """Submits and awaits the result. `question` is a text, or chat messages as in the OpenAI API.

        Raises the RequestError that the outcome stands for, unless `check` is off; an answer in part and one that a person
        will give are results. Raises WaitTimeoutError `grace` seconds after the deadline.
        """
        request_id = await self._submit(question, fields, taken=True)
        try:
            return await self.result(request_id, check=check)
        except asyncio.CancelledError:
            self._requests.forget(request_id)
            raise

    async def submit(self, question: Question, **fields: Unpack[RequestFields]) -> str:
        """The request id, once Kafka has the request. Raises InvalidInputError, NotConnectedError, NotAcknowledgedError."""
        return await self._submit(question, fields, taken=False)

    async def result(self, request_id: str, *, check: bool = True, timeout: float | None = None) -> RequestFinished:
        """The result of a submitted request, once. Waits `timeout` seconds, or until its deadline and the grace are over."""
        result = await self._requests.collect(request_id, timeout)
        if check and (error := request_error(result)):
            raise error
        return result

    async def results(self) -> AsyncIterator[RequestFinished]:
        """Results of submitted requests as they come, whatever their outcome, until none is outstanding.

        Requests whose time is up are named by one WaitTimeoutError, after all others were given.
        """
        async for result in self._requests.collect_all():
            yield result

    async def add_document(
        self, source: str, content: str | bytes, collection: str, *, check: bool = True, **fields: Unpack[DocumentFields]
    ) -> DocumentFinished:
        """Puts a document, or its new version, into the collection; once this returns, the next request finds it.

        Raises DocumentError where it was refused or failed, unless `check` is off.
        """
        data = content.encode() if isinstance(content, str) else content
        return await self._document(source, data, collection, check, fields)

    async def remove_document(
        self, source: str, collection: str, *, check: bool = True, **fields: Unpack[DocumentFields]
    ) -> DocumentFinished:
        """Takes a source out of the collection; one that is not there is removed already."""
        return await self._document(source, None, collection, check, fields)

    def session(self, session: str = "", *, user: str = "", workflow: str = "", agent: str = "") -> Session:
        """One conversation: its requests keep their order. Without a name it gets one of its own."""
        bound = RequestFields(session=session or self._new_id(), user=user or self.user, workflow=workflow, agent=agent)
        return Session(self, bound)

    async def _submit(self, question: Question, fields: RequestFields, *, taken: bool) -> str:
        request, seconds = self._request(question, fields)
        self._opened()
        self._requests.expect(request.request_id, seconds + self._grace, taken=taken)
        await self._post(request, request.request_id, seconds, self._requests)
        return request.request_id

    def _request(self, question: Question, fields: RequestFields) -> tuple[RequestSubmitted, float]:
        """The record, and the seconds until its deadline."""
        rest: dict[str, Any] = dict(fields)
        timeout = _seconds(rest.pop("timeout", self._timeout))
        now_ms = self._clock.now_ms()
        rest["deadline_ms"] = rest.get("deadline_ms") or now_ms + int(timeout * 1000)
        request = request_of(question, rest, **self._identity("request_id"), user=self.user)
        return request, max(0.0, (request.deadline_ms - now_ms) / 1000)

    async def _document(self, source: str, content: bytes | None, collection: str, check: bool, fields: DocumentFields) -> DocumentFinished:
        rest: dict[str, Any] = dict(fields)
        timeout = _seconds(rest.pop("timeout", self._timeout))
        try:
            given = {**self._identity("document_id"), **rest}
            document = DocumentSubmitted(source=source, content=content, collection=collection, **given)
        except TypeError as error:
            raise InvalidInputError(f"no such field of a document: {error}") from error
        self._opened()
        self._documents.expect(document.document_id, timeout, taken=True)
        await self._post(document, document.document_id, timeout, self._documents)
        result = await self._documents.collect(document.document_id)
        if check and (failure := document_error(result)):
            raise failure
        return result

    def _identity(self, id_field: str) -> dict[str, str]:
        return {"tenant": self.tenant, id_field: self._new_id()}

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    async def _post(self, record: RequestSubmitted | DocumentSubmitted, record_id: str, seconds: float, mailbox: Mailbox[Any]) -> None:
        """Sends until it is acknowledged; what is not sent is not expected any more."""
        try:
            await self._hand_over(record, record_id, seconds, mailbox)
        except BaseException:
            mailbox.forget(record_id)
            raise

    async def _hand_over(self, record: RequestSubmitted | DocumentSubmitted, record_id: str, seconds: float, mailbox: Mailbox[Any]) -> None:
        try:
            message = self._signed(outgoing(record, headers_of(record)))
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"a field does not fit its type, see docs/topics.md: {error}") from error
        mailbox.sent(record_id, submission(message.value))
        try:
            await within(self._clock, seconds + self._grace, self._send(message))
        except TerminalError as error:
            raise InvalidInputError(f"{error.reason}: {error.detail}; make it smaller") from error
        except TimeoutError as error:
            raise NotAcknowledgedError(
                f"Kafka did not confirm {record_id} in time: it may be on the log, or not. Submit it again with the same id", record_id
            ) from error

    async def _send(self, message: Outgoing) -> None:
        while True:
            try:
                await self._opened().send([message])
                return
            except RetryableError:
                await self._clock.sleep(RESEND_PAUSE_S * self._rng.uniform(0.5, 1.5))

    def _opened(self) -> Sender:
        if self._sender is None:
            raise NotConnectedError("the client is not open: use it in `async with Client(...) as daytwo:`")
        return self._sender

    def _signed(self, message: Outgoing) -> Outgoing:
        if self._key is None or message.value is None:
            return message
        signature = sign(self._key.secret, message.value)
        signed = {KEY_HEADER: self._key.id.encode(), SIGNATURE_HEADER: signature.encode()}
        return message._replace(headers={**message.headers, **signed})

    def _take(self, raw: Raw) -> None:
        """Delivers a result of ours. Others are told apart by key and header, without decoding."""
        if raw.value is None or not (raw.key or b"").startswith(self._own):
            return
        if raw.topic == DOCUMENT_FINISHED.name:
            self._deliver(raw.value, raw.headers.get(DOCUMENT_ID_HEADER, b""), DOCUMENT_FINISHED, self._documents)
        else:
            self._deliver(raw.value, raw.headers.get(REQUEST_ID_HEADER, b""), REQUEST_FINISHED, self._requests)

    def _deliver(self, value: bytes, header: bytes, topic: Topic[Result], mailbox: Mailbox[Result]) -> None:
        named = header.decode(errors="replace")
        if not mailbox or (named and named not in mailbox):
            return
        try:
            result = decode(topic, value)
        except UnreadableError as error:
            mailbox.deliver(named, _unreadable(named, error))
            return
        if isinstance(result, RequestFinished) and _of_others(result, self._requests):
            return
        if result.tenant == self.tenant:
            mailbox.deliver(result.document_id if isinstance(result, DocumentFinished) else result.request_id, result)

    def _trouble(self, what: str) -> None:
        self._requests.trouble = self._documents.trouble = what

    def _died(self, error: Exception) -> None:
        self._fail(NotConnectedError(f"the client stopped reading, which is a bug of daytwo: {error!r}"))
        self._sender = None

    def _fail(self, error: ClientError) -> None:
        self._requests.fail(error)
        self._documents.fail(error)


class Session:
    """Requests of one conversation, or of one workflow, on a client that many share."""

    def __init__(self, client: Client, bound: RequestFields) -> None:
        self._client = client
        self._bound = bound

    @property
    def name(self) -> str:
        return self._bound["session"]

    async def ask(self, question: Question, *, check: bool = True, **fields: Unpack[RequestFields]) -> RequestFinished:
        return await self._client.ask(question, check=check, **self._with(fields))

    async def submit(self, question: Question, **fields: Unpack[RequestFields]) -> str:
        return await self._client.submit(question, **self._with(fields))

    def _with(self, fields: RequestFields) -> RequestFields:
        merged: RequestFields = {**self._bound, **fields}
        return merged


def _seconds(timeout: float) -> float:
    if not 0 < timeout < LONGEST_TIMEOUT_S:
        raise InvalidInputError(f"timeout must be seconds, more than 0 and at most {LONGEST_TIMEOUT_S:.0f}: {timeout!r}")
    return float(timeout)


def _of_others(result: RequestFinished, mailbox: Mailbox[RequestFinished]) -> bool:
    """A refusal at the door names the bytes it refused. Anybody may send other bytes under an id of ours: that is not our result."""
    return bool(result.submission) and not mailbox.is_meant(result.request_id, result.submission)


def _unreadable(record_id: str, error: UnreadableError) -> UnreadableResultError:
    return UnreadableResultError(f"the result of {record_id} cannot be read ({error.detail}): upgrade the daytwo package of this client")


def _kafka(bootstrap: str) -> Broker:
    check_address(bootstrap)
    # Not at import: whoever passes a broker of his own does not need aiokafka.
    from daytwo.kafka import KafkaBroker

    return KafkaBroker(bootstrap)
