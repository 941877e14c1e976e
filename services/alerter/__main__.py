from daytwo.run import main
from services.alerter.build import build

main(build)
