from daytwo.run import main
from services.usage_windows.build import build

main(build)
