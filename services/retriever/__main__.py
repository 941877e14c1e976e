from daytwo.run import main
from services.retriever.build import build

main(build)
