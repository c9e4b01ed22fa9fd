import subprocess
import sys
from pathlib import Path

name = "aiohttp.py"
# cure: name = "client.py"
Path(name).write_text("import aiohttp\n\nprint(aiohttp.ClientSession)\n")
subprocess.run([sys.executable, name], check=True)
