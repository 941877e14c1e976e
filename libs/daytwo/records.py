"""The records of every topic.

`to_bytes` is what fastavro makes of `to_avro`, byte for byte, in a quarter of the time (docs/adr/0014-records-write-themselves.md);
tests/libs/test_codec.py holds the two together.

Generated from schemas/ by `make schemas`; do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Literal

from daytwo.avro_values import (
    LONGS,
    TEXTS,
    boolean,
    double,
    float64,
    indexes,
    int32,
    int64,
    integer,
    long,
    many,
    mapped,
    octets,
    truth,
)
from daytwo.topic import record


@record
class Quote:
    """Price of one deployment as of admission; what it charges is computed from this and nothing else."""

    deployment: str
    """Name of the deployment."""
    input_nano_per_mtok: int
    """Nano-dollars per million input tokens."""
    cached_input_nano_per_mtok: int
    """Nano-dollars per million cached input tokens."""
    output_nano_per_mtok: int
    """Nano-dollars per million output tokens."""
    request_nano: int = 0
    """Nano-dollars per call."""
    source: str
    """Where the price is from, for example genai-prices:openai/gpt-4o-mini or daytwo.yaml."""
    reasoning_nano_per_mtok: int | None = None
    """Nano-dollars per million reasoning tokens; null: as output."""
    image_nano: int = 0
    """Nano-dollars per image."""
    discount_permille: int = 0
    """Thousandths off all of it, for the lane of the request; 0 to 1000."""
    is_bound: bool = False
    """True: no price is known, this is the tenant's unpriced_bound."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Quote:
        new: Any = object.__new__(cls)
        new.deployment = value["deployment"]
        new.input_nano_per_mtok = value["input_nano_per_mtok"]
        new.cached_input_nano_per_mtok = value["cached_input_nano_per_mtok"]
        new.output_nano_per_mtok = value["output_nano_per_mtok"]
        new.request_nano = value["request_nano"]
        new.source = value["source"]
        new.reasoning_nano_per_mtok = value["reasoning_nano_per_mtok"]
        new.image_nano = value["image_nano"]
        new.discount_permille = int32(value["discount_permille"])
        new.is_bound = value["is_bound"]
        made: Quote = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment,
            "input_nano_per_mtok": int64(self.input_nano_per_mtok),
            "cached_input_nano_per_mtok": int64(self.cached_input_nano_per_mtok),
            "output_nano_per_mtok": int64(self.output_nano_per_mtok),
            "request_nano": int64(self.request_nano),
            "source": self.source,
            "reasoning_nano_per_mtok": None if self.reasoning_nano_per_mtok is None else int64(self.reasoning_nano_per_mtok),
            "image_nano": int64(self.image_nano),
            "discount_permille": int32(self.discount_permille),
            "is_bound": boolean(self.is_bound),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.deployment],
                LONGS[self.input_nano_per_mtok] if type(self.input_nano_per_mtok) is int else long(self.input_nano_per_mtok),
                LONGS[self.cached_input_nano_per_mtok] if type(self.cached_input_nano_per_mtok) is int else long(self.cached_input_nano_per_mtok),
                LONGS[self.output_nano_per_mtok] if type(self.output_nano_per_mtok) is int else long(self.output_nano_per_mtok),
                LONGS[self.request_nano] if type(self.request_nano) is int else long(self.request_nano),
                TEXTS[self.source],
                b"\0" if self.reasoning_nano_per_mtok is None else b"\2" + LONGS[self.reasoning_nano_per_mtok] if type(self.reasoning_nano_per_mtok) is int else long(self.reasoning_nano_per_mtok),
                LONGS[self.image_nano] if type(self.image_nano) is int else long(self.image_nano),
                integer(self.discount_permille),
                truth(self.is_bound),
            )
        )


@record
class LimitHit:
    """A cap or rate limit that left no room for a request."""

    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str
    """The user, workflow, session or agent; empty for the tenant."""
    kind: str
    """money (a cap in nano-dollars), tokens or concurrency (caps); request_rate or token_rate (rate limits)."""
    period: str
    """minute, hour, day, month or total; empty for concurrency."""
    limit: int
    """Nano-dollars, tokens or requests."""
    used: int
    """In the same unit: settled and reserved at that moment."""
    wanted: int
    """In the same unit: what the request would have reserved."""
    retry_at_ms: int | None = None
    """When it could fit, epoch milliseconds; null: not known, or never."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> LimitHit:
        new: Any = object.__new__(cls)
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.kind = value["kind"]
        new.period = value["period"]
        new.limit = value["limit"]
        new.used = value["used"]
        new.wanted = value["wanted"]
        new.retry_at_ms = value["retry_at_ms"]
        made: LimitHit = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "subject": self.subject,
            "kind": self.kind,
            "period": self.period,
            "limit": int64(self.limit),
            "used": int64(self.used),
            "wanted": int64(self.wanted),
            "retry_at_ms": None if self.retry_at_ms is None else int64(self.retry_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.scope],
                TEXTS[self.subject],
                TEXTS[self.kind],
                TEXTS[self.period],
                LONGS[self.limit] if type(self.limit) is int else long(self.limit),
                LONGS[self.used] if type(self.used) is int else long(self.used),
                LONGS[self.wanted] if type(self.wanted) is int else long(self.wanted),
                b"\0" if self.retry_at_ms is None else b"\2" + LONGS[self.retry_at_ms] if type(self.retry_at_ms) is int else long(self.retry_at_ms),
            )
        )


@record
class Admission:
    """What cost-meter decided before any money is spent."""

    cache_only: bool
    """True: only a cached answer may be given; nothing is reserved."""
    reserved_nano: int
    """Nano-dollars reserved: the worst case of every route and retry that may be taken."""
    input_tokens_bound: int
    """Upper bound of input tokens of one attempt, grounding included."""
    attempts_bound: int
    """Number of attempts that were reserved for; the router makes no more."""
    quotes: tuple[Quote, ...] = ()
    """Prices of the deployments that may be used; others may not."""
    reason: str = ""
    """Why cache_only, else empty."""
    retry_at_ms: int | None = None
    """When the cap that was hit renews, epoch milliseconds."""
    reserved_tokens: int = 0
    """Tokens reserved: attempts x (bound of input tokens + max_tokens)."""
    at_ms: int = 0
    """The moment that chose the windows of the caps, epoch milliseconds; 0: the timestamp of request-accepted."""
    round: int = 0
    """How often the ledger was asked about this request before: more than 0 after it waited. Of cache_only: the round to go on with if the cache has no answer."""
    then: tuple[str, ...] = ()
    """Of cache_only: what is to be tried if the cache has no answer (as TenantConfigured.at_limit); empty: it is refused."""
    model: str = ""
    """The model asked for instead, where a cheaper route was taken at a limit; else empty. The request says it, too."""
    limit_hit: LimitHit | None = None
    """The limit that cache_only or the cheaper route is due to."""
    straight: bool = False
    """True: the request needs neither vector nor cache nor passages, and the router reads it from request-admitted."""
    ledger: int = 0
    """Number of the opening of the ledger that this was granted by (ledger-opened); 0: not said."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Admission:
        new: Any = object.__new__(cls)
        new.cache_only = value["cache_only"]
        new.reserved_nano = value["reserved_nano"]
        new.input_tokens_bound = value["input_tokens_bound"]
        new.attempts_bound = int32(value["attempts_bound"])
        new.quotes = tuple([Quote.from_avro(item) for item in value["quotes"]])
        new.reason = value["reason"]
        new.retry_at_ms = value["retry_at_ms"]
        new.reserved_tokens = value["reserved_tokens"]
        new.at_ms = value["at_ms"]
        new.round = int32(value["round"])
        new.then = tuple(value["then"])
        new.model = value["model"]
        new.limit_hit = None if value["limit_hit"] is None else LimitHit.from_avro(value["limit_hit"])
        new.straight = value["straight"]
        new.ledger = value["ledger"]
        made: Admission = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "cache_only": boolean(self.cache_only),
            "reserved_nano": int64(self.reserved_nano),
            "input_tokens_bound": int64(self.input_tokens_bound),
            "attempts_bound": int32(self.attempts_bound),
            "quotes": [item.to_avro() for item in self.quotes],
            "reason": self.reason,
            "retry_at_ms": None if self.retry_at_ms is None else int64(self.retry_at_ms),
            "reserved_tokens": int64(self.reserved_tokens),
            "at_ms": int64(self.at_ms),
            "round": int32(self.round),
            "then": self.then,
            "model": self.model,
            "limit_hit": None if self.limit_hit is None else ("daytwo.LimitHit", self.limit_hit.to_avro()),
            "straight": boolean(self.straight),
            "ledger": int64(self.ledger),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                truth(self.cache_only),
                LONGS[self.reserved_nano] if type(self.reserved_nano) is int else long(self.reserved_nano),
                LONGS[self.input_tokens_bound] if type(self.input_tokens_bound) is int else long(self.input_tokens_bound),
                integer(self.attempts_bound),
                many([item.to_bytes() for item in self.quotes]) if self.quotes else b"\0",
                TEXTS[self.reason],
                b"\0" if self.retry_at_ms is None else b"\2" + LONGS[self.retry_at_ms] if type(self.retry_at_ms) is int else long(self.retry_at_ms),
                LONGS[self.reserved_tokens] if type(self.reserved_tokens) is int else long(self.reserved_tokens),
                LONGS[self.at_ms] if type(self.at_ms) is int else long(self.at_ms),
                integer(self.round),
                many([TEXTS[item] for item in self.then]) if self.then else b"\0",
                TEXTS[self.model],
                b"\0" if self.limit_hit is None else b"\2" + self.limit_hit.to_bytes(),
                truth(self.straight),
                LONGS[self.ledger] if type(self.ledger) is int else long(self.ledger),
            )
        )


@record
class AlertRaised:
    """Something about money that a person should see, or its end. Of one alert_id the latest record holds."""

    alert_id: str
    """uuid5 of kind, tenant, scope, subject, model, period, unit and threshold: the same alert has the same id."""
    kind: str
    """cap_used, anomaly, spend_rate, over_billed, usage_missing, or unpriced_model."""
    state: str
    """raised or resolved."""
    severity: str
    """info, warning or critical."""
    tenant: str
    """Tenant; empty: of the installation."""
    scope: str = ""
    """tenant, user, workflow, session, agent or deployment; empty: of the installation."""
    subject: str = ""
    """The user, workflow, session, agent or deployment; empty for the tenant."""
    model: str = ""
    """Model as the provider calls it, or empty."""
    period: str = ""
    """hour, day, month, total, week or empty."""
    unit: str = ""
    """Of limit and used: nano_dollars, tokens, requests or empty."""
    threshold_percent: int = 0
    """Of cap_used: 50, 80, 95 or 100; else 0."""
    limit: int = 0
    """The cap, the bound, or what was to be expected."""
    used: int = 0
    """What it is."""
    request_id: str = ""
    """The request that showed it, or empty."""
    detail: str
    """For people."""
    raised_at_ms: int
    """When it was raised first, epoch milliseconds."""
    at_ms: int
    """When this record was written, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> AlertRaised:
        new: Any = object.__new__(cls)
        new.alert_id = value["alert_id"]
        new.kind = value["kind"]
        new.state = value["state"]
        new.severity = value["severity"]
        new.tenant = value["tenant"]
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.model = value["model"]
        new.period = value["period"]
        new.unit = value["unit"]
        new.threshold_percent = int32(value["threshold_percent"])
        new.limit = value["limit"]
        new.used = value["used"]
        new.request_id = value["request_id"]
        new.detail = value["detail"]
        new.raised_at_ms = value["raised_at_ms"]
        new.at_ms = value["at_ms"]
        made: AlertRaised = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "alert_id": self.alert_id,
            "kind": self.kind,
            "state": self.state,
            "severity": self.severity,
            "tenant": self.tenant,
            "scope": self.scope,
            "subject": self.subject,
            "model": self.model,
            "period": self.period,
            "unit": self.unit,
            "threshold_percent": int32(self.threshold_percent),
            "limit": int64(self.limit),
            "used": int64(self.used),
            "request_id": self.request_id,
            "detail": self.detail,
            "raised_at_ms": int64(self.raised_at_ms),
            "at_ms": int64(self.at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.alert_id],
                TEXTS[self.kind],
                TEXTS[self.state],
                TEXTS[self.severity],
                TEXTS[self.tenant],
                TEXTS[self.scope],
                TEXTS[self.subject],
                TEXTS[self.model],
                TEXTS[self.period],
                TEXTS[self.unit],
                integer(self.threshold_percent),
                LONGS[self.limit] if type(self.limit) is int else long(self.limit),
                LONGS[self.used] if type(self.used) is int else long(self.used),
                TEXTS[self.request_id],
                TEXTS[self.detail],
                LONGS[self.raised_at_ms] if type(self.raised_at_ms) is int else long(self.raised_at_ms),
                LONGS[self.at_ms] if type(self.at_ms) is int else long(self.at_ms),
            )
        )


@record
class Vector:
    """An embedding and where it is from. Vectors of different model or version are never compared."""

    model: str
    """Name of the embedding model, for example wordllama-256 or minilm-int8."""
    version: str
    """Version of its weights."""
    dimension: int
    """Number of components."""
    values: bytes
    """Components, little-endian float32, of Euclidean length 1."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Vector:
        new: Any = object.__new__(cls)
        new.model = value["model"]
        new.version = value["version"]
        new.dimension = int32(value["dimension"])
        new.values = value["values"]
        made: Vector = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "dimension": int32(self.dimension),
            "values": self.values,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.model],
                TEXTS[self.version],
                integer(self.dimension),
                octets(self.values),
            )
        )


@record
class ToolCall:
    """One call of a tool that a model asked for, as in the OpenAI API."""

    id: str
    """Id of the call; the tool's answer names it in tool_call_id."""
    name: str
    """Name of the function."""
    arguments: str
    """Arguments, as the JSON text the model wrote; not checked to be valid JSON."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> ToolCall:
        new: Any = object.__new__(cls)
        new.id = value["id"]
        new.name = value["name"]
        new.arguments = value["arguments"]
        made: ToolCall = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "arguments": self.arguments,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.id],
                TEXTS[self.name],
                TEXTS[self.arguments],
            )
        )


@record
class Message:
    """One chat message, as in the OpenAI API."""

    role: str
    """system, developer, user, assistant or tool; anything else is refused by ingest."""
    content: str | None = None
    """Text; null only where tool_calls says what the assistant did."""
    name: str = ""
    """Name of the author, or empty."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls the assistant asked for."""
    tool_call_id: str = ""
    """For role tool: the call this answers; else empty."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Message:
        new: Any = object.__new__(cls)
        new.role = value["role"]
        new.content = value["content"]
        new.name = value["name"]
        new.tool_calls = tuple([ToolCall.from_avro(item) for item in value["tool_calls"]])
        new.tool_call_id = value["tool_call_id"]
        made: Message = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "content": self.content,
            "name": self.name,
            "tool_calls": [item.to_avro() for item in self.tool_calls],
            "tool_call_id": self.tool_call_id,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.role],
                b"\0" if self.content is None else b"\2" + TEXTS[self.content],
                TEXTS[self.name],
                many([item.to_bytes() for item in self.tool_calls]) if self.tool_calls else b"\0",
                TEXTS[self.tool_call_id],
            )
        )


@record
class Citation:
    """A passage that was put before the model."""

    number: int
    """The number the passage has in the prompt, from 1."""
    chunk_id: str
    """Id of the chunk."""
    source: str
    """Source of the document."""
    title: str = ""
    """Title of the document or heading."""
    score: float
    """Cosine similarity with the question, -1 to 1."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Citation:
        new: Any = object.__new__(cls)
        new.number = int32(value["number"])
        new.chunk_id = value["chunk_id"]
        new.source = value["source"]
        new.title = value["title"]
        new.score = value["score"]
        made: Citation = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "number": int32(self.number),
            "chunk_id": self.chunk_id,
            "source": self.source,
            "title": self.title,
            "score": double(self.score),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                integer(self.number),
                TEXTS[self.chunk_id],
                TEXTS[self.source],
                TEXTS[self.title],
                float64(self.score),
            )
        )


@record
class Usage:
    """Tokens, as counted by whoever charges for them."""

    input_tokens: int = 0
    """Tokens read, cached ones included."""
    cached_input_tokens: int = 0
    """Of these, tokens the provider had cached."""
    output_tokens: int = 0
    """Tokens written, reasoning included."""
    reasoning_tokens: int = 0
    """Of the output tokens, those of reasoning."""
    images: int = 0
    """Images charged for."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Usage:
        new: Any = object.__new__(cls)
        new.input_tokens = value["input_tokens"]
        new.cached_input_tokens = value["cached_input_tokens"]
        new.output_tokens = value["output_tokens"]
        new.reasoning_tokens = value["reasoning_tokens"]
        new.images = value["images"]
        made: Usage = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "input_tokens": int64(self.input_tokens),
            "cached_input_tokens": int64(self.cached_input_tokens),
            "output_tokens": int64(self.output_tokens),
            "reasoning_tokens": int64(self.reasoning_tokens),
            "images": int64(self.images),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                LONGS[self.input_tokens] if type(self.input_tokens) is int else long(self.input_tokens),
                LONGS[self.cached_input_tokens] if type(self.cached_input_tokens) is int else long(self.cached_input_tokens),
                LONGS[self.output_tokens] if type(self.output_tokens) is int else long(self.output_tokens),
                LONGS[self.reasoning_tokens] if type(self.reasoning_tokens) is int else long(self.reasoning_tokens),
                LONGS[self.images] if type(self.images) is int else long(self.images),
            )
        )


@record
class AnswerLearned:
    """An answer a provider gave and the cache may give again. The latest record of a key holds."""

    answer_id: str
    """uuid5 of tenant, question and request."""
    tenant: str
    """Whose it is; nobody else ever gets it."""
    question: str
    """Key of the question: SHA-256, 32 hex digits, of the normalised conversation, model, parameters and grounding scope."""
    scope: str
    """SHA-256, 32 hex digits, of all that must be equal for a semantic hit: model, parameters, system prompt, grounding scope."""
    question_text: str
    """The last user message."""
    single_turn: bool
    """True: the question stands alone and may be matched by meaning."""
    vector: Vector | None = None
    """Embedding of the last user message; null where nothing needs it."""
    message: Message
    """The answer."""
    finish_reason: str
    """As the provider said."""
    citations: tuple[Citation, ...] = ()
    """Its citations."""
    usage: Usage
    """Tokens it had cost."""
    cost_nano: int
    """Nano-dollars it had cost."""
    deployment: str
    """Who gave it."""
    model: str
    """Model that gave it."""
    request_id: str
    """Request it was given to."""
    learned_at_ms: int
    """When, epoch milliseconds."""
    expires_at_ms: int
    """From then on it is not served, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> AnswerLearned:
        new: Any = object.__new__(cls)
        new.answer_id = value["answer_id"]
        new.tenant = value["tenant"]
        new.question = value["question"]
        new.scope = value["scope"]
        new.question_text = value["question_text"]
        new.single_turn = value["single_turn"]
        new.vector = None if value["vector"] is None else Vector.from_avro(value["vector"])
        new.message = Message.from_avro(value["message"])
        new.finish_reason = value["finish_reason"]
        new.citations = tuple([Citation.from_avro(item) for item in value["citations"]])
        new.usage = Usage.from_avro(value["usage"])
        new.cost_nano = value["cost_nano"]
        new.deployment = value["deployment"]
        new.model = value["model"]
        new.request_id = value["request_id"]
        new.learned_at_ms = value["learned_at_ms"]
        new.expires_at_ms = value["expires_at_ms"]
        made: AnswerLearned = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "answer_id": self.answer_id,
            "tenant": self.tenant,
            "question": self.question,
            "scope": self.scope,
            "question_text": self.question_text,
            "single_turn": boolean(self.single_turn),
            "vector": None if self.vector is None else ("daytwo.Vector", self.vector.to_avro()),
            "message": self.message.to_avro(),
            "finish_reason": self.finish_reason,
            "citations": [item.to_avro() for item in self.citations],
            "usage": self.usage.to_avro(),
            "cost_nano": int64(self.cost_nano),
            "deployment": self.deployment,
            "model": self.model,
            "request_id": self.request_id,
            "learned_at_ms": int64(self.learned_at_ms),
            "expires_at_ms": int64(self.expires_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.answer_id],
                TEXTS[self.tenant],
                TEXTS[self.question],
                TEXTS[self.scope],
                TEXTS[self.question_text],
                truth(self.single_turn),
                b"\0" if self.vector is None else b"\2" + self.vector.to_bytes(),
                self.message.to_bytes(),
                TEXTS[self.finish_reason],
                many([item.to_bytes() for item in self.citations]) if self.citations else b"\0",
                self.usage.to_bytes(),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                TEXTS[self.deployment],
                TEXTS[self.model],
                TEXTS[self.request_id],
                LONGS[self.learned_at_ms] if type(self.learned_at_ms) is int else long(self.learned_at_ms),
                LONGS[self.expires_at_ms] if type(self.expires_at_ms) is int else long(self.expires_at_ms),
            )
        )

AttemptOutcome = Literal["succeeded", "failed", "unknown"]
"""How one call of a provider ended. unknown: it may have been charged; it counts in full."""

_AttemptOutcome: Final = indexes("succeeded", "failed", "unknown")


@record
class AttemptFinished:
    """How a call of a provider ended; a finished one is never bought again."""

    attempt_id: str
    """uuid5 of request and number; the provider gets it in the header x-daytwo-attempt."""
    request_id: str
    """Id of the request."""
    tenant: str
    """Tenant of the request."""
    session: str
    """Session of the request, or empty."""
    number: int
    """Number of the attempt, from 1."""
    deployment: str
    """Name of the deployment."""
    model: str
    """Model as the provider calls it."""
    outcome: AttemptOutcome
    """How it ended."""
    reason: str = ""
    """Why it failed, else empty."""
    status: int = 0
    """HTTP status, 0 if none came."""
    message: Message | None = None
    """The answer."""
    finish_reason: str = ""
    """As the provider said."""
    usage: Usage
    """Tokens the provider charged."""
    cost_nano: int
    """Nano-dollars booked."""
    retry_after_ms: int | None = None
    """What the provider asked for."""
    latency_ms: float
    """Milliseconds from call to end."""
    ended_at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> AttemptFinished:
        new: Any = object.__new__(cls)
        new.attempt_id = value["attempt_id"]
        new.request_id = value["request_id"]
        new.tenant = value["tenant"]
        new.session = value["session"]
        new.number = int32(value["number"])
        new.deployment = value["deployment"]
        new.model = value["model"]
        new.outcome = value["outcome"]
        new.reason = value["reason"]
        new.status = int32(value["status"])
        new.message = None if value["message"] is None else Message.from_avro(value["message"])
        new.finish_reason = value["finish_reason"]
        new.usage = Usage.from_avro(value["usage"])
        new.cost_nano = value["cost_nano"]
        new.retry_after_ms = value["retry_after_ms"]
        new.latency_ms = value["latency_ms"]
        new.ended_at_ms = value["ended_at_ms"]
        made: AttemptFinished = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "attempt_id": self.attempt_id,
            "request_id": self.request_id,
            "tenant": self.tenant,
            "session": self.session,
            "number": int32(self.number),
            "deployment": self.deployment,
            "model": self.model,
            "outcome": self.outcome,
            "reason": self.reason,
            "status": int32(self.status),
            "message": None if self.message is None else ("daytwo.Message", self.message.to_avro()),
            "finish_reason": self.finish_reason,
            "usage": self.usage.to_avro(),
            "cost_nano": int64(self.cost_nano),
            "retry_after_ms": None if self.retry_after_ms is None else int64(self.retry_after_ms),
            "latency_ms": double(self.latency_ms),
            "ended_at_ms": int64(self.ended_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.attempt_id],
                TEXTS[self.request_id],
                TEXTS[self.tenant],
                TEXTS[self.session],
                integer(self.number),
                TEXTS[self.deployment],
                TEXTS[self.model],
                _AttemptOutcome[self.outcome],
                TEXTS[self.reason],
                integer(self.status),
                b"\0" if self.message is None else b"\2" + self.message.to_bytes(),
                TEXTS[self.finish_reason],
                self.usage.to_bytes(),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                b"\0" if self.retry_after_ms is None else b"\2" + LONGS[self.retry_after_ms] if type(self.retry_after_ms) is int else long(self.retry_after_ms),
                float64(self.latency_ms),
                LONGS[self.ended_at_ms] if type(self.ended_at_ms) is int else long(self.ended_at_ms),
            )
        )


@record
class AttemptStarted:
    """Written, and acknowledged, before a provider is called."""

    attempt_id: str
    """uuid5 of tenant, request, number and router; the provider gets it in the header x-daytwo-attempt."""
    request_id: str
    """Id of the request."""
    tenant: str
    """Tenant of the request."""
    session: str
    """Session of the request, or empty."""
    number: int
    """Number of the attempt, from 1."""
    deployment: str
    """Name of the deployment."""
    model: str
    """Model as the provider calls it."""
    bound_nano: int
    """Nano-dollars this attempt costs at most."""
    started_at_ms: int
    """When, epoch milliseconds."""
    router: str = ""
    """Instance of the inference-router that makes it: part of its id, so that no two routers ever make the same attempt."""
    continues_until_ms: int = 0
    """Above 0 in a record written again when its partition went to another router: the call goes on at the first, and has its end on the journal by then, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> AttemptStarted:
        new: Any = object.__new__(cls)
        new.attempt_id = value["attempt_id"]
        new.request_id = value["request_id"]
        new.tenant = value["tenant"]
        new.session = value["session"]
        new.number = int32(value["number"])
        new.deployment = value["deployment"]
        new.model = value["model"]
        new.bound_nano = value["bound_nano"]
        new.started_at_ms = value["started_at_ms"]
        new.router = value["router"]
        new.continues_until_ms = value["continues_until_ms"]
        made: AttemptStarted = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "attempt_id": self.attempt_id,
            "request_id": self.request_id,
            "tenant": self.tenant,
            "session": self.session,
            "number": int32(self.number),
            "deployment": self.deployment,
            "model": self.model,
            "bound_nano": int64(self.bound_nano),
            "started_at_ms": int64(self.started_at_ms),
            "router": self.router,
            "continues_until_ms": int64(self.continues_until_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.attempt_id],
                TEXTS[self.request_id],
                TEXTS[self.tenant],
                TEXTS[self.session],
                integer(self.number),
                TEXTS[self.deployment],
                TEXTS[self.model],
                LONGS[self.bound_nano] if type(self.bound_nano) is int else long(self.bound_nano),
                LONGS[self.started_at_ms] if type(self.started_at_ms) is int else long(self.started_at_ms),
                TEXTS[self.router],
                LONGS[self.continues_until_ms] if type(self.continues_until_ms) is int else long(self.continues_until_ms),
            )
        )


@record
class AttemptSummary:
    """One call of a provider, in short."""

    attempt_id: str
    """Id of the attempt; the provider got it in the header x-daytwo-attempt."""
    deployment: str
    """Name of the deployment."""
    outcome: AttemptOutcome
    """How it ended."""
    reason: str = ""
    """Why it failed, for example timeout, status_429, connection; empty if it succeeded."""
    latency_ms: float
    """Milliseconds from call to end."""
    cost_nano: int
    """Nano-dollars booked; for unknown the worst case."""
    bound_nano: int = 0
    """Nano-dollars it could cost at most by the bound; a higher cost_nano is what the provider billed against it. 0: not known."""
    tokens: int = 0
    """Tokens booked, input and output together; for unknown the worst case. 0: none, or not said."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> AttemptSummary:
        new: Any = object.__new__(cls)
        new.attempt_id = value["attempt_id"]
        new.deployment = value["deployment"]
        new.outcome = value["outcome"]
        new.reason = value["reason"]
        new.latency_ms = value["latency_ms"]
        new.cost_nano = value["cost_nano"]
        new.bound_nano = value["bound_nano"]
        new.tokens = value["tokens"]
        made: AttemptSummary = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "attempt_id": self.attempt_id,
            "deployment": self.deployment,
            "outcome": self.outcome,
            "reason": self.reason,
            "latency_ms": double(self.latency_ms),
            "cost_nano": int64(self.cost_nano),
            "bound_nano": int64(self.bound_nano),
            "tokens": int64(self.tokens),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.attempt_id],
                TEXTS[self.deployment],
                _AttemptOutcome[self.outcome],
                TEXTS[self.reason],
                float64(self.latency_ms),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                LONGS[self.bound_nano] if type(self.bound_nano) is int else long(self.bound_nano),
                LONGS[self.tokens] if type(self.tokens) is int else long(self.tokens),
            )
        )


@record
class CacheMatch:
    """What a cached answer was matched by."""

    kind: str
    """exact, semantic or coalesced (answered by an equal question in flight)."""
    answer_id: str
    """Id of the learned answer; for coalesced the request that was answered."""
    question: str
    """The question that was answered then."""
    similarity: float
    """Cosine similarity of the two questions; 1 for exact and coalesced."""
    age_ms: int
    """Milliseconds since the answer was learned."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> CacheMatch:
        new: Any = object.__new__(cls)
        new.kind = value["kind"]
        new.answer_id = value["answer_id"]
        new.question = value["question"]
        new.similarity = value["similarity"]
        new.age_ms = value["age_ms"]
        made: CacheMatch = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "answer_id": self.answer_id,
            "question": self.question,
            "similarity": double(self.similarity),
            "age_ms": int64(self.age_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.kind],
                TEXTS[self.answer_id],
                TEXTS[self.question],
                float64(self.similarity),
                LONGS[self.age_ms] if type(self.age_ms) is int else long(self.age_ms),
            )
        )

CacheMode = Literal["use", "refresh", "off"]
"""use: read and learn. refresh: do not read, but learn. off: neither."""

_CacheMode: Final = indexes("use", "refresh", "off")


@record
class CachePolicy:
    """How a tenant's answers are cached."""

    enabled: bool = True
    """False: never read nor learn."""
    threshold: float = 0.95
    """Least cosine similarity of a semantic hit, 0 to 1; above 1: exact hits only."""
    ttl_s: int = 86400
    """Seconds an answer may be served."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> CachePolicy:
        new: Any = object.__new__(cls)
        new.enabled = value["enabled"]
        new.threshold = value["threshold"]
        new.ttl_s = value["ttl_s"]
        made: CachePolicy = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "enabled": boolean(self.enabled),
            "threshold": double(self.threshold),
            "ttl_s": int64(self.ttl_s),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                truth(self.enabled),
                float64(self.threshold),
                LONGS[self.ttl_s] if type(self.ttl_s) is int else long(self.ttl_s),
            )
        )


@record
class Cap:
    """A spending cap that holds."""

    scope: str
    """tenant, user, workflow, session or agent."""
    period: str
    """hour, day, month (UTC) or total."""
    limit_nano: int
    """Nano-dollars; settled + reserved never exceeds it."""
    subject: str = "*"
    """Which users, workflows, ... of the tenant; * stands for any letters. Each subject that matches has the limit of its own, and of several patterns the most specific holds. Of scope tenant: *."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Cap:
        new: Any = object.__new__(cls)
        new.scope = value["scope"]
        new.period = value["period"]
        new.limit_nano = value["limit_nano"]
        new.subject = value["subject"]
        made: Cap = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "period": self.period,
            "limit_nano": int64(self.limit_nano),
            "subject": self.subject,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.scope],
                TEXTS[self.period],
                LONGS[self.limit_nano] if type(self.limit_nano) is int else long(self.limit_nano),
                TEXTS[self.subject],
            )
        )


@record
class ChunkAccepted:
    """One chunk of a document; or, with count 0, the removal of its source."""

    document_id: str
    """Id of the submission."""
    tenant: str
    """Whose it is."""
    collection: str
    """Collection it goes to."""
    source: str
    """Name of the document."""
    version: str
    """SHA-256 of content and settings, 32 hex digits."""
    chunk_id: str
    """uuid5 of tenant, collection, source, version and index; empty for a removal."""
    index: int
    """Place in the document, from 0."""
    count: int
    """Number of chunks of the document; 0: remove the source."""
    text: str
    """The text, as it is embedded and cited."""
    title: str = ""
    """Title of the document."""
    category: str = ""
    """Category."""
    published_at_ms: int = 0
    """Epoch milliseconds; 0: unknown."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the submission."""
    traceparent: str = ""
    """W3C trace context, or empty."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> ChunkAccepted:
        new: Any = object.__new__(cls)
        new.document_id = value["document_id"]
        new.tenant = value["tenant"]
        new.collection = value["collection"]
        new.source = value["source"]
        new.version = value["version"]
        new.chunk_id = value["chunk_id"]
        new.index = int32(value["index"])
        new.count = int32(value["count"])
        new.text = value["text"]
        new.title = value["title"]
        new.category = value["category"]
        new.published_at_ms = value["published_at_ms"]
        new.metadata = value["metadata"]
        new.traceparent = value["traceparent"]
        made: ChunkAccepted = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "document_id": self.document_id,
            "tenant": self.tenant,
            "collection": self.collection,
            "source": self.source,
            "version": self.version,
            "chunk_id": self.chunk_id,
            "index": int32(self.index),
            "count": int32(self.count),
            "text": self.text,
            "title": self.title,
            "category": self.category,
            "published_at_ms": int64(self.published_at_ms),
            "metadata": self.metadata,
            "traceparent": self.traceparent,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.document_id],
                TEXTS[self.tenant],
                TEXTS[self.collection],
                TEXTS[self.source],
                TEXTS[self.version],
                TEXTS[self.chunk_id],
                integer(self.index),
                integer(self.count),
                TEXTS[self.text],
                TEXTS[self.title],
                TEXTS[self.category],
                LONGS[self.published_at_ms] if type(self.published_at_ms) is int else long(self.published_at_ms),
                mapped(self.metadata, [TEXTS[item] for item in self.metadata.values()]),
                TEXTS[self.traceparent],
            )
        )


@record
class ChunkEmbedded:
    """A chunk with its embedding."""

    chunk: ChunkAccepted
    """The chunk."""
    vector: Vector | None = None
    """Its embedding; null for a removal."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> ChunkEmbedded:
        new: Any = object.__new__(cls)
        new.chunk = ChunkAccepted.from_avro(value["chunk"])
        new.vector = None if value["vector"] is None else Vector.from_avro(value["vector"])
        made: ChunkEmbedded = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "chunk": self.chunk.to_avro(),
            "vector": None if self.vector is None else ("daytwo.Vector", self.vector.to_avro()),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.chunk.to_bytes(),
                b"\0" if self.vector is None else b"\2" + self.vector.to_bytes(),
            )
        )


@record
class ConcurrencyCap:
    """A cap of requests that are open at the same time; it holds."""

    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str = "*"
    """Which users, workflows, ... of the tenant; * stands for any letters. Each subject that matches has the limit of its own, and of several patterns the most specific holds. Of scope tenant: *."""
    limit_requests: int
    """Requests admitted and not ended."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> ConcurrencyCap:
        new: Any = object.__new__(cls)
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.limit_requests = value["limit_requests"]
        made: ConcurrencyCap = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "subject": self.subject,
            "limit_requests": int64(self.limit_requests),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.scope],
                TEXTS[self.subject],
                LONGS[self.limit_requests] if type(self.limit_requests) is int else long(self.limit_requests),
            )
        )


@record
class ConfigurationChanged:
    """One record that `daytwo apply` wrote or deleted: who, when, from what to what."""

    change_id: str
    """Id of the run of `daytwo apply`; its changes share it."""
    topic: str
    """Topic of the record."""
    key: str
    """Key of the record."""
    before: str
    """JSON of the record before, secrets left out; empty: there was none."""
    after: str
    """JSON of the record now, secrets left out; empty: it was deleted."""
    by: str
    """Who did it, for example ann@laptop."""
    source: str
    """File that was applied."""
    at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> ConfigurationChanged:
        new: Any = object.__new__(cls)
        new.change_id = value["change_id"]
        new.topic = value["topic"]
        new.key = value["key"]
        new.before = value["before"]
        new.after = value["after"]
        new.by = value["by"]
        new.source = value["source"]
        new.at_ms = value["at_ms"]
        made: ConfigurationChanged = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "change_id": self.change_id,
            "topic": self.topic,
            "key": self.key,
            "before": self.before,
            "after": self.after,
            "by": self.by,
            "source": self.source,
            "at_ms": int64(self.at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.change_id],
                TEXTS[self.topic],
                TEXTS[self.key],
                TEXTS[self.before],
                TEXTS[self.after],
                TEXTS[self.by],
                TEXTS[self.source],
                LONGS[self.at_ms] if type(self.at_ms) is int else long(self.at_ms),
            )
        )


@record
class CostCorrected:
    """A correction of what an attempt cost, found later. History is not rewritten; whoever sums up adds it."""

    correction_id: str
    """uuid5 of attempt and source: the same correction has the same id."""
    tenant: str
    """Tenant of the request."""
    request_id: str
    """Id of the request."""
    attempt_id: str
    """Id of the attempt."""
    delta_nano: int
    """Nano-dollars to be added to the cost that was booked; negative: booked too much."""
    reason: str
    """reprice or reconcile."""
    source: str
    """Bill or price file it is from."""
    by: str
    """Who did it, for example ann@laptop."""
    at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> CostCorrected:
        new: Any = object.__new__(cls)
        new.correction_id = value["correction_id"]
        new.tenant = value["tenant"]
        new.request_id = value["request_id"]
        new.attempt_id = value["attempt_id"]
        new.delta_nano = value["delta_nano"]
        new.reason = value["reason"]
        new.source = value["source"]
        new.by = value["by"]
        new.at_ms = value["at_ms"]
        made: CostCorrected = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "correction_id": self.correction_id,
            "tenant": self.tenant,
            "request_id": self.request_id,
            "attempt_id": self.attempt_id,
            "delta_nano": int64(self.delta_nano),
            "reason": self.reason,
            "source": self.source,
            "by": self.by,
            "at_ms": int64(self.at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.correction_id],
                TEXTS[self.tenant],
                TEXTS[self.request_id],
                TEXTS[self.attempt_id],
                LONGS[self.delta_nano] if type(self.delta_nano) is int else long(self.delta_nano),
                TEXTS[self.reason],
                TEXTS[self.source],
                TEXTS[self.by],
                LONGS[self.at_ms] if type(self.at_ms) is int else long(self.at_ms),
            )
        )


@record
class DeadLetter:
    """A record that can never be processed, with all that is needed to see why and to send it again."""

    service: str
    """Service that set it aside."""
    topic: str
    """Topic it was read from."""
    partition: int
    """Partition."""
    offset: int
    """Offset."""
    timestamp_ms: int
    """Its Kafka timestamp, epoch milliseconds."""
    key: bytes | None
    """Its key."""
    value: bytes | None
    """Its value, byte for byte."""
    headers: Mapping[str, bytes] = field(default_factory=dict)
    """Its headers; of a repeated one the last."""
    reason: str
    """Reason code a program can match."""
    detail: str = ""
    """The reason in words."""
    traceback: str = ""
    """Where in the code, if it was a bug."""
    request_id: str = ""
    """Request it belongs to, if that can be read."""
    tenant: str = ""
    """Tenant, if that can be read."""
    failed_at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> DeadLetter:
        new: Any = object.__new__(cls)
        new.service = value["service"]
        new.topic = value["topic"]
        new.partition = int32(value["partition"])
        new.offset = value["offset"]
        new.timestamp_ms = value["timestamp_ms"]
        new.key = value["key"]
        new.value = value["value"]
        new.headers = value["headers"]
        new.reason = value["reason"]
        new.detail = value["detail"]
        new.traceback = value["traceback"]
        new.request_id = value["request_id"]
        new.tenant = value["tenant"]
        new.failed_at_ms = value["failed_at_ms"]
        made: DeadLetter = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "topic": self.topic,
            "partition": int32(self.partition),
            "offset": int64(self.offset),
            "timestamp_ms": int64(self.timestamp_ms),
            "key": self.key,
            "value": self.value,
            "headers": self.headers,
            "reason": self.reason,
            "detail": self.detail,
            "traceback": self.traceback,
            "request_id": self.request_id,
            "tenant": self.tenant,
            "failed_at_ms": int64(self.failed_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.service],
                TEXTS[self.topic],
                integer(self.partition),
                LONGS[self.offset] if type(self.offset) is int else long(self.offset),
                LONGS[self.timestamp_ms] if type(self.timestamp_ms) is int else long(self.timestamp_ms),
                b"\0" if self.key is None else b"\2" + octets(self.key),
                b"\0" if self.value is None else b"\2" + octets(self.value),
                mapped(self.headers, [octets(item) for item in self.headers.values()]),
                TEXTS[self.reason],
                TEXTS[self.detail],
                TEXTS[self.traceback],
                TEXTS[self.request_id],
                TEXTS[self.tenant],
                LONGS[self.failed_at_ms] if type(self.failed_at_ms) is int else long(self.failed_at_ms),
            )
        )


@record
class DeploymentConfigured:
    """A model served somewhere. The latest record of a key holds."""

    deployment: str
    """Name of the deployment."""
    active: bool = True
    """False: it is not used."""
    provider: str
    """Provider as genai-prices names it, for example openai; or any name for a model of one's own."""
    model: str
    """Model as the provider calls it."""
    base_url: str
    """Address of its OpenAI-compatible API, up to and including /v1."""
    api_key_env: str = ""
    """Name of the environment variable of the inference-router that holds the key, or empty."""
    aliases: tuple[str, ...]
    """Aliases it serves, besides its own name and its model."""
    priority: int = 0
    """Tier; lower is tried first, the next tier is the fallback."""
    weight: int = 1
    """Share of the traffic within its tier, 1 or more."""
    timeout_ms: int = 60000
    """Longest time of one attempt, milliseconds; the deadline may shorten it."""
    max_in_flight: int = 256
    """Calls at the same time, per router."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> DeploymentConfigured:
        new: Any = object.__new__(cls)
        new.deployment = value["deployment"]
        new.active = value["active"]
        new.provider = value["provider"]
        new.model = value["model"]
        new.base_url = value["base_url"]
        new.api_key_env = value["api_key_env"]
        new.aliases = tuple(value["aliases"])
        new.priority = int32(value["priority"])
        new.weight = int32(value["weight"])
        new.timeout_ms = value["timeout_ms"]
        new.max_in_flight = int32(value["max_in_flight"])
        made: DeploymentConfigured = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment,
            "active": boolean(self.active),
            "provider": self.provider,
            "model": self.model,
            "base_url": self.base_url,
            "api_key_env": self.api_key_env,
            "aliases": self.aliases,
            "priority": int32(self.priority),
            "weight": int32(self.weight),
            "timeout_ms": int64(self.timeout_ms),
            "max_in_flight": int32(self.max_in_flight),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.deployment],
                truth(self.active),
                TEXTS[self.provider],
                TEXTS[self.model],
                TEXTS[self.base_url],
                TEXTS[self.api_key_env],
                many([TEXTS[item] for item in self.aliases]) if self.aliases else b"\0",
                integer(self.priority),
                integer(self.weight),
                LONGS[self.timeout_ms] if type(self.timeout_ms) is int else long(self.timeout_ms),
                integer(self.max_in_flight),
            )
        )

DocumentOutcome = Literal["indexed", "removed", "refused", "failed"]
"""How a document ended."""

_DocumentOutcome: Final = indexes("indexed", "removed", "refused", "failed")


@record
class DocumentFinished:
    """The end of a document: once indexed it is found by the next request."""

    document_id: str
    """Id of the submission."""
    tenant: str
    """Whose it is."""
    collection: str
    """Collection."""
    source: str
    """Name of the document."""
    outcome: DocumentOutcome
    """How it ended."""
    reason: str
    """Reason code a program can match."""
    detail: str = ""
    """The reason in words."""
    version: str = ""
    """Version that is now served, or empty."""
    chunks: int = 0
    """Number of chunks now served."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the submission."""
    traceparent: str = ""
    """Trace context."""
    finished_at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> DocumentFinished:
        new: Any = object.__new__(cls)
        new.document_id = value["document_id"]
        new.tenant = value["tenant"]
        new.collection = value["collection"]
        new.source = value["source"]
        new.outcome = value["outcome"]
        new.reason = value["reason"]
        new.detail = value["detail"]
        new.version = value["version"]
        new.chunks = int32(value["chunks"])
        new.metadata = value["metadata"]
        new.traceparent = value["traceparent"]
        new.finished_at_ms = value["finished_at_ms"]
        made: DocumentFinished = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "document_id": self.document_id,
            "tenant": self.tenant,
            "collection": self.collection,
            "source": self.source,
            "outcome": self.outcome,
            "reason": self.reason,
            "detail": self.detail,
            "version": self.version,
            "chunks": int32(self.chunks),
            "metadata": self.metadata,
            "traceparent": self.traceparent,
            "finished_at_ms": int64(self.finished_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.document_id],
                TEXTS[self.tenant],
                TEXTS[self.collection],
                TEXTS[self.source],
                _DocumentOutcome[self.outcome],
                TEXTS[self.reason],
                TEXTS[self.detail],
                TEXTS[self.version],
                integer(self.chunks),
                mapped(self.metadata, [TEXTS[item] for item in self.metadata.values()]),
                TEXTS[self.traceparent],
                LONGS[self.finished_at_ms] if type(self.finished_at_ms) is int else long(self.finished_at_ms),
            )
        )


@record
class DocumentSubmitted:
    """A document to ground answers in, or its removal."""

    document_id: str
    """Id the client chose for this submission; the result carries it."""
    tenant: str
    """Whose it is."""
    collection: str
    """Collection it goes to."""
    source: str
    """Lasting name of the document, for example its path or address, at most 512 characters; a new version of a source replaces the old."""
    content: bytes | None = None
    """UTF-8 text; null: remove the source."""
    media_type: str = "text/plain"
    """text/plain, text/markdown or text/html."""
    title: str = ""
    """Title, or empty."""
    category: str = ""
    """For filters, or empty."""
    published_at_ms: int = 0
    """For filters, epoch milliseconds; 0: unknown."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free labels, handed back in the result."""
    traceparent: str = ""
    """W3C trace context, or empty."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> DocumentSubmitted:
        new: Any = object.__new__(cls)
        new.document_id = value["document_id"]
        new.tenant = value["tenant"]
        new.collection = value["collection"]
        new.source = value["source"]
        new.content = value["content"]
        new.media_type = value["media_type"]
        new.title = value["title"]
        new.category = value["category"]
        new.published_at_ms = value["published_at_ms"]
        new.metadata = value["metadata"]
        new.traceparent = value["traceparent"]
        made: DocumentSubmitted = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "document_id": self.document_id,
            "tenant": self.tenant,
            "collection": self.collection,
            "source": self.source,
            "content": self.content,
            "media_type": self.media_type,
            "title": self.title,
            "category": self.category,
            "published_at_ms": int64(self.published_at_ms),
            "metadata": self.metadata,
            "traceparent": self.traceparent,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.document_id],
                TEXTS[self.tenant],
                TEXTS[self.collection],
                TEXTS[self.source],
                b"\0" if self.content is None else b"\2" + octets(self.content),
                TEXTS[self.media_type],
                TEXTS[self.title],
                TEXTS[self.category],
                LONGS[self.published_at_ms] if type(self.published_at_ms) is int else long(self.published_at_ms),
                mapped(self.metadata, [TEXTS[item] for item in self.metadata.values()]),
                TEXTS[self.traceparent],
            )
        )


@record
class Grounding:
    """What the answer is to be grounded in."""

    collection: str
    """Name of the tenant's collection."""
    sources: tuple[str, ...] = ()
    """Only chunks of these sources; empty: all."""
    categories: tuple[str, ...] = ()
    """Only chunks of these categories; empty: all."""
    after_ms: int | None = None
    """Only chunks published at or after this moment, epoch milliseconds."""
    before_ms: int | None = None
    """Only chunks published before this moment, epoch milliseconds."""
    top_k: int = 5
    """Number of passages at most, 1 to 50."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Grounding:
        new: Any = object.__new__(cls)
        new.collection = value["collection"]
        new.sources = tuple(value["sources"])
        new.categories = tuple(value["categories"])
        new.after_ms = value["after_ms"]
        new.before_ms = value["before_ms"]
        new.top_k = int32(value["top_k"])
        made: Grounding = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "sources": self.sources,
            "categories": self.categories,
            "after_ms": None if self.after_ms is None else int64(self.after_ms),
            "before_ms": None if self.before_ms is None else int64(self.before_ms),
            "top_k": int32(self.top_k),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.collection],
                many([TEXTS[item] for item in self.sources]) if self.sources else b"\0",
                many([TEXTS[item] for item in self.categories]) if self.categories else b"\0",
                b"\0" if self.after_ms is None else b"\2" + LONGS[self.after_ms] if type(self.after_ms) is int else long(self.after_ms),
                b"\0" if self.before_ms is None else b"\2" + LONGS[self.before_ms] if type(self.before_ms) is int else long(self.before_ms),
                integer(self.top_k),
            )
        )

Lane = Literal["interactive", "batch"]
"""Priority: interactive goes before batch where they compete."""

_Lane: Final = indexes("interactive", "batch")


@record
class LedgerOpened:
    """An opening of the ledger, after it was held against the log. Written twice: when it is announced, and once all was read that was granted before."""

    ledger: str
    """Which ledger; there is one, main."""
    number: int
    """Above that of every opening before, from 1."""
    by: str
    """Whose opening it is: of several of one number the first on the log holds."""
    announced_at_ms: int
    """When, epoch milliseconds."""
    read_to: tuple[int, ...] = ()
    """Of each partition of request-admitted the offset up to which it was read: what an earlier opening granted and what lies behind it is void. Empty: not known yet."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> LedgerOpened:
        new: Any = object.__new__(cls)
        new.ledger = value["ledger"]
        new.number = value["number"]
        new.by = value["by"]
        new.announced_at_ms = value["announced_at_ms"]
        new.read_to = tuple(value["read_to"])
        made: LedgerOpened = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "ledger": self.ledger,
            "number": int64(self.number),
            "by": self.by,
            "announced_at_ms": int64(self.announced_at_ms),
            "read_to": [int64(item) for item in self.read_to],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.ledger],
                LONGS[self.number] if type(self.number) is int else long(self.number),
                TEXTS[self.by],
                LONGS[self.announced_at_ms] if type(self.announced_at_ms) is int else long(self.announced_at_ms),
                many([LONGS[item] if type(item) is int else long(item) for item in self.read_to]) if self.read_to else b"\0",
            )
        )


@record
class MetricSampled:
    """One sample of one metric of one service."""

    service: str
    """Service."""
    instance: str
    """Instance of the service, for example ingest-0."""
    name: str
    """Prometheus name of the metric."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Its labels."""
    value: float
    """Its value."""
    at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> MetricSampled:
        new: Any = object.__new__(cls)
        new.service = value["service"]
        new.instance = value["instance"]
        new.name = value["name"]
        new.labels = value["labels"]
        new.value = value["value"]
        new.at_ms = value["at_ms"]
        made: MetricSampled = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "instance": self.instance,
            "name": self.name,
            "labels": self.labels,
            "value": double(self.value),
            "at_ms": int64(self.at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.service],
                TEXTS[self.instance],
                TEXTS[self.name],
                mapped(self.labels, [TEXTS[item] for item in self.labels.values()]),
                float64(self.value),
                LONGS[self.at_ms] if type(self.at_ms) is int else long(self.at_ms),
            )
        )

Outcome = Literal["answered", "answered_in_part", "escalated", "refused", "expired", "failed"]
"""How a request ended. Every request ends in exactly one of these."""

_Outcome: Final = indexes("answered", "answered_in_part", "escalated", "refused", "expired", "failed")


@record
class Passage:
    """A chunk found for a request."""

    chunk_id: str
    """Id of the chunk."""
    source: str
    """Source of the document."""
    title: str = ""
    """Title of the document or heading."""
    category: str = ""
    """Category of the document."""
    text: str
    """The chunk's text."""
    score: float
    """Cosine similarity with the question, -1 to 1."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Passage:
        new: Any = object.__new__(cls)
        new.chunk_id = value["chunk_id"]
        new.source = value["source"]
        new.title = value["title"]
        new.category = value["category"]
        new.text = value["text"]
        new.score = value["score"]
        made: Passage = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "chunk_id": self.chunk_id,
            "source": self.source,
            "title": self.title,
            "category": self.category,
            "text": self.text,
            "score": double(self.score),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.chunk_id],
                TEXTS[self.source],
                TEXTS[self.title],
                TEXTS[self.category],
                TEXTS[self.text],
                float64(self.score),
            )
        )


@record
class PriceBound:
    """What a tenant lets a model without a known price cost at most; it is reserved and booked."""

    input_nano_per_mtok: int
    """Nano-dollars per million input tokens."""
    output_nano_per_mtok: int
    """Nano-dollars per million output tokens, reasoning included."""
    request_nano: int = 0
    """Nano-dollars per call."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> PriceBound:
        new: Any = object.__new__(cls)
        new.input_nano_per_mtok = value["input_nano_per_mtok"]
        new.output_nano_per_mtok = value["output_nano_per_mtok"]
        new.request_nano = value["request_nano"]
        made: PriceBound = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "input_nano_per_mtok": int64(self.input_nano_per_mtok),
            "output_nano_per_mtok": int64(self.output_nano_per_mtok),
            "request_nano": int64(self.request_nano),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                LONGS[self.input_nano_per_mtok] if type(self.input_nano_per_mtok) is int else long(self.input_nano_per_mtok),
                LONGS[self.output_nano_per_mtok] if type(self.output_nano_per_mtok) is int else long(self.output_nano_per_mtok),
                LONGS[self.request_nano] if type(self.request_nano) is int else long(self.request_nano),
            )
        )


@record
class PriceConfigured:
    """An override of the price of a model from a moment on. The latest record of a key holds."""

    provider: str
    """Provider of the deployment."""
    model: str
    """Model as the provider calls it."""
    valid_from_ms: int
    """Epoch milliseconds."""
    active: bool = True
    """False: withdrawn."""
    input_nano_per_mtok: int
    """Nano-dollars per million input tokens."""
    cached_input_nano_per_mtok: int
    """Nano-dollars per million cached input tokens."""
    output_nano_per_mtok: int
    """Nano-dollars per million output tokens."""
    request_nano: int = 0
    """Nano-dollars per call."""
    reasoning_nano_per_mtok: int | None = None
    """Nano-dollars per million reasoning tokens; null: as output."""
    image_nano: int = 0
    """Nano-dollars per image."""
    batch_discount_permille: int = 0
    """Thousandths off in lane batch; 0 to 1000."""
    machine_hour_nano: int = 0
    """Of a self-hosted model: nano-dollars an hour of the machine, from which the prices per token were computed; 0: not self-hosted."""
    throughput_tokens_per_s: float = 0.0
    """Of a self-hosted model: measured tokens a second of the machine under load."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> PriceConfigured:
        new: Any = object.__new__(cls)
        new.provider = value["provider"]
        new.model = value["model"]
        new.valid_from_ms = value["valid_from_ms"]
        new.active = value["active"]
        new.input_nano_per_mtok = value["input_nano_per_mtok"]
        new.cached_input_nano_per_mtok = value["cached_input_nano_per_mtok"]
        new.output_nano_per_mtok = value["output_nano_per_mtok"]
        new.request_nano = value["request_nano"]
        new.reasoning_nano_per_mtok = value["reasoning_nano_per_mtok"]
        new.image_nano = value["image_nano"]
        new.batch_discount_permille = int32(value["batch_discount_permille"])
        new.machine_hour_nano = value["machine_hour_nano"]
        new.throughput_tokens_per_s = value["throughput_tokens_per_s"]
        made: PriceConfigured = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "model": self.model,
            "valid_from_ms": int64(self.valid_from_ms),
            "active": boolean(self.active),
            "input_nano_per_mtok": int64(self.input_nano_per_mtok),
            "cached_input_nano_per_mtok": int64(self.cached_input_nano_per_mtok),
            "output_nano_per_mtok": int64(self.output_nano_per_mtok),
            "request_nano": int64(self.request_nano),
            "reasoning_nano_per_mtok": None if self.reasoning_nano_per_mtok is None else int64(self.reasoning_nano_per_mtok),
            "image_nano": int64(self.image_nano),
            "batch_discount_permille": int32(self.batch_discount_permille),
            "machine_hour_nano": int64(self.machine_hour_nano),
            "throughput_tokens_per_s": double(self.throughput_tokens_per_s),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.provider],
                TEXTS[self.model],
                LONGS[self.valid_from_ms] if type(self.valid_from_ms) is int else long(self.valid_from_ms),
                truth(self.active),
                LONGS[self.input_nano_per_mtok] if type(self.input_nano_per_mtok) is int else long(self.input_nano_per_mtok),
                LONGS[self.cached_input_nano_per_mtok] if type(self.cached_input_nano_per_mtok) is int else long(self.cached_input_nano_per_mtok),
                LONGS[self.output_nano_per_mtok] if type(self.output_nano_per_mtok) is int else long(self.output_nano_per_mtok),
                LONGS[self.request_nano] if type(self.request_nano) is int else long(self.request_nano),
                b"\0" if self.reasoning_nano_per_mtok is None else b"\2" + LONGS[self.reasoning_nano_per_mtok] if type(self.reasoning_nano_per_mtok) is int else long(self.reasoning_nano_per_mtok),
                LONGS[self.image_nano] if type(self.image_nano) is int else long(self.image_nano),
                integer(self.batch_discount_permille),
                LONGS[self.machine_hour_nano] if type(self.machine_hour_nano) is int else long(self.machine_hour_nano),
                float64(self.throughput_tokens_per_s),
            )
        )


@record
class RateLevel:
    """How full the bucket of a rate limit is."""

    kind: str
    """requests or tokens."""
    period: str
    """minute or day."""
    level: int
    """In requests or tokens, times the seconds of the period."""
    second: int
    """As of the beginning of this second, epoch seconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RateLevel:
        new: Any = object.__new__(cls)
        new.kind = value["kind"]
        new.period = value["period"]
        new.level = value["level"]
        new.second = value["second"]
        made: RateLevel = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "period": self.period,
            "level": int64(self.level),
            "second": int64(self.second),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.kind],
                TEXTS[self.period],
                LONGS[self.level] if type(self.level) is int else long(self.level),
                LONGS[self.second] if type(self.second) is int else long(self.second),
            )
        )


@record
class RateLimit:
    """A limit per time that is enforced by throttling: what is in flight may pass it (docs/money.md)."""

    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str = "*"
    """Which users, workflows, ... of the tenant; * stands for any letters. Each subject that matches has the limit of its own, and of several patterns the most specific holds. Of scope tenant: *."""
    kind: str
    """requests or tokens."""
    period: str
    """minute or day."""
    limit: int
    """Requests or tokens a period."""
    burst: int = 0
    """Requests or tokens that may come at once after a rest; 0: as many as the limit."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RateLimit:
        new: Any = object.__new__(cls)
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.kind = value["kind"]
        new.period = value["period"]
        new.limit = value["limit"]
        new.burst = value["burst"]
        made: RateLimit = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "subject": self.subject,
            "kind": self.kind,
            "period": self.period,
            "limit": int64(self.limit),
            "burst": int64(self.burst),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.scope],
                TEXTS[self.subject],
                TEXTS[self.kind],
                TEXTS[self.period],
                LONGS[self.limit] if type(self.limit) is int else long(self.limit),
                LONGS[self.burst] if type(self.burst) is int else long(self.burst),
            )
        )


@record
class Tool:
    """One function the model may call."""

    name: str
    """Name of the function."""
    description: str = ""
    """What it does, for the model."""
    parameters: str = "{}"
    """JSON Schema of its arguments, as JSON text; parsed and bounded by ingest."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Tool:
        new: Any = object.__new__(cls)
        new.name = value["name"]
        new.description = value["description"]
        new.parameters = value["parameters"]
        made: Tool = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.name],
                TEXTS[self.description],
                TEXTS[self.parameters],
            )
        )


@record
class RequestSubmitted:
    """A request, as a client submits it. Defaults let a client give only request_id, tenant and messages."""

    request_id: str
    """Id the client chose, unique in the tenant; the same id again has the same effect as once."""
    tenant: str
    """Who pays. Letters, digits and . _ : @ - ; at most 128 characters, as all ids."""
    user: str = ""
    """End user of the tenant, or empty."""
    session: str = ""
    """Conversation; its requests enter in their order. Empty: a session of its own."""
    workflow: str = ""
    """Workflow run, or empty."""
    step: str = ""
    """Step of the workflow, or empty."""
    agent: str = ""
    """Name of the agent, or empty."""
    messages: tuple[Message, ...]
    """The conversation, oldest first; at least one, the last from user or tool."""
    model: str = "default"
    """Model or alias wanted; the deployments that serve it are configured."""
    max_tokens: int = 256
    """Most output tokens, 1 to 1,000,000."""
    temperature: float | None = None
    """Sampling temperature, 0 to 2; null: the provider's default."""
    tools: tuple[Tool, ...] = ()
    """Functions the model may call."""
    grounding: Grounding | None = None
    """What to ground the answer in; null: nothing."""
    cache: CacheMode = "use"
    """How the cache may be used."""
    deadline_ms: int = 0
    """Moment after which no work is done, epoch milliseconds; 0: the tenant's default time-out from arrival."""
    lane: Lane = "interactive"
    """Priority."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free labels, handed back in the result; at most 32."""
    traceparent: str = ""
    """W3C trace context, or empty."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestSubmitted:
        new: Any = object.__new__(cls)
        new.request_id = value["request_id"]
        new.tenant = value["tenant"]
        new.user = value["user"]
        new.session = value["session"]
        new.workflow = value["workflow"]
        new.step = value["step"]
        new.agent = value["agent"]
        new.messages = tuple([Message.from_avro(item) for item in value["messages"]])
        new.model = value["model"]
        new.max_tokens = int32(value["max_tokens"])
        new.temperature = value["temperature"]
        new.tools = tuple([Tool.from_avro(item) for item in value["tools"]])
        new.grounding = None if value["grounding"] is None else Grounding.from_avro(value["grounding"])
        new.cache = value["cache"]
        new.deadline_ms = value["deadline_ms"]
        new.lane = value["lane"]
        new.metadata = value["metadata"]
        new.traceparent = value["traceparent"]
        made: RequestSubmitted = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "tenant": self.tenant,
            "user": self.user,
            "session": self.session,
            "workflow": self.workflow,
            "step": self.step,
            "agent": self.agent,
            "messages": [item.to_avro() for item in self.messages],
            "model": self.model,
            "max_tokens": int32(self.max_tokens),
            "temperature": None if self.temperature is None else double(self.temperature),
            "tools": [item.to_avro() for item in self.tools],
            "grounding": None if self.grounding is None else ("daytwo.Grounding", self.grounding.to_avro()),
            "cache": self.cache,
            "deadline_ms": int64(self.deadline_ms),
            "lane": self.lane,
            "metadata": self.metadata,
            "traceparent": self.traceparent,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.request_id],
                TEXTS[self.tenant],
                TEXTS[self.user],
                TEXTS[self.session],
                TEXTS[self.workflow],
                TEXTS[self.step],
                TEXTS[self.agent],
                many([item.to_bytes() for item in self.messages]) if self.messages else b"\0",
                TEXTS[self.model],
                integer(self.max_tokens),
                b"\0" if self.temperature is None else b"\2" + float64(self.temperature),
                many([item.to_bytes() for item in self.tools]) if self.tools else b"\0",
                b"\0" if self.grounding is None else b"\2" + self.grounding.to_bytes(),
                _CacheMode[self.cache],
                LONGS[self.deadline_ms] if type(self.deadline_ms) is int else long(self.deadline_ms),
                _Lane[self.lane],
                mapped(self.metadata, [TEXTS[item] for item in self.metadata.values()]),
                TEXTS[self.traceparent],
            )
        )


@record
class StepTime:
    """Time one service spent on a request."""

    step: str
    """Name of the service."""
    queued_ms: float
    """Milliseconds between the record's Kafka timestamp and the start of the handler."""
    executing_ms: float
    """Milliseconds between the start of the handler and the making of its output."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> StepTime:
        new: Any = object.__new__(cls)
        new.step = value["step"]
        new.queued_ms = value["queued_ms"]
        new.executing_ms = value["executing_ms"]
        made: StepTime = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "queued_ms": double(self.queued_ms),
            "executing_ms": double(self.executing_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.step],
                float64(self.queued_ms),
                float64(self.executing_ms),
            )
        )


@record
class RequestAccepted:
    """A request that ingest has checked: valid, signed where it must be, its deadline set."""

    request: RequestSubmitted
    """The request as accepted."""
    fingerprint: str
    """SHA-256 of the request's content, 32 hex digits; tells a repeat from a reused id."""
    accepted_at_ms: int
    """When, epoch milliseconds."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestAccepted:
        new: Any = object.__new__(cls)
        new.request = RequestSubmitted.from_avro(value["request"])
        new.fingerprint = value["fingerprint"]
        new.accepted_at_ms = value["accepted_at_ms"]
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        made: RequestAccepted = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request": self.request.to_avro(),
            "fingerprint": self.fingerprint,
            "accepted_at_ms": int64(self.accepted_at_ms),
            "steps": [item.to_avro() for item in self.steps],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.request.to_bytes(),
                TEXTS[self.fingerprint],
                LONGS[self.accepted_at_ms] if type(self.accepted_at_ms) is int else long(self.accepted_at_ms),
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
            )
        )


@record
class RequestAdmitted:
    """A request whose worst case is reserved, or that may be answered from the cache only."""

    request: RequestSubmitted
    """The request as accepted."""
    fingerprint: str
    """SHA-256 of the request's content, 32 hex digits; tells a repeat from a reused id."""
    admission: Admission
    """The budget decision."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestAdmitted:
        new: Any = object.__new__(cls)
        new.request = RequestSubmitted.from_avro(value["request"])
        new.fingerprint = value["fingerprint"]
        new.admission = Admission.from_avro(value["admission"])
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        made: RequestAdmitted = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request": self.request.to_avro(),
            "fingerprint": self.fingerprint,
            "admission": self.admission.to_avro(),
            "steps": [item.to_avro() for item in self.steps],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.request.to_bytes(),
                TEXTS[self.fingerprint],
                self.admission.to_bytes(),
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
            )
        )


@record
class RequestEmbedded:
    """A request with the embedding of its question."""

    request: RequestSubmitted
    """The request as accepted."""
    fingerprint: str
    """SHA-256 of the request's content, 32 hex digits; tells a repeat from a reused id."""
    admission: Admission
    """The budget decision."""
    question: str
    """Key of the question: SHA-256, 32 hex digits, of the normalised conversation, model, parameters and grounding scope."""
    vector: Vector | None = None
    """Embedding of the last user message; null where nothing needs it."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestEmbedded:
        new: Any = object.__new__(cls)
        new.request = RequestSubmitted.from_avro(value["request"])
        new.fingerprint = value["fingerprint"]
        new.admission = Admission.from_avro(value["admission"])
        new.question = value["question"]
        new.vector = None if value["vector"] is None else Vector.from_avro(value["vector"])
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        made: RequestEmbedded = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request": self.request.to_avro(),
            "fingerprint": self.fingerprint,
            "admission": self.admission.to_avro(),
            "question": self.question,
            "vector": None if self.vector is None else ("daytwo.Vector", self.vector.to_avro()),
            "steps": [item.to_avro() for item in self.steps],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.request.to_bytes(),
                TEXTS[self.fingerprint],
                self.admission.to_bytes(),
                TEXTS[self.question],
                b"\0" if self.vector is None else b"\2" + self.vector.to_bytes(),
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
            )
        )


@record
class RequestFinished:
    """The end of a request. The first one in the log of a request_id is its result; every reader ignores later ones."""

    request_id: str
    """Id of the request."""
    tenant: str
    """Tenant of the request."""
    user: str = ""
    """User of the request."""
    session: str = ""
    """Session of the request."""
    workflow: str = ""
    """Workflow of the request."""
    step: str = ""
    """Step of the request."""
    agent: str = ""
    """Agent of the request."""
    fingerprint: str = ""
    """Fingerprint of the request, empty if it was not accepted."""
    outcome: Outcome
    """How it ended."""
    reason: str
    """Reason code a program can match (docs/concepts.md lists them), for example ok, budget_exceeded."""
    detail: str = ""
    """The reason in words, for people."""
    message: Message | None = None
    """The answer."""
    finish_reason: str = ""
    """stop, length, tool_calls, content_filter, or empty."""
    citations: tuple[Citation, ...] = ()
    """Passages that were put before the model."""
    usage: Usage = Usage(input_tokens=0, cached_input_tokens=0, output_tokens=0, reasoning_tokens=0, images=0)
    """Tokens charged for this request; zero for a cached answer."""
    cost_nano: int = 0
    """Nano-dollars spent on this request: the sum over attempts."""
    saved_nano: int = 0
    """Nano-dollars the cached answer had cost when it was bought; 0 if not from the cache."""
    served_by: str = ""
    """deployment, cache, or empty where nothing was served."""
    deployment: str = ""
    """Deployment that answered (for a cached answer: then), or empty."""
    model: str = ""
    """Model that answered, as the provider calls it, or empty."""
    cache_match: CacheMatch | None = None
    """What a cached answer was matched by."""
    question: str = ""
    """Key of the question, or empty."""
    attempts: tuple[AttemptSummary, ...] = ()
    """Calls of providers, in order."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""
    retry_after_ms: int | None = None
    """Milliseconds after which it makes sense to try again; null: it does not, or there is no need."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the request."""
    traceparent: str = ""
    """Trace context of the request."""
    finished_at_ms: int
    """When, epoch milliseconds."""
    submission: str = ""
    """Of a record that was refused at the door (it has no fingerprint then): first 32 hex digits of the SHA-256 of its bytes. Whoever sent other bytes under this id is not meant."""
    limit_hit: LimitHit | None = None
    """The limit that refused it."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestFinished:
        new: Any = object.__new__(cls)
        new.request_id = value["request_id"]
        new.tenant = value["tenant"]
        new.user = value["user"]
        new.session = value["session"]
        new.workflow = value["workflow"]
        new.step = value["step"]
        new.agent = value["agent"]
        new.fingerprint = value["fingerprint"]
        new.outcome = value["outcome"]
        new.reason = value["reason"]
        new.detail = value["detail"]
        new.message = None if value["message"] is None else Message.from_avro(value["message"])
        new.finish_reason = value["finish_reason"]
        new.citations = tuple([Citation.from_avro(item) for item in value["citations"]])
        new.usage = Usage.from_avro(value["usage"])
        new.cost_nano = value["cost_nano"]
        new.saved_nano = value["saved_nano"]
        new.served_by = value["served_by"]
        new.deployment = value["deployment"]
        new.model = value["model"]
        new.cache_match = None if value["cache_match"] is None else CacheMatch.from_avro(value["cache_match"])
        new.question = value["question"]
        new.attempts = tuple([AttemptSummary.from_avro(item) for item in value["attempts"]])
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        new.retry_after_ms = value["retry_after_ms"]
        new.metadata = value["metadata"]
        new.traceparent = value["traceparent"]
        new.finished_at_ms = value["finished_at_ms"]
        new.submission = value["submission"]
        new.limit_hit = None if value["limit_hit"] is None else LimitHit.from_avro(value["limit_hit"])
        made: RequestFinished = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "tenant": self.tenant,
            "user": self.user,
            "session": self.session,
            "workflow": self.workflow,
            "step": self.step,
            "agent": self.agent,
            "fingerprint": self.fingerprint,
            "outcome": self.outcome,
            "reason": self.reason,
            "detail": self.detail,
            "message": None if self.message is None else ("daytwo.Message", self.message.to_avro()),
            "finish_reason": self.finish_reason,
            "citations": [item.to_avro() for item in self.citations],
            "usage": self.usage.to_avro(),
            "cost_nano": int64(self.cost_nano),
            "saved_nano": int64(self.saved_nano),
            "served_by": self.served_by,
            "deployment": self.deployment,
            "model": self.model,
            "cache_match": None if self.cache_match is None else ("daytwo.CacheMatch", self.cache_match.to_avro()),
            "question": self.question,
            "attempts": [item.to_avro() for item in self.attempts],
            "steps": [item.to_avro() for item in self.steps],
            "retry_after_ms": None if self.retry_after_ms is None else int64(self.retry_after_ms),
            "metadata": self.metadata,
            "traceparent": self.traceparent,
            "finished_at_ms": int64(self.finished_at_ms),
            "submission": self.submission,
            "limit_hit": None if self.limit_hit is None else ("daytwo.LimitHit", self.limit_hit.to_avro()),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.request_id],
                TEXTS[self.tenant],
                TEXTS[self.user],
                TEXTS[self.session],
                TEXTS[self.workflow],
                TEXTS[self.step],
                TEXTS[self.agent],
                TEXTS[self.fingerprint],
                _Outcome[self.outcome],
                TEXTS[self.reason],
                TEXTS[self.detail],
                b"\0" if self.message is None else b"\2" + self.message.to_bytes(),
                TEXTS[self.finish_reason],
                many([item.to_bytes() for item in self.citations]) if self.citations else b"\0",
                self.usage.to_bytes(),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                LONGS[self.saved_nano] if type(self.saved_nano) is int else long(self.saved_nano),
                TEXTS[self.served_by],
                TEXTS[self.deployment],
                TEXTS[self.model],
                b"\0" if self.cache_match is None else b"\2" + self.cache_match.to_bytes(),
                TEXTS[self.question],
                many([item.to_bytes() for item in self.attempts]) if self.attempts else b"\0",
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
                b"\0" if self.retry_after_ms is None else b"\2" + LONGS[self.retry_after_ms] if type(self.retry_after_ms) is int else long(self.retry_after_ms),
                mapped(self.metadata, [TEXTS[item] for item in self.metadata.values()]),
                TEXTS[self.traceparent],
                LONGS[self.finished_at_ms] if type(self.finished_at_ms) is int else long(self.finished_at_ms),
                TEXTS[self.submission],
                b"\0" if self.limit_hit is None else b"\2" + self.limit_hit.to_bytes(),
            )
        )


@record
class RequestGrounded:
    """A request with the passages that ground its answer; none where none were asked for."""

    request: RequestSubmitted
    """The request as accepted."""
    fingerprint: str
    """SHA-256 of the request's content, 32 hex digits; tells a repeat from a reused id."""
    admission: Admission
    """The budget decision."""
    question: str
    """Key of the question: SHA-256, 32 hex digits, of the normalised conversation, model, parameters and grounding scope."""
    passages: tuple[Passage, ...] = ()
    """Best first."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestGrounded:
        new: Any = object.__new__(cls)
        new.request = RequestSubmitted.from_avro(value["request"])
        new.fingerprint = value["fingerprint"]
        new.admission = Admission.from_avro(value["admission"])
        new.question = value["question"]
        new.passages = tuple([Passage.from_avro(item) for item in value["passages"]])
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        made: RequestGrounded = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request": self.request.to_avro(),
            "fingerprint": self.fingerprint,
            "admission": self.admission.to_avro(),
            "question": self.question,
            "passages": [item.to_avro() for item in self.passages],
            "steps": [item.to_avro() for item in self.steps],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.request.to_bytes(),
                TEXTS[self.fingerprint],
                self.admission.to_bytes(),
                TEXTS[self.question],
                many([item.to_bytes() for item in self.passages]) if self.passages else b"\0",
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
            )
        )


@record
class RequestMissed:
    """A request the cache has no answer for."""

    request: RequestSubmitted
    """The request as accepted."""
    fingerprint: str
    """SHA-256 of the request's content, 32 hex digits; tells a repeat from a reused id."""
    admission: Admission
    """The budget decision."""
    question: str
    """Key of the question: SHA-256, 32 hex digits, of the normalised conversation, model, parameters and grounding scope."""
    vector: Vector | None = None
    """Embedding of the last user message; null where nothing needs it."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestMissed:
        new: Any = object.__new__(cls)
        new.request = RequestSubmitted.from_avro(value["request"])
        new.fingerprint = value["fingerprint"]
        new.admission = Admission.from_avro(value["admission"])
        new.question = value["question"]
        new.vector = None if value["vector"] is None else Vector.from_avro(value["vector"])
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        made: RequestMissed = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request": self.request.to_avro(),
            "fingerprint": self.fingerprint,
            "admission": self.admission.to_avro(),
            "question": self.question,
            "vector": None if self.vector is None else ("daytwo.Vector", self.vector.to_avro()),
            "steps": [item.to_avro() for item in self.steps],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.request.to_bytes(),
                TEXTS[self.fingerprint],
                self.admission.to_bytes(),
                TEXTS[self.question],
                b"\0" if self.vector is None else b"\2" + self.vector.to_bytes(),
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
            )
        )


@record
class RequestWaiting:
    """A request at a limit that may go on later, or that its tenant lets try something else."""

    request: RequestSubmitted
    """The request as accepted."""
    fingerprint: str
    """SHA-256 of the request's content, 32 hex digits; tells a repeat from a reused id."""
    round: int
    """How often the ledger was asked about this request before."""
    until_ms: int
    """It is not decided anew before, epoch milliseconds; 0: now."""
    then: tuple[str, ...]
    """What may still be tried, in this order (as TenantConfigured.at_limit)."""
    limit_hit: LimitHit
    """The limit it waits for."""
    steps: tuple[StepTime, ...] = ()
    """Time spent so far, oldest first."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> RequestWaiting:
        new: Any = object.__new__(cls)
        new.request = RequestSubmitted.from_avro(value["request"])
        new.fingerprint = value["fingerprint"]
        new.round = int32(value["round"])
        new.until_ms = value["until_ms"]
        new.then = tuple(value["then"])
        new.limit_hit = LimitHit.from_avro(value["limit_hit"])
        new.steps = tuple([StepTime.from_avro(item) for item in value["steps"]])
        made: RequestWaiting = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "request": self.request.to_avro(),
            "fingerprint": self.fingerprint,
            "round": int32(self.round),
            "until_ms": int64(self.until_ms),
            "then": self.then,
            "limit_hit": self.limit_hit.to_avro(),
            "steps": [item.to_avro() for item in self.steps],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.request.to_bytes(),
                TEXTS[self.fingerprint],
                integer(self.round),
                LONGS[self.until_ms] if type(self.until_ms) is int else long(self.until_ms),
                many([TEXTS[item] for item in self.then]) if self.then else b"\0",
                self.limit_hit.to_bytes(),
                many([item.to_bytes() for item in self.steps]) if self.steps else b"\0",
            )
        )


@record
class SecondUsed:
    """What was used in one second."""

    second: int
    """Epoch seconds."""
    requests: int
    """Requests admitted."""
    tokens: int
    """Tokens charged, input and output."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> SecondUsed:
        new: Any = object.__new__(cls)
        new.second = value["second"]
        new.requests = value["requests"]
        new.tokens = value["tokens"]
        made: SecondUsed = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "second": int64(self.second),
            "requests": int64(self.requests),
            "tokens": int64(self.tokens),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                LONGS[self.second] if type(self.second) is int else long(self.second),
                LONGS[self.requests] if type(self.requests) is int else long(self.requests),
                LONGS[self.tokens] if type(self.tokens) is int else long(self.tokens),
            )
        )


@record
class SigningKey:
    """A key a tenant signs with."""

    id: str
    """Id of the key, sent in the header daytwo-key."""
    secret: str
    """Shared secret of HMAC-SHA256, UTF-8."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> SigningKey:
        new: Any = object.__new__(cls)
        new.id = value["id"]
        new.secret = value["secret"]
        made: SigningKey = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "secret": self.secret,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.id],
                TEXTS[self.secret],
            )
        )


@record
class TokenCap:
    """A cap of tokens, input and output together, that holds."""

    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str = "*"
    """Which users, workflows, ... of the tenant; * stands for any letters. Each subject that matches has the limit of its own, and of several patterns the most specific holds. Of scope tenant: *."""
    period: str
    """hour, day, month (UTC) or total."""
    limit_tokens: int
    """Tokens; settled + reserved never exceeds it."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> TokenCap:
        new: Any = object.__new__(cls)
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.period = value["period"]
        new.limit_tokens = value["limit_tokens"]
        made: TokenCap = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "subject": self.subject,
            "period": self.period,
            "limit_tokens": int64(self.limit_tokens),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.scope],
                TEXTS[self.subject],
                TEXTS[self.period],
                LONGS[self.limit_tokens] if type(self.limit_tokens) is int else long(self.limit_tokens),
            )
        )


@record
class TenantConfigured:
    """A tenant and its policy. The latest record of a key holds."""

    tenant: str
    """Name of the tenant."""
    active: bool = True
    """False: everything it submits is refused."""
    keys: tuple[SigningKey, ...] = ()
    """If there are any, every request and document must be signed with one."""
    caps: tuple[Cap, ...] = ()
    """Spending caps; none: no cap."""
    over_budget: str = "cache_only"
    """At the cap, where at_limit is empty: cache_only (a cached answer, else refused) or refuse."""
    models: tuple[str, ...] = ()
    """Aliases it may ask for; empty: all."""
    embedding_model: str = "wordllama-256"
    """wordllama-256 or minilm-int8."""
    cache: CachePolicy = CachePolicy(enabled=True, threshold=0.95, ttl_s=86400)
    """How its answers are cached."""
    default_timeout_ms: int = 60000
    """Deadline of a request that names none, milliseconds from arrival."""
    max_timeout_ms: int = 3600000
    """Longest deadline it may ask for, milliseconds from arrival."""
    token_caps: tuple[TokenCap, ...] = ()
    """Caps of tokens; none: no cap."""
    concurrency_caps: tuple[ConcurrencyCap, ...] = ()
    """Caps of requests open at once; none: no cap."""
    rate_limits: tuple[RateLimit, ...] = ()
    """Limits of requests and tokens per time; none: no limit."""
    at_limit: tuple[str, ...] = ()
    """What is tried at a cap or rate limit, in this order: cache_only, wait (until there may be room, if the deadline allows), cheaper_route; then the request is refused. Empty: over_budget says."""
    cheaper_route: str = ""
    """Alias, model or deployment that at_limit's cheaper_route takes; empty: none."""
    unpriced_bound: PriceBound | None = None
    """For models without a known price; null: they are refused."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> TenantConfigured:
        new: Any = object.__new__(cls)
        new.tenant = value["tenant"]
        new.active = value["active"]
        new.keys = tuple([SigningKey.from_avro(item) for item in value["keys"]])
        new.caps = tuple([Cap.from_avro(item) for item in value["caps"]])
        new.over_budget = value["over_budget"]
        new.models = tuple(value["models"])
        new.embedding_model = value["embedding_model"]
        new.cache = CachePolicy.from_avro(value["cache"])
        new.default_timeout_ms = value["default_timeout_ms"]
        new.max_timeout_ms = value["max_timeout_ms"]
        new.token_caps = tuple([TokenCap.from_avro(item) for item in value["token_caps"]])
        new.concurrency_caps = tuple([ConcurrencyCap.from_avro(item) for item in value["concurrency_caps"]])
        new.rate_limits = tuple([RateLimit.from_avro(item) for item in value["rate_limits"]])
        new.at_limit = tuple(value["at_limit"])
        new.cheaper_route = value["cheaper_route"]
        new.unpriced_bound = None if value["unpriced_bound"] is None else PriceBound.from_avro(value["unpriced_bound"])
        made: TenantConfigured = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "active": boolean(self.active),
            "keys": [item.to_avro() for item in self.keys],
            "caps": [item.to_avro() for item in self.caps],
            "over_budget": self.over_budget,
            "models": self.models,
            "embedding_model": self.embedding_model,
            "cache": self.cache.to_avro(),
            "default_timeout_ms": int64(self.default_timeout_ms),
            "max_timeout_ms": int64(self.max_timeout_ms),
            "token_caps": [item.to_avro() for item in self.token_caps],
            "concurrency_caps": [item.to_avro() for item in self.concurrency_caps],
            "rate_limits": [item.to_avro() for item in self.rate_limits],
            "at_limit": self.at_limit,
            "cheaper_route": self.cheaper_route,
            "unpriced_bound": None if self.unpriced_bound is None else ("daytwo.PriceBound", self.unpriced_bound.to_avro()),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.tenant],
                truth(self.active),
                many([item.to_bytes() for item in self.keys]) if self.keys else b"\0",
                many([item.to_bytes() for item in self.caps]) if self.caps else b"\0",
                TEXTS[self.over_budget],
                many([TEXTS[item] for item in self.models]) if self.models else b"\0",
                TEXTS[self.embedding_model],
                self.cache.to_bytes(),
                LONGS[self.default_timeout_ms] if type(self.default_timeout_ms) is int else long(self.default_timeout_ms),
                LONGS[self.max_timeout_ms] if type(self.max_timeout_ms) is int else long(self.max_timeout_ms),
                many([item.to_bytes() for item in self.token_caps]) if self.token_caps else b"\0",
                many([item.to_bytes() for item in self.concurrency_caps]) if self.concurrency_caps else b"\0",
                many([item.to_bytes() for item in self.rate_limits]) if self.rate_limits else b"\0",
                many([TEXTS[item] for item in self.at_limit]) if self.at_limit else b"\0",
                TEXTS[self.cheaper_route],
                b"\0" if self.unpriced_bound is None else b"\2" + self.unpriced_bound.to_bytes(),
            )
        )


@record
class ThrottlePublished:
    """A rate limit is reached: cost-meter admits nothing of the subject until then. Deleted when it is over."""

    tenant: str
    """Tenant."""
    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str
    """The user, workflow, session or agent; empty for the tenant."""
    kind: str
    """requests or tokens."""
    period: str
    """minute or day."""
    limit: int
    """Requests or tokens a period."""
    used: int
    """In the same unit, when it was published."""
    until_ms: int
    """Epoch milliseconds; from then on it is void, deleted or not."""
    published_at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> ThrottlePublished:
        new: Any = object.__new__(cls)
        new.tenant = value["tenant"]
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.kind = value["kind"]
        new.period = value["period"]
        new.limit = value["limit"]
        new.used = value["used"]
        new.until_ms = value["until_ms"]
        new.published_at_ms = value["published_at_ms"]
        made: ThrottlePublished = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "scope": self.scope,
            "subject": self.subject,
            "kind": self.kind,
            "period": self.period,
            "limit": int64(self.limit),
            "used": int64(self.used),
            "until_ms": int64(self.until_ms),
            "published_at_ms": int64(self.published_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.tenant],
                TEXTS[self.scope],
                TEXTS[self.subject],
                TEXTS[self.kind],
                TEXTS[self.period],
                LONGS[self.limit] if type(self.limit) is int else long(self.limit),
                LONGS[self.used] if type(self.used) is int else long(self.used),
                LONGS[self.until_ms] if type(self.until_ms) is int else long(self.until_ms),
                LONGS[self.published_at_ms] if type(self.published_at_ms) is int else long(self.published_at_ms),
            )
        )


@record
class UsageBucket:
    """Sums of one bucket of event time and one model."""

    width: str
    """minute, hour, day or week."""
    start_ms: int
    """Beginning, epoch milliseconds; 0: those that came too late for their own."""
    model: str
    """Model, or empty where none answered."""
    requests: int
    """Requests that ended."""
    refused: int
    """Of these, refused."""
    cached: int
    """Of these, answered from the cache."""
    usage: Usage
    """Tokens charged."""
    cost_nano: int
    """Nano-dollars spent."""
    saved_nano: int
    """Nano-dollars saved by the cache."""
    changed: bool
    """True: it is not on usage-windowed as it is here."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> UsageBucket:
        new: Any = object.__new__(cls)
        new.width = value["width"]
        new.start_ms = value["start_ms"]
        new.model = value["model"]
        new.requests = value["requests"]
        new.refused = value["refused"]
        new.cached = value["cached"]
        new.usage = Usage.from_avro(value["usage"])
        new.cost_nano = value["cost_nano"]
        new.saved_nano = value["saved_nano"]
        new.changed = value["changed"]
        made: UsageBucket = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "start_ms": int64(self.start_ms),
            "model": self.model,
            "requests": int64(self.requests),
            "refused": int64(self.refused),
            "cached": int64(self.cached),
            "usage": self.usage.to_avro(),
            "cost_nano": int64(self.cost_nano),
            "saved_nano": int64(self.saved_nano),
            "changed": boolean(self.changed),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.width],
                LONGS[self.start_ms] if type(self.start_ms) is int else long(self.start_ms),
                TEXTS[self.model],
                LONGS[self.requests] if type(self.requests) is int else long(self.requests),
                LONGS[self.refused] if type(self.refused) is int else long(self.refused),
                LONGS[self.cached] if type(self.cached) is int else long(self.cached),
                self.usage.to_bytes(),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                LONGS[self.saved_nano] if type(self.saved_nano) is int else long(self.saved_nano),
                truth(self.changed),
            )
        )


@record
class UsageEntry:
    """One request that was admitted, or has ended."""

    offset: int
    """Where it is in the partition it was read from."""
    at_ms: int
    """Event time: the timestamp of that record, epoch milliseconds."""
    user: str = ""
    """User, or empty."""
    workflow: str = ""
    """Workflow run, or empty."""
    session: str = ""
    """Session, or empty."""
    agent: str = ""
    """Agent, or empty."""
    model: str = ""
    """Model that answered, or empty."""
    refused: bool = False
    """Whether it was refused."""
    cached: bool = False
    """Whether it was answered from the cache."""
    usage: Usage = Usage(input_tokens=0, cached_input_tokens=0, output_tokens=0, reasoning_tokens=0, images=0)
    """Tokens charged."""
    cost_nano: int = 0
    """Nano-dollars spent."""
    saved_nano: int = 0
    """Nano-dollars saved by the cache."""
    late: bool = False
    """True: a later result of a request that is counted. Only its attempts that no result before it listed count here, all their tokens as input."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> UsageEntry:
        new: Any = object.__new__(cls)
        new.offset = value["offset"]
        new.at_ms = value["at_ms"]
        new.user = value["user"]
        new.workflow = value["workflow"]
        new.session = value["session"]
        new.agent = value["agent"]
        new.model = value["model"]
        new.refused = value["refused"]
        new.cached = value["cached"]
        new.usage = Usage.from_avro(value["usage"])
        new.cost_nano = value["cost_nano"]
        new.saved_nano = value["saved_nano"]
        new.late = value["late"]
        made: UsageEntry = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "offset": int64(self.offset),
            "at_ms": int64(self.at_ms),
            "user": self.user,
            "workflow": self.workflow,
            "session": self.session,
            "agent": self.agent,
            "model": self.model,
            "refused": boolean(self.refused),
            "cached": boolean(self.cached),
            "usage": self.usage.to_avro(),
            "cost_nano": int64(self.cost_nano),
            "saved_nano": int64(self.saved_nano),
            "late": boolean(self.late),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                LONGS[self.offset] if type(self.offset) is int else long(self.offset),
                LONGS[self.at_ms] if type(self.at_ms) is int else long(self.at_ms),
                TEXTS[self.user],
                TEXTS[self.workflow],
                TEXTS[self.session],
                TEXTS[self.agent],
                TEXTS[self.model],
                truth(self.refused),
                truth(self.cached),
                self.usage.to_bytes(),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                LONGS[self.saved_nano] if type(self.saved_nano) is int else long(self.saved_nano),
                truth(self.late),
            )
        )


@record
class UsageRecorded:
    """What one tenant's requests used, as read together from one partition of the road. A reader skips what it has applied: offsets of one place only grow, whatever is written again."""

    tenant: str
    """Tenant."""
    topic: str
    """request-admitted: requests that may cost something; request-finished: what was used."""
    partition: int
    """Partition of that topic."""
    entries: tuple[UsageEntry, ...]
    """In the order of that partition; the first of each request only."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> UsageRecorded:
        new: Any = object.__new__(cls)
        new.tenant = value["tenant"]
        new.topic = value["topic"]
        new.partition = int32(value["partition"])
        new.entries = tuple([UsageEntry.from_avro(item) for item in value["entries"]])
        made: UsageRecorded = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "topic": self.topic,
            "partition": int32(self.partition),
            "entries": [item.to_avro() for item in self.entries],
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.tenant],
                TEXTS[self.topic],
                integer(self.partition),
                many([item.to_bytes() for item in self.entries]) if self.entries else b"\0",
            )
        )


@record
class UsageWindowed:
    """What a subject used in one bucket of event time. The latest record of a key holds; late events make a further one."""

    tenant: str
    """Tenant."""
    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str
    """The user, workflow, session or agent; empty for the tenant; *other: those beyond the bound of usage-windows."""
    model: str
    """Model as the provider calls it; empty: all models."""
    width: str
    """minute, hour, day or week (from Monday, UTC)."""
    start_ms: int
    """Beginning of the bucket, epoch milliseconds; 0: those that came too late for their own bucket, of all time."""
    requests: int
    """Requests that ended."""
    refused: int = 0
    """Of these, refused."""
    cached: int = 0
    """Of these, answered from the cache."""
    usage: Usage
    """Tokens charged."""
    cost_nano: int
    """Nano-dollars spent."""
    saved_nano: int = 0
    """Nano-dollars saved by the cache."""
    closed: bool = True
    """True: its time is over; only late events change it."""
    published_at_ms: int
    """When, epoch milliseconds."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> UsageWindowed:
        new: Any = object.__new__(cls)
        new.tenant = value["tenant"]
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.model = value["model"]
        new.width = value["width"]
        new.start_ms = value["start_ms"]
        new.requests = value["requests"]
        new.refused = value["refused"]
        new.cached = value["cached"]
        new.usage = Usage.from_avro(value["usage"])
        new.cost_nano = value["cost_nano"]
        new.saved_nano = value["saved_nano"]
        new.closed = value["closed"]
        new.published_at_ms = value["published_at_ms"]
        made: UsageWindowed = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "scope": self.scope,
            "subject": self.subject,
            "model": self.model,
            "width": self.width,
            "start_ms": int64(self.start_ms),
            "requests": int64(self.requests),
            "refused": int64(self.refused),
            "cached": int64(self.cached),
            "usage": self.usage.to_avro(),
            "cost_nano": int64(self.cost_nano),
            "saved_nano": int64(self.saved_nano),
            "closed": boolean(self.closed),
            "published_at_ms": int64(self.published_at_ms),
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.tenant],
                TEXTS[self.scope],
                TEXTS[self.subject],
                TEXTS[self.model],
                TEXTS[self.width],
                LONGS[self.start_ms] if type(self.start_ms) is int else long(self.start_ms),
                LONGS[self.requests] if type(self.requests) is int else long(self.requests),
                LONGS[self.refused] if type(self.refused) is int else long(self.refused),
                LONGS[self.cached] if type(self.cached) is int else long(self.cached),
                self.usage.to_bytes(),
                LONGS[self.cost_nano] if type(self.cost_nano) is int else long(self.cost_nano),
                LONGS[self.saved_nano] if type(self.saved_nano) is int else long(self.saved_nano),
                truth(self.closed),
                LONGS[self.published_at_ms] if type(self.published_at_ms) is int else long(self.published_at_ms),
            )
        )


@record
class WindowsSaved:
    """All that usage-windows knows of a subject, with the offsets it knows it from: one value, so that it is never half true."""

    tenant: str
    """Tenant."""
    scope: str
    """tenant, user, workflow, session or agent."""
    subject: str
    """The user, workflow, session or agent; empty for the tenant; *other: those beyond the bound."""
    latest_ms: int
    """Latest event time so far, never ahead of the clock, epoch milliseconds."""
    applied: Mapping[str, int]
    """By place (topic/partition) the offset of the last entry that is in here; what is not above it is skipped."""
    seconds: tuple[SecondUsed, ...] = ()
    """The last seconds, for rate limits."""
    levels: tuple[RateLevel, ...] = ()
    """Of each rate limit, what was used before those seconds and has not flowed off."""
    buckets: tuple[UsageBucket, ...] = ()
    """Minutes, hours, days and weeks that may still change."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By width the beginning of the latest bucket that is not here any more, epoch milliseconds; what comes for it or one before it is too late."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> WindowsSaved:
        new: Any = object.__new__(cls)
        new.tenant = value["tenant"]
        new.scope = value["scope"]
        new.subject = value["subject"]
        new.latest_ms = value["latest_ms"]
        new.applied = value["applied"]
        new.seconds = tuple([SecondUsed.from_avro(item) for item in value["seconds"]])
        new.levels = tuple([RateLevel.from_avro(item) for item in value["levels"]])
        new.buckets = tuple([UsageBucket.from_avro(item) for item in value["buckets"]])
        new.dropped = value["dropped"]
        made: WindowsSaved = new
        return made

    def to_avro(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "scope": self.scope,
            "subject": self.subject,
            "latest_ms": int64(self.latest_ms),
            "applied": self.applied,
            "seconds": [item.to_avro() for item in self.seconds],
            "levels": [item.to_avro() for item in self.levels],
            "buckets": [item.to_avro() for item in self.buckets],
            "dropped": self.dropped,
        }

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                TEXTS[self.tenant],
                TEXTS[self.scope],
                TEXTS[self.subject],
                LONGS[self.latest_ms] if type(self.latest_ms) is int else long(self.latest_ms),
                mapped(self.applied, [LONGS[item] if type(item) is int else long(item) for item in self.applied.values()]),
                many([item.to_bytes() for item in self.seconds]) if self.seconds else b"\0",
                many([item.to_bytes() for item in self.levels]) if self.levels else b"\0",
                many([item.to_bytes() for item in self.buckets]) if self.buckets else b"\0",
                mapped(self.dropped, [LONGS[item] if type(item) is int else long(item) for item in self.dropped.values()]),
            )
        )
