"""Takes a share of a core until it is ended: `python3 -m benches.report.occupy 0.3`.

What is measured beside it has as much of the machine as what is measured beside a load generator.
"""

import sys
import time

SPIN_SECONDS_MAX = 0.002
REST_SECONDS = 0.001


def main(share):
    began = time.monotonic()
    while True:
        if time.process_time() < share * (time.monotonic() - began):
            until = time.process_time() + SPIN_SECONDS_MAX
            while time.process_time() < until:
                pass
        else:
            time.sleep(REST_SECONDS)


if __name__ == "__main__":
    main(float(sys.argv[1]))
