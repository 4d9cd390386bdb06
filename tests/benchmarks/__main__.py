from tests.benchmarks.harness import main
from tests.benchmarks.suites import SUITES

raise SystemExit(main(SUITES))
