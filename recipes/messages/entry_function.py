import subprocess
import sys

subprocess.run([sys.executable, "-m", "aiohttp.web", "module.make_app"])
