from daytwo.run import main
from services.cache.build import build

main(build)
