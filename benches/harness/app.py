"""The app behind what is measured: nginx with one worker and one short answer."""

import os

from harness.processes import free_port


def start_app(processes, body):
    """Starts it and returns its port; `body` may hold nginx variables."""
    folder, port = processes.folder, free_port()
    temporary = " ".join(
        f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as f:
        f.write(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; large_client_header_buffers 4 16k; {temporary}
    server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "{body}"; }} }}
}}
""")
    processes.start("app", "nginx", "-c", path, port=port)
    return port
