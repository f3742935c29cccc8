//! Broken set-ups: what the provider's ID tokens are, when they are, and what they do not say.

use serde_json::{Value, json};

use crate::support::broken::{Deployment, FROM_THE_GATEWAY, Fault, PAGE};
use crate::support::forger::{Forger, Key, now};
use crate::support::person::Person;
use crate::support::provider::{Provider, User};
use crate::support::random_word;

const TOKEN: Fault<'static> = Fault { code: "", seen: "", change: "", part: FROM_THE_GATEWAY };

#[tokio::test]
async fn the_id_token_is_signed_with_the_client_secret() {
    let symmetric = json!({"id_token_signed_response_alg": "HS256"});
    let mut broken = Deployment::registered(Provider::complete(), symmetric).await;
    let fault = Fault { code: "DW-3302", seen: "HS256", change: "id_token_algorithms", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.id_token_algorithms", vec!["HS256"]).works(Deployment::signs_in).await;
}

/// A client whose ID tokens are encrypted, and the file with the key for them.
async fn encrypted() -> (Deployment, String) {
    let provider = Provider::complete();
    let key = provider.key("RSA").await;
    let metadata = json!({
        "id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A256GCM",
        "jwks": {"keys": [key.entry("for-the-gateway", "RSA-OAEP-256", "enc")]},
    });
    let mut deployment = Deployment::registered(provider, metadata).await;
    let file = deployment.file("decryption.pem", &key.private);
    (deployment, file)
}

#[tokio::test]
async fn the_id_token_is_encrypted_and_there_is_no_key() {
    let (mut broken, file) = encrypted().await;
    let fault = Fault { code: "DW-3311", seen: "RSA-OAEP-256", change: "decryption_key_file", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.decryption_key_file", file).works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_id_token_is_encrypted_to_another_key() {
    let (mut broken, file) = encrypted().await;
    let other = Provider::complete().key("RSA").await;
    let other = broken.file("other.pem", &other.private);
    broken.set("provider.decryption_key_file", other);
    let fault = Fault { code: "DW-3312", seen: "a key that is not ours", change: "decryption_key_file", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.decryption_key_file", file).works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_key_is_not_published() {
    let forger = Forger::start().await;
    forger.keys(json!({"keys": [Key::new("key-2").jwk()]}));
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3304", seen: "key-1", change: "key set", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    forger.publishes();
    broken.restarts().works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_id_token_is_for_another_client() {
    let forger = Forger::start().await;
    forger.claims(|claims| claims["aud"] = json!("the-registered-client"));
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3306", seen: "the-registered-client", change: "client_id", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.set("provider.client_id", "the-registered-client").works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_id_token_calls_its_issuer_otherwise() {
    let forger = Forger::start().await;
    let issuer = forger.issuer.clone();
    forger.claims(move |claims| claims["iss"] = json!(format!("{issuer}/tenant")));
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3305", seen: "/tenant", change: "issuer", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    forger.claims(|_| {});
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_id_token_is_of_yesterday() {
    let forger = Forger::start().await;
    forger.claims(|claims| (claims["iat"], claims["exp"]) = (json!(now() - 86_400), json!(now() - 85_800)));
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3307", seen: "the token was old", change: "old tokens", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    forger.claims(|_| {});
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn the_clock_of_the_gateway_is_a_day_ahead() {
    clock_of_the_gateway("+1d").await;
}

#[tokio::test]
async fn the_clock_of_the_gateway_is_an_hour_behind() {
    clock_of_the_gateway("-1h").await;
}

async fn clock_of_the_gateway(shift: &str) {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.clock(shift);
    let fault = Fault { code: "DW-3307", seen: "the provider's clock is", change: "clocks", part: "provider" };
    broken.refuses(fault, Deployment::signs_in).await;
    broken.config().env.clear();
    broken.works(Deployment::signs_in).await;
}

/// Somebody of the shared provider, whose claims a test can change.
async fn somebody(claims: Value) -> User {
    let user = User { name: Box::leak(random_word().into_boxed_str()), password: random_word() };
    says(&user, claims).await;
    user
}

/// What the provider says of `user` from now on.
async fn says(user: &User, claims: Value) {
    let all = json!({"name": user.name, "password": user.password, "claims": claims});
    Provider::shared().control("users", all).await;
}

#[tokio::test]
async fn a_rule_needs_groups_and_the_token_has_none() {
    let mut broken = Deployment::at(Provider::shared()).await;
    let emma = somebody(json!({"email": "emma@example.com", "roles": ["staff"]})).await;
    broken.add("[[route]]\npath = \"/reports\"\n[route.allow]\ngroups = [\"staff\"]\n");
    let fault = Fault { code: "DW-5003", seen: "groups", change: "claim", ..TOKEN };
    let signs_in = async |broken: &Deployment| broken.signs_in_as(&emma).await;
    broken.refuses(fault, signs_in).await;
    says(&emma, json!({"email": "emma@example.com", "groups": ["staff"]})).await;
    broken.works(signs_in).await;
}

#[tokio::test]
async fn a_rule_goes_by_an_address_that_is_not_verified() {
    let mut broken = Deployment::at(Provider::shared()).await;
    let emma = somebody(json!({"email": "emma@example.com", "email_verified": false})).await;
    broken.add("[[route]]\npath = \"/reports\"\n[route.allow]\nemail_domains = [\"example.com\"]\n");
    let fault = Fault { code: "DW-5002", seen: "", change: "Verify", ..TOKEN };
    let signs_in = async |broken: &Deployment| broken.signs_in_as(&emma).await;
    broken.refuses(fault, signs_in).await;
    says(&emma, json!({"email": "emma@example.com", "email_verified": true})).await;
    broken.works(signs_in).await;
}

#[tokio::test]
async fn the_groups_do_not_fit_into_the_session() {
    let mut broken = Deployment::at(Provider::shared()).await;
    let many: Vec<_> = (0..6000).map(|i| format!("group-{i:05}-{}", random_word())).collect();
    let emma = somebody(json!({"groups": many})).await;
    let fault = Fault { code: "DW-3401", seen: "headers.max_value_bytes is 8192", change: "fewer groups", ..TOKEN };
    let signs_in = async |broken: &Deployment| broken.signs_in_as(&emma).await;
    broken.refuses(fault, signs_in).await;
    says(&emma, json!({"groups": ["staff"]})).await;
    broken.works(signs_in).await;
}

#[tokio::test]
async fn the_groups_do_not_fit_into_a_header() {
    let mut broken = Deployment::at(Provider::shared()).await;
    let many = Provider::shared().user("many").clone();
    let person = Person::new();
    broken.works(async |broken| broken.signs_in_with(&person, Some(&many)).await).await;
    let asks = async |broken: &Deployment| person.fetch(&broken.url(PAGE)).await;
    broken.set("headers.max_value_bytes", "1KiB");
    let fault = Fault { code: "DW-5004", seen: "x-forwarded-groups", change: "headers.max_value_bytes", ..TOKEN };
    broken.refuses(fault, asks).await;
    broken.set("headers.max_value_bytes", "8KiB").works(asks).await;
}

#[tokio::test]
async fn a_claim_cannot_stand_in_a_header() {
    let mut broken = Deployment::at(Provider::shared()).await;
    broken.set("provider.user_claim", "preferred_username");
    let emma = somebody(json!({"preferred_username": "emma\tergal"})).await;
    let fault = Fault { code: "DW-3402", seen: "preferred_username", change: "claim", ..TOKEN };
    let signs_in = async |broken: &Deployment| broken.signs_in_as(&emma).await;
    broken.refuses(fault, signs_in).await;
    says(&emma, json!({"preferred_username": "emma"})).await;
    broken.works(signs_in).await;
}

#[tokio::test]
async fn the_code_is_not_taken() {
    let forger = Forger::start().await;
    forger.answers(|_, _| {
        (400, json!({"error": "invalid_grant", "error_description": "the code is too old"}).to_string())
    });
    let mut broken = Deployment::forged(&forger).await;
    let fault = Fault { code: "DW-3201", seen: "invalid_grant", change: "Start again", ..TOKEN };
    broken.refuses(fault, Deployment::signs_in).await;
    forger.claims(|_| {});
    broken.works(Deployment::signs_in).await;
}

#[tokio::test]
async fn a_renewal_is_refused() {
    let forger = Forger::start().await;
    let tokens = |attempt: &crate::support::forger::Attempt, key: &Key| {
        let id_token = key.token(&attempt.claims());
        json!({"access_token": "acce55", "token_type": "Bearer", "expires_in": 1, "refresh_token": "r3fresh", "id_token": id_token})
    };
    forger.answers(move |attempt, key| (200, tokens(attempt, key).to_string()));
    let mut broken = Deployment::forged(&forger).await;
    broken.add("[session]\nrefresh = true\nrefresh_ahead = \"60s\"\non_refresh_failure = \"sign_in\"\n");
    broken.start().await.ready().await;
    let person = broken.person();
    // The app is not reached on the way in, so that nothing is renewed yet.
    let asked = person.open(&broken.url("/oidc/login?return_to=/public/x")).await;
    person.follow(asked).await.expect(200);
    forger.answers(|_, _| (400, json!({"error": "invalid_grant"}).to_string()));
    let fault = Fault { code: "DW-4101", seen: "invalid_grant", change: "Sign in again", ..TOKEN };
    broken.refuses(fault, async |broken| person.fetch(&broken.url(PAGE)).await).await;
    forger.claims(|_| {});
    broken.works(async |broken| broken.signs_in_with(&person, None).await).await;
}
