from daytwo.run import main
from services.inference_router.build import build

main(build)
