"""A worker process of the product with the handler of this package: `python -m chaos.run_worker [MUTANT] worker …`."""

from __future__ import annotations

import sys

from chaos import handler, mutants
from orchestrator.cli.main import main

if __name__ == "__main__":
    sys.modules["orchestrator.handlers.chaos"] = handler
    if sys.argv[1] in mutants.MUTANTS:
        mutants.MUTANTS[sys.argv.pop(1)]()
    main()
