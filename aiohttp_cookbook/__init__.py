"""The aiohttp cookbook as one package, which is all that the wheel holds.

Its parts import each other by the names that they have in the repository:
`app`, `cookbook` and `recipes`. So its folder comes first on `sys.path`, and a
reader's own `app.py` or `recipes/` is never run instead. Whoever imports the
package says so: it is a program, and no library.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).parent

# In the repository, they lie beside the package and not in it.
ROOT = _HERE if (_HERE / "app.py").exists() else _HERE.parent

sys.path.insert(0, str(ROOT))
