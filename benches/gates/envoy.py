"""Envoy with `jwt_authn`, with and without its cache of verified tokens."""

import json
import os

from gates.gate import Gate
from harness.processes import VENV

TYPES = "type.googleapis.com/envoy"


def extension(name, kind, **settings):
    return {"name": name, "typed_config": {"@type": f"{TYPES}.{kind}", **settings}}


class Envoy(Gate):
    def __init__(self, lab, cached_tokens):
        super().__init__(lab)
        self.cached_tokens = cached_tokens
        self.name = "Envoy with its cache" if cached_tokens else "Envoy without a cache"

    def address(self, port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def command(self):
        with open(self.lab.jwks) as f:
            provider = {
                "issuer": self.lab.issuer,
                "audiences": [self.lab.audience],
                "local_jwks": {"inline_string": f.read()},
                "claim_to_headers": [{"header_name": "x-forwarded-user", "claim_name": "sub"}],
            }
        if self.cached_tokens:
            provider["jwt_cache_config"] = {"jwt_cache_size": self.cached_tokens}
        filters = [
            extension(
                "envoy.filters.http.jwt_authn",
                "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                providers={"ci": provider},
                rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "ci"}}],
            ),
            extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router"),
        ]
        everything = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
        manager = extension(
            "envoy.filters.network.http_connection_manager",
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="gate",
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [everything]}]},
            http_filters=filters,
        )
        app = {"lb_endpoints": [{"endpoint": {"address": self.address(self.lab.app)}}]}
        configuration = {
            "static_resources": {
                "listeners": [{"address": self.address(self.port), "filter_chains": [{"filters": [manager]}]}],
                "clusters": [
                    {
                        "name": "app",
                        "connect_timeout": "5s",
                        "load_assignment": {"cluster_name": "app", "endpoints": [app]},
                    }
                ],
            }
        }
        path = self.write("envoy.json", json.dumps(configuration))
        # The wheel's own command is a script that replaces itself with the binary.
        return [os.path.join(VENV, "envoy"), "-c", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
