"""`python -m daytwo.cli`"""

from daytwo.cli import main

main()
