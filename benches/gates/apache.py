"""Apache with mod_auth_openidc as an OAuth 2.0 resource server that verifies JWTs with a key of its own disk."""

from gates.gate import Gate

MODULES = "/usr/lib/apache2/modules"


class Apache(Gate):
    name = "Apache mod_auth_openidc"

    def command(self):
        modules = "mpm_event authn_core authz_core authz_user headers proxy proxy_http auth_openidc"
        loads = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules.split())
        configuration = self.write(
            "apache.conf",
            f"""
{loads}
ServerRoot {self.lab.folder}
DefaultRuntimeDir {self.lab.folder}
PidFile {self.lab.folder}/apache-{self.port}.pid
ServerName 127.0.0.1
Listen 127.0.0.1:{self.port}
ErrorLog {self.lab.folder}/apache-errors.log
# Refused tokens are written at level error, which nobody would read at this rate.
LogLevel crit
# One worker process; its threads are as many as the connections, since each holds one while a request runs.
StartServers 1
ServerLimit 1
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
OIDCOAuthVerifyCertFiles {self.lab.key.kid}#{self.lab.pem}
OIDCOAuthRemoteUserClaim sub
ProxyPass / http://127.0.0.1:{self.lab.app}/
<Location />
    AuthType oauth20
    <RequireAll>
        Require claim iss:{self.lab.issuer}
        Require claim aud:{self.lab.audience}
    </RequireAll>
    RequestHeader unset Authorization
</Location>
""",
        )
        return ["apache2", "-f", configuration, "-D", "FOREGROUND"]
