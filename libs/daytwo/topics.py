"""Every topic, as a constant; see docs/topics.md.

Generated from schemas/ by `make schemas`; do not edit.
"""

from __future__ import annotations

from typing import Any, Final

from daytwo.records import (
    AlertRaised,
    AnswerLearned,
    AttemptFinished,
    AttemptStarted,
    ChunkAccepted,
    ChunkEmbedded,
    ConfigurationChanged,
    CostCorrected,
    DeadLetter,
    DeploymentConfigured,
    DocumentFinished,
    DocumentSubmitted,
    LedgerOpened,
    MetricSampled,
    PriceConfigured,
    RequestAccepted,
    RequestAdmitted,
    RequestEmbedded,
    RequestFinished,
    RequestGrounded,
    RequestMissed,
    RequestSubmitted,
    RequestWaiting,
    TenantConfigured,
    ThrottlePublished,
    UsageRecorded,
    UsageWindowed,
    WindowsSaved,
)
from daytwo.topic import Topic

REQUEST_SUBMITTED: Final = Topic(
    name="request-submitted",
    record=RequestSubmitted,
    key=lambda record: f"{record.tenant}/{record.session or record.request_id}",
    schema_id=1,
    partitions=4,
    retention_hours=168,
    max_bytes=16777216,
    writers=("client", "orchestrator", ),
    readers=("ingest", ),
    why="What clients produce. One session's requests enter in their order; a large tenant spreads over partitions.",
)

REQUEST_ACCEPTED: Final = Topic(
    name="request-accepted",
    record=RequestAccepted,
    key=lambda record: f"{record.request.tenant}/{record.request.session or record.request.request_id}",
    schema_id=2,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("ingest", ),
    readers=("cost-meter", ),
    why="Only what is valid goes on; the audit counts from here.",
)

REQUEST_ADMITTED: Final = Topic(
    name="request-admitted",
    record=RequestAdmitted,
    key=lambda record: f"{record.request.tenant}/{record.request.session or record.request.request_id}",
    schema_id=43,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("cost-meter", ),
    readers=("embedder", "inference-router", "usage-windows", ),
    why="Money is reserved before it is spent. What needs neither vector nor cache nor passages the router reads here (header `not-for`).",
)

REQUEST_WAITING: Final = Topic(
    name="request-waiting",
    record=RequestWaiting,
    key=lambda record: f"{record.request.tenant}/{record.request.session or record.request.request_id}",
    schema_id=23,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("cost-meter", "cache", "inference-router", ),
    readers=("cost-meter", ),
    why="Requests at a limit wait here, not in memory, until there may be room. Those of one session may be overtaken meanwhile.",
)

REQUEST_EMBEDDED: Final = Topic(
    name="request-embedded",
    record=RequestEmbedded,
    key=lambda record: f"{record.request.tenant}/{record.question}",
    schema_id=44,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("embedder", ),
    readers=("cache", ),
    why="Equal questions in flight meet in one partition, so that one call answers them.",
)

REQUEST_MISSED: Final = Topic(
    name="request-missed",
    record=RequestMissed,
    key=lambda record: f"{record.request.tenant}/{record.request.session or record.request.request_id}",
    schema_id=45,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("cache", ),
    readers=("retriever", ),
    why="What has no cached answer and asks for passages; what asks for none goes straight to request-grounded.",
)

REQUEST_GROUNDED: Final = Topic(
    name="request-grounded",
    record=RequestGrounded,
    key=lambda record: f"{record.request.tenant}/{record.request.session or record.request.request_id}",
    schema_id=46,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("retriever", "cache", ),
    readers=("inference-router", ),
    why="What a model is to answer, with its passages if it asked for some.",
)

REQUEST_FINISHED: Final = Topic(
    name="request-finished",
    record=RequestFinished,
    key=lambda record: f"{record.tenant}/{record.session or record.request_id}",
    schema_id=47,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router", ),
    readers=("client", "ingest", "cost-meter", "cache", "usage-windows", "alerter", "orchestrator", "console", ),
    why="The end of every request. The first record of a request_id is its result.",
)

ATTEMPT_STARTED: Final = Topic(
    name="attempt-started",
    record=AttemptStarted,
    key=lambda record: f"{record.tenant}/{record.session or record.request_id}",
    schema_id=21,
    partitions=4,
    retention_hours=168,
    max_bytes=1048576,
    writers=("inference-router", ),
    readers=("ingest", "inference-router", "console", ),
    why="The journal of calls. Written before the call; partitioned as request-grounded, so that the owner of a partition reads its own.",
)

ATTEMPT_FINISHED: Final = Topic(
    name="attempt-finished",
    record=AttemptFinished,
    key=lambda record: f"{record.tenant}/{record.session or record.request_id}",
    schema_id=28,
    partitions=4,
    retention_hours=168,
    max_bytes=2097152,
    writers=("inference-router", ),
    readers=("inference-router", "console", ),
    why="The journal of calls. A finished attempt is answered from here and never bought again.",
)

DOCUMENT_SUBMITTED: Final = Topic(
    name="document-submitted",
    record=DocumentSubmitted,
    key=lambda record: f"{record.tenant}/{record.source}",
    schema_id=10,
    partitions=4,
    retention_hours=168,
    max_bytes=16777216,
    writers=("client", ),
    readers=("ingest", ),
    why="Documents to ground answers in. Versions of one source keep their order.",
)

CHUNK_ACCEPTED: Final = Topic(
    name="chunk-accepted",
    record=ChunkAccepted,
    key=lambda record: f"{record.tenant}/{record.source}",
    schema_id=11,
    partitions=4,
    retention_hours=168,
    max_bytes=1048576,
    writers=("ingest", ),
    readers=("embedder", ),
    why="Documents, cut to the size that is embedded and cited.",
)

CHUNK_EMBEDDED: Final = Topic(
    name="chunk-embedded",
    record=ChunkEmbedded,
    key=lambda record: f"{record.chunk.tenant}/{record.chunk.source}",
    schema_id=12,
    partitions=4,
    retention_hours=168,
    max_bytes=1048576,
    writers=("embedder", ),
    readers=("retriever", ),
    why="Chunks ready for the index.",
)

DOCUMENT_FINISHED: Final = Topic(
    name="document-finished",
    record=DocumentFinished,
    key=lambda record: f"{record.tenant}/{record.source}",
    schema_id=13,
    partitions=4,
    retention_hours=168,
    max_bytes=1048576,
    writers=("ingest", "embedder", "retriever", ),
    readers=("client", "console", ),
    why="The end of every document.",
)

TENANT_CONFIGURED: Final = Topic(
    name="tenant-configured",
    record=TenantConfigured,
    key=lambda record: f"{record.tenant}",
    schema_id=29,
    partitions=1,
    retention_hours=None,
    max_bytes=1048576,
    writers=("operator", ),
    readers=("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router", "usage-windows", "alerter", "console", ),
    why="Tenants, their keys, caps and policies, followed live. Holds signing secrets; allow only daytwo's services to read it.",
)

DEPLOYMENT_CONFIGURED: Final = Topic(
    name="deployment-configured",
    record=DeploymentConfigured,
    key=lambda record: f"{record.deployment}",
    schema_id=15,
    partitions=1,
    retention_hours=None,
    max_bytes=1048576,
    writers=("operator", ),
    readers=("cost-meter", "inference-router", "console", ),
    why="Which models are served where, followed live.",
)

PRICE_CONFIGURED: Final = Topic(
    name="price-configured",
    record=PriceConfigured,
    key=lambda record: f"{record.provider}/{record.model}/{record.valid_from_ms}",
    schema_id=30,
    partitions=1,
    retention_hours=None,
    max_bytes=1048576,
    writers=("operator", ),
    readers=("cost-meter", "console", ),
    why="Prices that genai-prices does not know or knows otherwise, dated.",
)

CONFIGURATION_CHANGED: Final = Topic(
    name="configuration-changed",
    record=ConfigurationChanged,
    key=lambda record: f"{record.topic}/{record.key}",
    schema_id=31,
    partitions=1,
    retention_hours=8784,
    max_bytes=1048576,
    writers=("operator", ),
    readers=("operator", "console", ),
    why="Who changed which cap, price or deployment, when, from what to what.",
)

USAGE_RECORDED: Final = Topic(
    name="usage-recorded",
    record=UsageRecorded,
    key=lambda record: f"{record.tenant}",
    schema_id=48,
    partitions=4,
    retention_hours=168,
    max_bytes=1048576,
    writers=("usage-windows", ),
    readers=("usage-windows", ),
    why="What was used, of one tenant in one partition, so that its windows are summed in one place.",
)

WINDOWS_SAVED: Final = Topic(
    name="windows-saved",
    record=WindowsSaved,
    key=lambda record: f"{record.tenant}/{record.scope}/{record.subject}",
    schema_id=38,
    partitions=4,
    retention_hours=None,
    max_bytes=1048576,
    writers=("usage-windows", ),
    readers=("usage-windows", ),
    why="The memory of usage-windows; in the partition of the tenant's usage-recorded, whatever the key.",
)

THROTTLE_PUBLISHED: Final = Topic(
    name="throttle-published",
    record=ThrottlePublished,
    key=lambda record: f"{record.tenant}/{record.scope}/{record.subject}/{record.kind}/{record.period}",
    schema_id=32,
    partitions=1,
    retention_hours=None,
    max_bytes=1048576,
    writers=("usage-windows", ),
    readers=("cost-meter", "console", ),
    why="Who is throttled until when, followed live by the gate.",
)

LEDGER_OPENED: Final = Topic(
    name="ledger-opened",
    record=LedgerOpened,
    key=lambda record: f"{record.ledger}/{record.number}",
    schema_id=49,
    partitions=1,
    retention_hours=None,
    max_bytes=1048576,
    writers=("cost-meter", ),
    readers=("cost-meter", "inference-router", "operator", ),
    why="A grant is good for the opening of the ledger that gave it. The router knows the latest before it buys on one.",
)

USAGE_WINDOWED: Final = Topic(
    name="usage-windowed",
    record=UsageWindowed,
    key=lambda record: f"{record.tenant}/{record.scope}/{record.subject}/{record.model}/{record.width}/{record.start_ms}",
    schema_id=33,
    partitions=4,
    retention_hours=2208,
    max_bytes=1048576,
    writers=("usage-windows", ),
    readers=("alerter", "operator", "console", ),
    why="Usage by time, kept longer than requests, so that this week can be held against the last eight.",
)

ALERT_RAISED: Final = Topic(
    name="alert-raised",
    record=AlertRaised,
    key=lambda record: f"{record.tenant}/{record.alert_id}",
    schema_id=34,
    partitions=1,
    retention_hours=2208,
    max_bytes=1048576,
    writers=("cost-meter", "alerter", ),
    readers=("cost-meter", "alerter", "operator", "console", ),
    why="Alerts and their ends. cost-meter learns from its own which bounds a provider has passed.",
)

COST_CORRECTED: Final = Topic(
    name="cost-corrected",
    record=CostCorrected,
    key=lambda record: f"{record.tenant}/{record.request_id}",
    schema_id=35,
    partitions=1,
    retention_hours=8784,
    max_bytes=1048576,
    writers=("operator", ),
    readers=("operator", "console", ),
    why="What repricing and reconciling found; added to the history, which stays as it was.",
)

ANSWER_LEARNED: Final = Topic(
    name="answer-learned",
    record=AnswerLearned,
    key=lambda record: f"{record.tenant}/{record.question}",
    schema_id=36,
    partitions=4,
    retention_hours=None,
    max_bytes=2097152,
    writers=("cache", ),
    readers=("cache", ),
    why="The memory of the cache; every instance rebuilds its index from it.",
)

DEAD_LETTER: Final = Topic(
    name="dead-letter",
    record=DeadLetter,
    key=lambda record: f"{record.topic}/{record.partition}/{record.offset}",
    schema_id=18,
    partitions=3,
    retention_hours=720,
    max_bytes=20971520,
    writers=("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router", "usage-windows", "alerter", ),
    readers=("operator", ),
    why="What can never be processed, with the reason and the original bytes.",
)

METRIC_SAMPLED: Final = Topic(
    name="metric-sampled",
    record=MetricSampled,
    key=lambda record: f"{record.service}/{record.instance}",
    schema_id=19,
    partitions=3,
    retention_hours=24,
    max_bytes=1048576,
    writers=("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router", "usage-windows", "alerter", ),
    readers=("console", "client", ),
    why="The metrics of every service as a stream, for dashboards that read topics.",
)

TOPICS: Final[tuple[Topic[Any], ...]] = (
    REQUEST_SUBMITTED,
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    REQUEST_WAITING,
    REQUEST_EMBEDDED,
    REQUEST_MISSED,
    REQUEST_GROUNDED,
    REQUEST_FINISHED,
    ATTEMPT_STARTED,
    ATTEMPT_FINISHED,
    DOCUMENT_SUBMITTED,
    CHUNK_ACCEPTED,
    CHUNK_EMBEDDED,
    DOCUMENT_FINISHED,
    TENANT_CONFIGURED,
    DEPLOYMENT_CONFIGURED,
    PRICE_CONFIGURED,
    CONFIGURATION_CHANGED,
    USAGE_RECORDED,
    WINDOWS_SAVED,
    THROTTLE_PUBLISHED,
    LEDGER_OPENED,
    USAGE_WINDOWED,
    ALERT_RAISED,
    COST_CORRECTED,
    ANSWER_LEARNED,
    DEAD_LETTER,
    METRIC_SAMPLED,
)

TOPIC_OF: Final[dict[type, Topic[Any]]] = {topic.record: topic for topic in TOPICS}
"""The topic a record belongs to: each record has exactly one."""

TOPIC_NAMED: Final[dict[str, Topic[Any]]] = {topic.name: topic for topic in TOPICS}
