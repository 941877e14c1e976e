"""The same with nothing but Confluent's own client, as from any language: python examples/stock_client.py

pip install 'confluent-kafka[avro,schemaregistry]'
"""

import os
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

KAFKA = os.environ.get("DAYTWO_KAFKA", "127.0.0.1:9092")
REGISTRY = os.environ.get("DAYTWO_REGISTRY", "http://127.0.0.1:8081")

registry = SchemaRegistryClient({"url": REGISTRY})
schema = registry.get_latest_version("request-submitted-value").schema.schema_str
serialize = AvroSerializer(registry, schema, conf={"auto.register.schemas": False})
deserialize = AvroDeserializer(registry)

# Results are read from now on, so the reader takes its place before the request is sent.
consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": "not-used", "enable.auto.commit": False})
partitions = [TopicPartition("request-finished", n) for n in consumer.list_topics("request-finished").topics["request-finished"].partitions]
consumer.assign([TopicPartition(p.topic, p.partition, consumer.get_watermark_offsets(p)[1]) for p in partitions])

request_id = str(uuid.uuid4())
request = {"request_id": request_id, "tenant": "support", "messages": [{"role": "user", "content": "What does a consumer group do?"}]}
producer = Producer({"bootstrap.servers": KAFKA, "enable.idempotence": True})
value = serialize(request, SerializationContext("request-submitted", MessageField.VALUE))
producer.produce("request-submitted", key=f"support/{request_id}", value=value)
producer.flush(10)

for _ in range(90):
    message = consumer.poll(1.0)
    if message is None or dict(message.headers() or []).get("request-id") != request_id.encode():
        continue
    result = deserialize(message.value(), SerializationContext("request-finished", MessageField.VALUE))
    print(result["outcome"], result["reason"], result["message"] and result["message"]["content"])  # noqa: T201
    break
consumer.close()
