//! W&B's SDK, as it comes from PyPI, does a run through the gateway: with a key, and with a JWT that it exchanges.

use crate::support::wandb::{Sdk, VERSIONS, WandbApp};

#[tokio::test]
async fn the_stand_in_is_enough_for_a_run() {
    for version in VERSIONS {
        let app = WandbApp::start().await;
        let key = format!("dwk_{}", "a".repeat(49));
        let (finished, output) = Sdk::new(version).run(&app.url(), ("WANDB_API_KEY", &key)).await;
        assert!(finished, "{version}: {output}");
        assert_eq!(app.losses(), [1.0, 0.5, 1.0 / 3.0], "{version}: {output}");
    }
}
