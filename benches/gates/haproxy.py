"""HAProxy with `jwt_verify`. Issuer, audience and expiry are checked by hand, as its documentation has it: the converter
looks at the signature alone. `aud` is compared as one string; a list it cannot search."""

from gates.gate import Gate


class HAProxy(Gate):
    name = "HAProxy"

    def command(self):
        configuration = self.write(
            "haproxy.cfg",
            f"""
global
    nbthread 1
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend gate
    bind 127.0.0.1:{self.port}
    http-request del-header X-Forwarded-User
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request return status 401 unless {{ var(txn.alg) -m str RS256 }}
    http-request return status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {self.lab.issuer} }}
    http-request return status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {self.lab.audience} }}
    http-request return status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request return status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{self.lab.pem}") -m int 1 }}
    http-request del-header Authorization
    http-request set-header X-Forwarded-User %[var(txn.bearer),jwt_payload_query('$.sub')]
    default_backend app
backend app
    server app 127.0.0.1:{self.lab.app}
""",
        )
        return ["haproxy", "-db", "-f", configuration]
