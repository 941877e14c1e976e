"""What is fuzzed: functions of bytes that raise where a promise is broken. Atheris and Hypothesis call the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.fuzz.targets import answers, configuration, embedding, ingest, provider, readers, registry_view, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`seeds` gives valid inputs. `examples`: how many Hypothesis tries in a plain test; slow targets get fewer."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    examples: int = 400


TARGETS: Final = {
    "codec": Target(run=wire.codec, seeds=wire.codec_seeds, examples=1000),
    "avro-reader": Target(run=wire.avro_reader, seeds=wire.avro_reader_seeds, examples=1000),
    "strict-avro": Target(run=wire.strict_avro, seeds=wire.strict_avro_seeds, examples=1000),
    "registry": Target(run=registry_view.registry, seeds=registry_view.registry_seeds),
    "door": Target(run=ingest.door, seeds=ingest.door_seeds),
    "splitting": Target(run=ingest.splitting, seeds=ingest.splitting_seeds),
    "signature": Target(run=ingest.signature, seeds=ingest.signature_seeds),
    "configuration": Target(run=configuration.configuration, seeds=configuration.configuration_seeds, examples=200),
    "answer": Target(run=answers.answer, seeds=answers.answer_seeds),
    "retry-after": Target(run=answers.retry_after, seeds=answers.retry_after_seeds),
    "provider": Target(run=provider.provider, seeds=provider.provider_seeds, examples=60),
    "embedding": Target(run=embedding.embedding, seeds=embedding.embedding_seeds),
    "client": Target(run=readers.client, seeds=readers.client_seeds),
    "command": Target(run=readers.command, seeds=readers.command_seeds, examples=150),
    "shown-letter": Target(run=readers.shown_letter, seeds=readers.shown_letter_seeds, examples=60),
}
