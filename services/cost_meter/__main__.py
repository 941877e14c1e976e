from daytwo.run import main
from services.cost_meter.build import build

main(build)
