from daytwo.run import main
from services.ingest.build import build

main(build)
