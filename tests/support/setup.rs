//! The usual scene: the shared provider, an echoing app, and a gateway with a public and a signed-in part.

use serde_json::json;

use super::app::App;
use super::gateway::{Config, Gateway};
use super::provider::{Client, Provider};

/// Gateway, app and provider that belong together.
pub struct Scene {
    pub gateway: Gateway,
    pub app: App,
    pub provider: Provider,
    pub client: Client,
}

/// Routes of the usual scene: everything for the signed-in, `/public` for everybody.
pub const ROUTES: &str = r#"
[[route]]
path = "/"
access = "signed-in"

[[route]]
path = "/public"
access = "public"
"#;

/// The `[[provider]]` table for a client of `provider`; the caller may append keys.
pub fn provider_table(provider: &Provider, client: &Client) -> String {
    format!(
        "[[provider]]\nissuer = {:?}\nclient_id = {:?}\nclient_secret = {:?}\n",
        provider.issuer(),
        client.id,
        client.secret
    )
}

/// The `[[upstream]]` table for an address.
pub fn upstream_table(url: &str) -> String {
    format!("[[upstream]]\nurl = {url:?}\n")
}

/// The usual scene.
pub async fn scene() -> Scene {
    scene_with("", "").await
}

/// The usual scene with further keys of `[[provider]]` and further tables.
pub async fn scene_with(provider_keys: &str, tables: &str) -> Scene {
    scene_at(Provider::shared(), Config::new(), provider_keys, &format!("{ROUTES}{tables}")).await
}

/// A scene at another provider, with routes and tables of the caller's.
pub async fn scene_at(provider: Provider, config: Config, provider_keys: &str, tables: &str) -> Scene {
    let app = App::start().await;
    let client = provider.register(&config.public_url, json!({})).await;
    let config = config
        .add(&format!("{}{provider_keys}\n", provider_table(&provider, &client)))
        .add(&upstream_table(&app.url()))
        .add(tables);
    let gateway = config.start().await;
    gateway.ready().await;
    Scene { gateway, app, provider, client }
}

/// A gateway before `app_url` whose provider never answers: enough for everything that needs no sign-in.
pub async fn gateway_before(app_url: &str, tables: &str) -> Gateway {
    let tables = if tables.contains("[[route]]") { tables.to_owned() } else { format!("{ROUTES}{tables}") };
    Config::new()
        .add("[[provider]]\nissuer = \"http://127.0.0.2:9\"\nclient_id = \"nobody\"\n")
        .add(&upstream_table(app_url))
        .add(&tables)
        .start()
        .await
}
