//! Where a route is attacked: by a request that this route governs, and no more specific one.

use crate::config::model::{Route, Settings};

/// What a route for every method is tried with; the first is what people send.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// For routes that others cover at the public host: nobody's (RFC 2606 §2), and none of those that are forged.
const OTHER_HOST: &str = "doorward-doctor.invalid";

/// Where a request is sent.
#[derive(Clone, Debug)]
pub struct Aim {
    pub method: String,
    pub host: String,
    pub path: String,
}

/// The first of the requests that match `route` of which `governs` says that the route governs it. Fails with why there is
/// none.
pub fn aim(settings: &Settings, route: &Route, governs: impl Fn(&Aim) -> bool) -> Result<Aim, &'static str> {
    let methods = methods(route);
    if methods.is_empty() {
        return Err("no method of it has an answer that shows what the app saw");
    }
    let (hosts, paths) = (hosts(settings, route), paths(route));
    let mut all = hosts.iter().flat_map(|host| {
        let by_path = |path| methods.iter().map(move |method| (method, host, path));
        paths.iter().flat_map(by_path).collect::<Vec<_>>()
    });
    let aims = &mut all;
    let found = aims
        .map(|(method, host, path)| Aim { method: (*method).to_owned(), host: host.clone(), path: path.clone() })
        .find(governs);
    found.ok_or("more specific routes govern each request that was made up for it")
}

fn methods(route: &Route) -> Vec<&str> {
    let mut methods: Vec<&str> = route.methods.iter().map(|method| method.0.as_str()).collect();
    if methods.is_empty() {
        return METHODS.into();
    }
    // What has no body in its answer tells nothing.
    methods.retain(|method| !matches!(*method, "HEAD" | "CONNECT"));
    methods.sort_by_key(|method| *method != "GET");
    methods
}

fn hosts(settings: &Settings, route: &Route) -> Vec<String> {
    let url = &settings.public_url;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let names = match &route.host {
        Some(host) => vec![host.as_str()],
        None => vec![url.host_str().unwrap_or_default(), OTHER_HOST],
    };
    names.into_iter().map(|name| format!("{name}{port}")).collect()
}

fn paths(route: &Route) -> Vec<String> {
    if let Some(exact) = &route.exact {
        return vec![exact.clone()];
    }
    let prefix = route.path.as_deref().unwrap_or_default().trim_end_matches('/');
    vec![format!("{prefix}/doorward-doctor"), format!("{prefix}/")]
}
