"""The gateway itself, and the proxy library with nothing on top: the yardstick of the comparison."""

import os
import secrets

from gates.gate import Gate
from harness.processes import TARGET, free_port


class PlainPingora(Gate):
    """Same library, build, allocator, listener and pool as the gateway (examples/plain_proxy.rs). It guards nothing."""

    name = "plain pingora"

    def command(self):
        return [f"{TARGET}/examples/plain_proxy", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.lab.app}", "1"]

    def verify(self):
        pass


class Doorward(Gate):
    """With metrics and access log on, as anywhere; the log goes to a file."""

    def __init__(self, lab, name="doorward", cache="32MiB", access_log=True):
        super().__init__(lab)
        self.name, self.cache, self.access_log = name, cache, access_log

    def command(self):
        configuration = self.write(
            "gateway.toml",
            f"""
public_url = "http://127.0.0.1:{self.port}"
secrets = ["{secrets.token_hex(24)}"]
listen.address = "127.0.0.1:{self.port}"
listen.threads = 1
admin.address = "127.0.0.1:{free_port()}"
log.access = {str(self.access_log).lower()}
log.audit = {str(self.access_log).lower()}
[bearer]
cache_bytes = "{self.cache}"
[[issuer]]
name = "ci"
issuer = "{self.lab.issuer}"
jwks_file = "{self.lab.jwks}"
audiences = ["{self.lab.audience}"]
[[upstream]]
url = "http://127.0.0.1:{self.lab.app}"
[[route]]
path = "/api"
access = "bearer"
[[route]]
path = "/public"
access = "public"
""",
        )
        os.chmod(configuration, 0o600)
        return [f"{TARGET}/doorward", "run", "--config", configuration]
