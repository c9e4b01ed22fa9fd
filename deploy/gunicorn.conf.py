"""What gunicorn runs with: `gunicorn --config deploy/gunicorn.conf.py`.

The environment names what differs from machine to machine.
"""

import os
from pathlib import Path

# A worker, and what tells it of a reload: it leaves when the new ones listen.
from cookbook.handover import Worker, on_reload  # noqa: F401

# The names that clients use, besides localhost.
allow_hosts = os.environ.get("ALLOW_HOSTS", "").split()
# The networks that nginx connects from. Nobody else is believed.
proxies = os.environ.get("PROXIES", "127.0.0.0/8 ::1/128").split()

# Jobs have a process of their own.
work_here = False

wsgi_app = (
    "app:for_gunicorn(trust_proxy=True, "
    f"{allow_hosts=!r}, {proxies=!r}, {work_here=!r})"
)
worker_class = Worker
# One for each core, or a few more where they wait for a database.
workers = int(os.environ.get("WEB_CONCURRENCY", "4"))

# Where only the proxy can connect.
bind = os.environ.get("BIND", "127.0.0.1:8081")
# aiohttp's worker listens again, with 128: what waits is never more.
backlog = 128

# A worker whose loop is blocked for so long is killed. A worker that drains is
# seen as blocked too, so this must be longer than its end takes, 23 s.
timeout = 40
# Also how long, at a reload, the old workers wait until the new ones listen.
graceful_timeout = 30

# The pulse of each worker is a file. On a disk that is slow, it blocks.
memory = Path("/dev/shm")  # noqa: S108 - a folder of it has a random name
worker_tmp_dir = str(memory) if memory.is_dir() else None

accesslog = "-"
# SIGHUP is all that we need of it.
control_socket_disable = True
