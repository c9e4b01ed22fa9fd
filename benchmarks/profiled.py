"""Run a module as a program, and write where its CPU time went.

Run: `python -m benchmarks.profiled OUTPUT MODULE [ARGUMENT ...]`.
"""

import cProfile
import runpy
import sys
import time

if __name__ == "__main__":
    output, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    # Not the clock's time: the machine may do something else meanwhile.
    profiler = cProfile.Profile(time.process_time)
    try:
        profiler.runcall(runpy.run_module, module, run_name="__main__")
    finally:
        profiler.dump_stats(output)
