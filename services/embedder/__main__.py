from daytwo.run import main
from services.embedder.build import build

main(build)
