//! The forger's page of `form_post`: what a provider posts through the browser, when it lies.

use serde_json::{Value, json};

use super::forger::{Attempt, Forger, Key};
use super::gateway::Gateway;
use super::person::{Answer, Person};

/// The pairs of a form.
pub type Fields = Vec<(String, String)>;

/// `c_hash` of `code` for ES256 (OpenID Connect Core §3.3.2.11).
pub fn code_hash(code: &str) -> String {
    use base64::Engine;
    let whole = ring::digest::digest(&ring::digest::SHA256, code.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&whole.as_ref()[..16])
}

impl Attempt {
    /// What was sent as `name` with the authorization request.
    pub fn asked(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The claims of a proper ID token that comes with the code `c0de`.
    pub fn hybrid_claims(&self) -> Value {
        let mut claims = self.claims();
        claims["c_hash"] = json!(code_hash("c0de"));
        claims
    }

    /// A proper response with what `response_type` asks for; `claims` are those of the ID token.
    pub fn granted(&self, key: &Key, claims: &Value) -> Fields {
        let kinds = self.asked("response_type").unwrap_or_default();
        let mut fields = self.response();
        if !kinds.split(' ').any(|kind| kind == "code") {
            fields.retain(|(name, _)| name != "code");
        }
        if kinds.split(' ').any(|kind| kind == "id_token") {
            fields.push(("id_token".into(), key.token(claims)));
        }
        fields
    }
}

impl Attempt {
    /// A refusal in these words (RFC 6749 §4.1.2.1).
    pub fn error(&self, error: &str, description: &str) -> Fields {
        let mut fields = self.response();
        fields.retain(|(name, _)| name != "code");
        fields.extend([("error".into(), error.into()), ("error_description".into(), description.into())]);
        fields
    }
}

impl Forger {
    /// The claims of the posted ID token from now on, changed by `change` and signed properly.
    pub fn posted_claims(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.responds_signed(move |attempt, key| {
            let mut claims = attempt.hybrid_claims();
            change(&mut claims);
            attempt.granted(key, &claims)
        });
    }
}

/// A page with a form that is sent as soon as it is shown.
pub fn form_page(action: &str, fields: &Fields) -> String {
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    let inputs: String = fields
        .iter()
        .map(|(name, value)| {
            format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">\n", escaped(name), escaped(value))
        })
        .collect();
    format!(
        "<!doctype html><title>provider</title><meta name=\"referrer\" content=\"no-referrer\">\
         <form method=\"post\" action=\"{}\">\n{inputs}<button type=\"submit\">go</button></form>\
         <script>document.forms[0].submit()</script>",
        escaped(action)
    )
}

/// A sign-in up to the forger's page with the form.
pub async fn to_form(person: &Person, gateway: &Gateway) -> Answer {
    let start = person.open(&gateway.url("/page")).await;
    person.open(start.location().unwrap_or_else(|| panic!("{}", start.text())).as_str()).await
}

/// One whole sign-in that is posted: what the callback answers at last.
pub async fn posted_trip(person: &Person, gateway: &Gateway) -> Answer {
    let form = to_form(person, gateway).await;
    post_twice(person, &form).await
}

/// Sends the provider's form, and the gateway's own where it answers with one.
pub async fn post_twice(person: &Person, form: &Answer) -> Answer {
    let first = person.submit(form).await;
    match first.text().contains("doorward_bounced") {
        true => person.submit(&first).await,
        false => first,
    }
}
