import subprocess
import sys

subprocess.run([sys.executable, "-S", "-c", "import aiohttp"], check=True)
# cure: subprocess.run([sys.executable, "-c", "import aiohttp"], check=True)
