//! A failure while running names its cause: the code, what was seen, and the remedy that mends it, on the page, in the JSON, in
//! the log line and among the refusals that the admin listener keeps.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::forger::{Attempt, Forger, Key, forged, now, trip};
use crate::support::gateway::{Config, Gateway};
use crate::support::person::{Answer, Person};
use crate::support::raw::{exchange, get};
use crate::support::setup::{ROUTES, upstream_table};
use crate::support::{eventually, free_port};

/// The page as its words are read.
fn read(answer: &Answer) -> String {
    let text = answer.text().replace("<code>", "`").replace("</code>", "`");
    text.replace("&#39;", "'").replace("&quot;", "\"").replace("&#34;", "\"")
}

/// The refusal is `code`; the page says `shown`, its log line and the kept refusal, found by its reference, say `seen`.
async fn named(gateway: &Gateway, answer: &Answer, code: &str, shown: &[&str], seen: &[&str]) {
    assert_eq!(answer.reason(), code, "{} {}", answer.status, answer.text());
    let (page, reference) = (read(answer), answer.reference());
    for words in shown {
        assert!(page.contains(words), "wanted {words:?} on the page:\n{page}");
    }
    let mut wanted = vec![code, &reference];
    wanted.extend(seen);
    gateway.log_line(&wanted).await;
    let kept = eventually(&format!("{code} {reference} among the refusals"), || async {
        let refusals = reqwest::get(gateway.admin_url("/refusals.json")).await.expect("an answer").text().await;
        let refusals: Value = serde_json::from_str(&refusals.expect("a body")).expect("JSON");
        let group = refusals.as_array()?.iter().find(|group| group["code"] == code)?;
        group["last"].as_array()?.iter().find(|one| one["reference"] == reference.as_str()).cloned()
    })
    .await;
    let detail = kept["detail"].as_str().unwrap_or_default();
    for words in seen {
        assert!(detail.contains(words), "wanted {words:?} in {kept}");
    }
    let remedy = kept["remedy"].as_str().unwrap_or_default();
    assert!(page.contains(remedy), "the page has another remedy than {remedy:?}:\n{page}");
}

/// A `state` of the gateway's form, of a sign-in that began `age` seconds ago.
fn state(age: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros() as u64;
    format!("{:014x}abcdefgh.{}", since - age * 1_000_000, "r".repeat(43))
}

#[tokio::test]
async fn an_answer_without_its_cookie_says_the_likeliest_cause() {
    let (forger, _app, gateway) = forged("").await;
    // Begun at the public URL, and answered to another name of the same machine.
    let person = Person::new();
    let begun = person.open(&gateway.url("/page")).await;
    let back = person.open(begun.location().expect("the provider").as_str()).await.location().expect("the callback");
    let elsewhere = back.as_str().replace("127.0.0.1", "localhost");
    let answer = person.open(&elsewhere).await;
    let public = gateway.config.public_url.trim_end_matches('/').to_owned();
    let both = format!("The answer came to `localhost`, and `public_url` is `{public}`.");
    named(&gateway, &answer, "DW-3120", &[&both, "Open the address in `public_url`"], &["cookie"]).await;
    // Where it belongs it is taken, and then it is over.
    person.open(back.as_str()).await.expect(303);
    let other = Person::new();
    named(&gateway, &other.open(back.as_str()).await, "DW-3123", &["was taken here before"], &[]).await;

    let address = |age: u64| gateway.url(&format!("/oidc/callback?code=c&state={}", state(age)));
    named(
        &gateway,
        &other.open(&address(5)).await,
        "DW-3122",
        &["Not one cookie came", "Allow cookies"],
        &["Not one cookie"],
    )
    .await;
    // A day and an hour, and what the way from here to there takes.
    named(&gateway, &other.open(&address(90_000)).await, "DW-3104", &["`sign_in.attempt_lifetime`"], &["started 900"])
        .await;
    other.open(&gateway.url("/page")).await;
    named(&gateway, &other.open(&address(5)).await, "DW-3103", &["not that of this sign-in"], &["the gateway's"]).await;
    // What somebody made up says nothing of anybody's cookies.
    for made_up in ["somebody-elses", "x", "abc.def", "0123456789abcdefghijkl.short"] {
        let strange = Person::new().open(&gateway.url(&format!("/oidc/callback?code=c&state={made_up}"))).await;
        named(&gateway, &strange, "DW-3103", &["something else began the sign-in"], &["not one cookie came"]).await;
    }
    assert_eq!(forger.token_requests(), 1);
}

#[tokio::test]
async fn an_answer_over_http_to_a_gateway_of_https_says_so() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let mut config = forger.config(&app.url(), "");
    config.public_url = config.public_url.replace("http:", "https:");
    let gateway = config.start().await;
    let accept = "Accept: text/html\r\nX-Forwarded-Proto: http\r\n";
    let reply = exchange(gateway.address(), get(&format!("/oidc/callback?code=c&state={}", state(5)), accept)).await;
    let reply = reply.expect("an answer");
    assert!(reply.text().contains("DW-3121") && reply.text().contains("X-Forwarded-Proto"), "{}", reply.text());
}

#[tokio::test]
async fn somebody_at_another_port_than_the_public_url_s_reads_both_before_leaving() {
    let (forger, app) = (Forger::start().await, App::start().await);
    let mut config = forger.config(&app.url(), "");
    let other = free_port();
    config.public_url = format!("http://127.0.0.1:{other}");
    let gateway = config.start().await;
    gateway.ready().await;
    let reached = format!("http://{}", gateway.address());
    let answer = Person::new().open(&format!("{reached}/page?q=1")).await;
    let both = format!("You came to `{}`, and `public_url` is `http://127.0.0.1:{other}`.", gateway.address());
    named(&gateway, &answer, "DW-3120", &[&both], &["public_url"]).await;
    assert!(answer.text().contains(&format!("href=\"http://127.0.0.1:{other}/oidc/login?")), "{}", answer.text());
    // What stands in front may write its own port into Host, and says that it is there.
    let relayed = format!(
        "Host: {}\r\nX-Forwarded-Proto: http\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n",
        gateway.address()
    );
    let request = format!("GET /page HTTP/1.1\r\n{relayed}\r\n");
    assert_eq!(exchange(gateway.address(), request).await.expect("an answer").status, 303);
}

#[tokio::test]
async fn a_callback_that_no_sign_in_of_ours_led_to_says_where_to_start() {
    let (_forger, _app, gateway) = forged("").await;
    for query in ["code=c0de", "code=c0de&state="] {
        let answer = Person::new().open(&gateway.url(&format!("/oidc/callback?{query}"))).await;
        named(&gateway, &answer, "DW-3101", &["Start at the front page", "`/oidc/login`"], &["`state`"]).await;
    }
    let refused = "error=invalid_request&error_description=AADSTS900144%3A+The+request+body+must+contain";
    let answer = Person::new().open(&gateway.url(&format!("/oidc/callback?{refused}"))).await;
    named(&gateway, &answer, "DW-3101", &["`authorization_params`"], &["AADSTS900144", "no `state`"]).await;
}

#[tokio::test]
async fn what_a_provider_sends_back_as_an_error_is_a_cause_with_its_own_remedy() {
    let (forger, _app, gateway) = forged("").await;
    let redirect = format!("Register `{}`", gateway.url("/oidc/callback"));
    for (error, description, code, shown) in [
        ("invalid_request", "AADSTS50011: The redirect URI …", "DW-3126", redirect.as_str()),
        ("unauthorized_client", "AADSTS700016: Application with identifier …", "DW-3127", "Application (client) ID"),
        ("unsupported_response_type", "", "DW-3125", "`auth_method`"),
        ("unauthorized_client", "The client is not allowed response type `code`", "DW-3125", "`OIDC_AUTH_METHOD`"),
        ("invalid_scope", "", "DW-3128", "`scopes`"),
        ("access_denied", "AADSTS50105: The signed in user …", "DW-3129", "Assign the person"),
        ("consent_required", "AADSTS65001: The user or administrator …", "DW-3130", "Grant admin consent"),
        ("login_required", "", "DW-3131", "Take `prompt = \"none\"`"),
        ("interaction_required", "AADSTS53000: Device is not in required state", "DW-3132", "compliant"),
    ] {
        forger.responds(move |attempt| {
            let mut pairs: Vec<_> = attempt.response().into_iter().filter(|(name, _)| name != "code").collect();
            pairs.extend([("error".into(), error.into()), ("error_description".into(), description.into())]);
            pairs
        });
        let answer = trip(&Person::new(), &gateway).await;
        named(&gateway, &answer, code, &[shown], &[error, description.split(':').next().unwrap_or_default()]).await;
        assert!(!answer.text().contains("AADSTS"), "the provider's own words are for the log");
    }
    let line = gateway.log_line(&["DW-3126", " access "]).await;
    assert!(line.contains("remedy=") && line.contains("provider="), "{line}");
}

#[tokio::test]
async fn what_is_wrong_with_the_client_s_secret_is_told_apart() {
    let app = App::start().await;
    const BARE: &str = r#"{"error":"invalid_client"}"#;
    const LARK: &str = r#"{"error":"invalid_request","error_description":"Only support one client credential way"}"#;
    for (keys, status, body, code, shown) in [
        ("client_secret = \"the-client\"\n", 401, BARE, "DW-3209", "the same as `client_id`"),
        ("", 401, BARE, "DW-3206", "Set `client_secret`"),
        ("client_secret = \"s\"\n", 401, BARE, "DW-3202", "Compare `client_id` and `client_secret`"),
        ("client_secret = \"s\"\n", 400, LARK, "DW-3210", "it is `client_secret_basic` now"),
        (
            "client_secret = \"s\"\nclient_auth = \"client_secret_post\"\n",
            400,
            LARK,
            "DW-3210",
            "Set `client_auth` to `client_secret_basic`",
        ),
    ] {
        let forger = Forger::start().await;
        forger.metadata(json!({"token_endpoint_auth_methods_supported": null}));
        forger.answers(move |_, _| (status, body.to_owned()));
        let gateway = forger.gateway(&app.url(), keys).await;
        let answer = trip(&Person::new(), &gateway).await;
        named(&gateway, &answer, code, &[shown, "DOORWARD_RESTORE"], &["the provider said"]).await;
    }
}

#[tokio::test]
async fn an_id_token_that_cannot_be_taken_says_by_what_and_which_setting() {
    type Forges = fn(&Attempt, &Key) -> String;
    let cases: [(&str, Forges, &[&str], &[&str]); 4] = [
        (
            "DW-3307",
            |attempt, key| {
                let mut claims = attempt.claims();
                (claims["iat"], claims["exp"]) = (json!(now() + 3600), json!(now() + 7200));
                key.token(&claims)
            },
            &["the provider's clock is 3", "ahead of ours"],
            &["`iat` is 3", "by the `Date` of its answer the provider's clock"],
        ),
        (
            "DW-3302",
            |attempt, key| key.sign(&json!({"alg": "HS256", "kid": "key-1"}), &attempt.claims()),
            &["`id_token_algorithms = [\"HS256\"]`"],
            &["got `HS256`"],
        ),
        (
            "DW-3304",
            |attempt, _| Key::new("another").token(&attempt.claims()),
            &[],
            &["'another'", "`key-1`", "s ago from http"],
        ),
        (
            "DW-3305",
            |attempt, key| {
                let mut claims = attempt.claims();
                claims["iss"] = json!(format!("{}/x", attempt.issuer));
                key.token(&claims)
            },
            &[],
            &["they differ by the path"],
        ),
    ];
    for (code, forges, shown, seen) in cases {
        let (forger, _app, gateway) = forged("").await;
        forger.forges(forges);
        named(&gateway, &trip(&Person::new(), &gateway).await, code, shown, seen).await;
    }
}

#[tokio::test]
async fn a_rule_that_needs_groups_says_what_the_token_had_and_who_adds_them() {
    let app = App::start().await;
    for (preset, shown) in [("", "Have the provider put `groups`"), ("provider = \"keycloak\"\n", "Group Membership")] {
        let forger = Forger::start_under("/realms/test").await;
        forger.claims(|claims| claims["department"] = json!("a secret of hers"));
        let rule = "[[route]]\npath = \"/\"\nallow = { groups = [\"staff\"] }\n";
        let gateway = Config::new()
            .add(&format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n{preset}", forger.issuer))
            .add(&upstream_table(&app.url()))
            .add(rule)
            .start()
            .await;
        gateway.ready().await;
        let person = Person::new();
        trip(&person, &gateway).await;
        let answer = person.open(&gateway.url("/page")).await;
        named(&gateway, &answer, "DW-5003", &[shown], &["`groups`", "`department`"]).await;
        assert!(!gateway.log_text().contains("a secret of hers"));
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_over_a_large_head_is_answered_for_and_an_app_that_finds_fault_with_a_form_is_not() {
    let hangs_up = Router::new()
        .route("/form", any(async || (StatusCode::BAD_REQUEST, "the amount is missing")))
        .fallback(async || (StatusCode::BAD_REQUEST, [("connection", "close")], "Bad Request"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, hangs_up).into_future());
    let forger = Forger::start().await;
    forger.claims(|claims| claims["groups"] = (0..250).map(|n| format!("a-group-with-a-long-name-{n:05}")).collect());
    let gateway = Config::new()
        .add(&format!("[[provider]]\nissuer = {:?}\nclient_id = \"the-client\"\n", forger.issuer))
        .add(&upstream_table(&url))
        .add("[[route]]\npath = \"/\"\naccess = \"signed-in\"\n")
        .start()
        .await;
    gateway.ready().await;
    let person = Person::new();
    trip(&person, &gateway).await;
    assert!(person.open(&gateway.url("/form")).await.expect(400).text().contains("the amount is missing"));
    let answer = person.open(&gateway.url("/page")).await;
    named(&gateway, &answer, "DW-5006", &["fewer groups"], &["the app answered 400", "x-forwarded-groups"]).await;
}

#[tokio::test]
async fn an_app_that_finds_the_headers_too_large_is_answered_for_with_their_sizes() {
    let (_forger, _app, gateway) = forged("").await;
    let person = Person::new();
    trip(&person, &gateway).await;
    let answer = person.open(&gateway.url("/status/431")).await;
    assert_eq!(answer.status, 431);
    named(&gateway, &answer, "DW-5006", &["delete the cookies"], &["the app answered 431", "identity headers have"])
        .await;
    // A small 400 is about something else, and the app's own word.
    person.open(&gateway.url("/status/400")).await.expect(400);
    assert!(!gateway.log_text().contains("the app answered 400"));
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_says_the_step_to_whoever_signs_in() {
    let app = App::start().await;
    for (issuer, shown, seen) in [
        ("http://127.0.0.2:9".to_owned(), "Correct host and port in `issuer`", "TCP: "),
        ("http://provider.invalid".to_owned(), "Correct the host in `issuer`", "DNS: "),
    ] {
        let gateway = Config::new()
            .add(&format!("[[provider]]\nissuer = {issuer:?}\nclient_id = \"c\"\n"))
            .add(&upstream_table(&app.url()))
            .add(ROUTES)
            .start()
            .await;
        gateway.log_line(&["the provider cannot be asked", "remedy="]).await;
        let answer = Person::new().open(&gateway.url("/page")).await;
        assert_eq!(answer.status, 503);
        named(&gateway, &answer, "DW-6101", &[shown, "DOORWARD_RESTORE"], &[seen]).await;
    }
}

#[tokio::test]
async fn what_other_secrets_sealed_is_told_from_what_was_altered() {
    let (_forger, _app, gateway) = forged("").await;
    let (person, late) = (Person::new(), Person::new());
    trip(&person, &gateway).await;
    let begun = late.open(&gateway.url("/page")).await;
    let back = late.open(begun.location().expect("the provider").as_str()).await.location().expect("the callback");
    let gateway = gateway
        .restart(|config| config.secrets = vec!["another secret of enough characters, as it has to be".into()])
        .await;
    gateway.ready().await;
    let told = person.fetch(&gateway.url("/who")).await;
    told.expect(401);
    let body = told.json();
    assert_eq!((body["reason"].as_str(), told.reason().as_str()), (Some("DW-4103"), "DW-4103"), "{body}");
    assert!(body["remedy"].as_str().is_some_and(|remedy| remedy.contains("`secrets`")), "{body}");
    named(&gateway, &late.open(back.as_str()).await, "DW-3124", &["`secrets`"], &["does not have"]).await;
}

#[tokio::test]
async fn a_provider_that_quotes_the_request_has_no_secret_written_down_anywhere() {
    const SECRET: &str = "planted/secret+of & the client";
    let app = App::start().await;
    for way in ["client_secret_basic", "client_secret_post"] {
        let forger = Forger::start().await;
        forger.metadata(json!({"token_endpoint_auth_methods_supported": null}));
        forger.answers(|attempt, key| {
            let id_token = key.token(&attempt.claims());
            let tokens = json!({
                "access_token": "acce55", "token_type": "Bearer", "expires_in": 1, "refresh_token": "planted-refresh-token",
                "id_token": id_token,
            });
            (200, tokens.to_string())
        });
        forger.responds(|attempt| {
            let mut response = attempt.response();
            response.retain(|(name, _)| name != "code");
            response.push(("code".into(), "planted-code-of-anna".into()));
            response
        });
        let keys = format!("client_secret = {SECRET:?}\nclient_auth = \"{way}\"\n");
        let renewing = "[session]\nrefresh = true\nrefresh_ahead = \"60s\"\non_refresh_failure = \"sign_in\"\n";
        let gateway = forger.config(&app.url(), &keys).add(renewing).start().await;
        gateway.ready().await;
        let anna = Person::new();
        trip(&anna, &gateway).await;
        assert!(!anna.session().is_empty(), "{way}: anna is signed in");
        forger.quotes();
        let before = forger.token_requests();
        anna.fetch(&gateway.url("/private")).await;
        eventually("a renewal that is refused", || async { (forger.token_requests() > before).then_some(()) }).await;
        let refused = trip(&Person::new(), &gateway).await;
        assert_eq!(refused.reason(), "DW-3202", "{way}: {}", refused.text());
        let line = gateway.log_line(&[&refused.reference(), " access "]).await;
        assert!(line.contains("DW-3202") && line.contains("********"), "{line}");
        let mut told = vec![("page", refused.text())];
        let http = reqwest::Client::new();
        for page in ["/refusals.json", "/bundle.json", "/providers", "/refusals"] {
            let answer = http.get(gateway.admin_url(page)).send().await.expect("an answer");
            told.push((page, answer.text().await.expect("a body")));
        }
        let report = http.post(gateway.admin_url("/doctor.json")).header("x-doorward-console", "1").send().await;
        told.push(("/doctor.json", report.expect("an answer").text().await.expect("a body")));
        let config = forger.config(&app.url(), &keys);
        let report = tokio::task::spawn_blocking(move || config.subcommand("doctor").output().expect("a report"));
        let report = report.await.expect("a report");
        told.push(("doctor", String::from_utf8_lossy(&report.stdout).into_owned()));
        told.push(("doctor's errors", String::from_utf8_lossy(&report.stderr).into_owned()));
        assert!(told.iter().any(|(place, text)| *place == "doctor" && text.contains("********")), "{way}: {told:?}");
        told.push(("log", gateway.log_text()));
        let form = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
        let basic = |secret: &str| STANDARD.encode(format!("the-client:{secret}"));
        let escaped = SECRET.replace('&', "&#38;");
        let mut planted = vec![SECRET.to_owned(), escaped, form.clone(), basic(SECRET), basic(&form)];
        planted.extend(["planted-refresh-token", "planted-code-of-anna", "planted"].map(str::to_owned));
        for (place, text) in &told {
            for secret in &planted {
                assert!(!text.contains(secret.as_str()), "{way}: {secret} in {place}:\n{text}");
            }
            for (at, _) in text.match_indices("code_verifier=") {
                assert!(text[at..].starts_with("code_verifier=********"), "{way}: the verifier in {place}:\n{text}");
            }
        }
    }
}
