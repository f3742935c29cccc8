//! What one configuration does beside the requests.

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gateway::Gateway;
use crate::telemetry::metrics;

/// All of it; it ends when this is dropped.
pub struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Tasks {
    /// Keeps fresh what `gateway` knows of the world outside.
    pub fn start(gateway: &Gateway) -> Tasks {
        let (stop, until) = watch::channel(false);
        let mut running = JoinSet::new();
        for upstream in gateway.upstreams() {
            running.spawn(upstream.clone().keep_resolved(until.clone()));
        }
        let context = gateway.context();
        let (providers, shutdown) = (context.providers.clone(), until.clone());
        running.spawn(async move { providers.keep_fresh(shutdown).await });
        let (issuers, shutdown) = (context.programs.issuers.clone(), until.clone());
        running.spawn(async move { issuers.keep_fresh(shutdown).await });
        running.spawn(context.programs.accounts.clone().keep_fresh(until.clone()));
        if let Some(directory) = &context.directory {
            running.spawn(directory.clone().keep_checked(until));
        }
        Tasks { stop, running }
    }

    /// Ends all of it; afterwards nothing of it says anything more.
    pub async fn end(&mut self) {
        self.stop.send_replace(true);
        while self.running.join_next().await.is_some() {}
    }
}

/// What the metrics said of `old` is said of `new` from now on, and not at all of what there is no more. What `old` kept of
/// tokens and passwords is let go of, and so are its idle connections: a single long request can hold it for days.
pub fn succeed(old: &Gateway, new: &Gateway) {
    let (old, new) = (old.context(), new.context());
    old.programs.issuers.retire();
    old.programs.passwords.iter().for_each(|passwords| passwords.forget());
    old.directory.iter().for_each(|directory| directory.retire());
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
