"""nginx, which sends the same text from a file and compresses it at level 1.

It has one process, as its peers have. Run with the folder of its files, and
with the sizes that will be asked for.
"""

import os
import socket
import sys
from pathlib import Path

from benchmarks.peers.global_gzip.text import text_of
from cookbook.cluster import find_nginx

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    keepalive_requests 1000000000;
    open_file_cache max=16;
    default_type text/plain;
    gzip on;
    gzip_comp_level 1;
    gzip_types text/plain;
    gzip_vary on;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
        location /text {{ try_files /text-$arg_size =404; }}
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for size in sys.argv[2:]:
        (folder / f"text-{size}").write_bytes(text_of(int(size)))
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port))
    executable = find_nginx()
    assert executable, "nginx is not installed"
    print(f"http://127.0.0.1:{port}", flush=True)
    arguments = [executable, "-c", str(configuration)]
    os.execv(executable, arguments)  # noqa: S606
