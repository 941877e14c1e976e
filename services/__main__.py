"""All services in one process, for small machines: `python -m services`. Between them there are still only topics."""

from daytwo.run import main
from services.alerter.build import build as alerter
from services.cache.build import build as cache
from services.cost_meter.build import build as cost_meter
from services.embedder.build import build as embedder
from services.inference_router.build import build as inference_router
from services.ingest.build import build as ingest
from services.retriever.build import build as retriever
from services.usage_windows.build import build as usage_windows

if __name__ == "__main__":
    main(ingest, cost_meter, embedder, cache, retriever, inference_router, usage_windows, alerter)
