"""The loop that takes records in bulk, on the broker in memory and on real Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from daytwo.broker import Broker, Raw
from daytwo.codec import decode
from daytwo.errors import RetryableError
from daytwo.flow import Output
from daytwo.topics import REQUEST_SUBMITTED
from tests.libs.builders import Bench, accepted, submitted, until


class Taker:
    """Writes what was submitted again as accepted; fails over what it is told to."""

    def __init__(self, bench: Bench, poison: str = "") -> None:
        self._bench = bench
        self._poison = poison
        self.taken: list[str] = []
        self.busy = 2
        """How often it is not ready yet."""

    async def take(self, raws: Sequence[Raw]) -> Sequence[Output]:
        if self.busy:
            self.busy -= 1
            raise RetryableError("store_unavailable", "not yet")
        records = [decode(REQUEST_SUBMITTED, raw.value or b"") for raw in raws]
        ours = [record for record in records if record.tenant == self._bench.tenant]
        if any(record.request_id == self._poison for record in ours):
            raise ValueError("poison")
        self.taken += [record.request_id for record in ours]
        return [accepted(record) for record in ours]


async def test_what_is_taken_in_bulk_is_written_and_committed_and_not_read_again(broker: Broker) -> None:
    bench = Bench(broker)
    taker = Taker(bench)
    service = bench.service(handle_bulk=taker.take)
    async with bench.running(service):
        await bench.submit(*[submitted(f"r-{number}", bench.tenant, f"s-{number % 7}") for number in range(50)])
        assert len(await bench.records("request-accepted", 50)) == 50
    async with bench.running(service):
        await bench.submit(submitted("last", bench.tenant))
        await until(lambda: "last" in taker.taken)
    assert sorted(taker.taken) == sorted([*(f"r-{number}" for number in range(50)), "last"])


async def test_one_that_cannot_be_taken_is_a_dead_letter_and_the_others_are_taken(broker: Broker) -> None:
    bench = Bench(broker)
    taker = Taker(bench, poison="r-2")
    async with bench.running(bench.service(handle_bulk=taker.take)):
        await bench.submit(*[submitted(f"r-{number}", bench.tenant, "s") for number in range(5)])
        (letter,) = await bench.records("dead-letter", 1)
        assert len(await bench.records("request-accepted", 4)) == 4
    assert (letter.reason, letter.detail) == ("internal_error", "ValueError('poison')")
    assert taker.taken == ["r-0", "r-1", "r-3", "r-4"]
