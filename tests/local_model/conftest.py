import pytest


@pytest.fixture(autouse=True)
def _parts_for_stack_tests() -> None:
    """Overrides the fixture of the same name above: the model stands alone and needs no Kafka, Redis or Milvus."""
