//! Reasons of the console: hundred ninety-one.

/// Puts its rows behind those that it gets, and hands them on to `$then`.
macro_rules! console {
    ($then:ident $($later:ident)*; $($table:tt)*) => { $then! { $($later)*; $($table)*
        ConsoleHost = "DW-9101", 421, Admin, "The console is not reached by this name",
            "The request names a host that is no address, not `localhost` and none that the gateway serves. Names of others can be made to lead here, and their pages would then read the console.",
            "Open the console at the address of `admin.address`, or through a route of the gateway at `public_url` or at the `host` of that route.";
        ConsoleElsewhere = "DW-9102", 403, Admin, "The console is not shown to other machines",
            "The listener of `admin.address` does not ask who somebody is. Other machines get metrics and health from it, and nothing else.",
            "Open the console on the gateway's own host, or through a route of the gateway that `allow` keeps for admins.";
        ConsoleCrossSite = "DW-9103", 403, Attacker, "The form came from another site",
            "The browser says that a page of another site sent it, or does not say that it was a page of the console; or a program sent it that does not say that it means the console.",
            "Open the console and press the button there; let a program send `X-Doorward-Console: 1`.";
        ConsoleForm = "DW-9104", 400, Admin, "The form cannot be read",
            "It is larger than 64 KiB, came too slowly, or is no form (`application/x-www-form-urlencoded`).",
            "Send it from the console's own page.";
        ConsolePage = "DW-9105", 404, Admin, "The console has no such page",
            "The admin listener has nothing at this address.",
            "Go to the console's first page. Programs find `/metrics`, `/healthz`, `/readyz`, `/refusals.json`, `/doctor.json`, `/bundle.json`, `/record.json` and `/explain/REFERENCE.json`.";
        ConsoleMethod = "DW-9106", 405, Admin, "This page is not asked for in that way",
            "The admin listener takes GET and HEAD, and POST where there is a form.",
            "Open the page, and press its button where it has one.";
        ConsoleBusy = "DW-9107", 409, Admin, "An examination is under way",
            "One examination runs at a time.",
            "Wait until it has ended, and ask for its result then.";
        ConsoleOpen = "DW-9108", 0, Admin, "A route leads people who are no admins to the console",
            "The route's upstream is the gateway's own admin listener, and the route is public or for everybody who is signed in.",
            "Set `allow` of the route to the admins, or take the route away.";
        ConsoleProxied = "DW-9109", 403, Admin, "The console is not shown through this proxy",
            "The request says that it was forwarded (`Forwarded`, `Via`, `X-Forwarded-For`, `X-Real-IP` and the like), is HTTP/1.0, which proxies speak and browsers do not, or asks for a host that leads to this address through a proxy alone (that of `public_url` or of a route, or an address of another machine); and what brought it is no route of this gateway that `allow` keeps for chosen people: another proxy, or a route whose app has become the console since the gateway looked.",
            "Open the console on the gateway's own host as `localhost` or `127.0.0.1`, without a proxy, or through a route of the gateway with `allow` set to the admins.";
    } };
}
