//! What one configuration does beside the requests.

use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::telemetry::metrics;

/// All of it; it ends when this is dropped.
pub struct Tasks(#[expect(dead_code, reason = "held, and dropped")] watch::Sender<bool>);

impl Tasks {
    /// Keeps fresh what `gateway` knows of the world outside.
    pub fn start(gateway: &Gateway) -> Tasks {
        let (stop, until) = watch::channel(false);
        for upstream in gateway.upstreams() {
            tokio::spawn(upstream.clone().keep_resolved(until.clone()));
        }
        let context = gateway.context();
        let (providers, shutdown) = (context.providers.clone(), until.clone());
        tokio::spawn(async move { providers.keep_fresh(shutdown).await });
        let (issuers, shutdown) = (context.programs.issuers.clone(), until.clone());
        tokio::spawn(async move { issuers.keep_fresh(shutdown).await });
        tokio::spawn(context.programs.accounts.clone().keep_fresh(until.clone()));
        if let Some(directory) = &context.directory {
            tokio::spawn(directory.clone().keep_checked(until));
        }
        Tasks(stop)
    }
}

/// What the metrics said of `old` is said of `new` from now on, and not at all of what there is no more.
pub fn succeed(old: &Gateway, new: &Gateway) {
    let (old, new) = (old.context(), new.context());
    // Its share of what only grows.
    old.programs.issuers.tell_metrics();
    for provider in old.providers.iter().filter(|provider| new.providers.get(provider.name()).is_none()) {
        let _ = metrics().provider_ready.remove_label_values(&[provider.name()]);
    }
    let still = |name: &str| new.programs.issuers.iter().any(|issuer| issuer.name == name);
    for issuer in old.programs.issuers.iter().filter(|issuer| !still(&issuer.name)) {
        let _ = metrics().issuer_ready.remove_label_values(&[issuer.name.as_str()]);
        let _ = metrics().issuer_keys_fetched.remove_label_values(&[issuer.name.as_str()]);
    }
    let directory = new.directory.as_ref().map(|directory| directory.name());
    if let Some(gone) = old.directory.as_ref().filter(|old| Some(old.name()) != directory) {
        let _ = metrics().directory_ready.remove_label_values(&[gone.name()]);
    }
}
