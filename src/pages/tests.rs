//! What the pages show, escape and allow.

use super::*;
use std::time::{Duration, UNIX_EPOCH};

fn pages() -> Pages {
    Pages::new(&Brand { support: Some("Ask IT at it@example.com.".into()), ..Brand::default() }).expect("pages")
}

fn failure(reason: Reason) -> FailurePage<'static> {
    FailurePage {
        reason,
        remedy: reason.info().remedy,
        reference: "7k3m9q2x4c8vn",
        time: UNIX_EPOCH + Duration::from_secs(1_795_316_901),
        sign_in_href: None,
        sign_out_href: None,
        signed_in_as: None,
        seen: &[],
        locks_out: false,
    }
}

const EVIL: &str = r#"<script>alert("1")</script>'"&"#;

/// The Content-Security-Policy of every page.
fn csp(pages: &Pages) -> &str {
    let found = pages.security_headers().iter().find(|(name, _)| name == "content-security-policy");
    found.and_then(|(_, value)| value.to_str().ok()).expect("a policy")
}

#[test]
fn whom_to_ask_and_what_to_quote_do_not_run_on() {
    let pages = Pages::new(&Brand { support: Some("Questions? help@example.com".into()), ..Brand::default() });
    let page = pages.expect("pages").failure(&failure(Reason::AttemptUnknown)).html;
    assert!(page.contains("<p>Questions? help@example.com</p>") && page.contains("<p>Quote the reference"), "{page}");
}

#[test]
fn what_comes_from_outside_is_shown_escaped() {
    let pages =
        Pages::new(&Brand { name: Some(EVIL.into()), support: Some(EVIL.into()), ..Brand::default() }).expect("pages");
    let button = ProviderButton { name: EVIL, display_name: EVIL, href: "/oidc/login?a=\"><script>&b=1" };
    let seen = [EVIL.to_owned()];
    for page in [
        pages.sign_in(&[button], &format!("/{EVIL}")),
        pages.sign_in(&[button, button], "/"),
        pages.signed_out("/\"><script>", true),
        pages.failure(&FailurePage {
            reference: EVIL,
            sign_in_href: Some("/\"><script>"),
            sign_out_href: Some("/'><script>"),
            signed_in_as: Some(EVIL),
            seen: &seen,
            ..failure(Reason::SignInLoop)
        }),
    ] {
        assert!(page.html.len() > 1000, "{}", page.html);
        assert!(!page.html.contains("<script") && !page.html.contains("\"1\""), "{}", page.html);
        assert!(page.html.contains("script"), "it is shown, not dropped");
    }
}

#[test]
fn the_page_that_posts_again_holds_what_came_escaped_and_runs_one_line() {
    let pages = pages();
    let html = pages.bounce("/oidc/callback", &[("state", EVIL), ("error", "\"><script>x</script>")]).html;
    assert_eq!((html.matches("<script>").count(), html.matches("<form").count()), (1, 1), "{html}");
    assert!(html.contains(&format!("<script>{SEND}</script>")) && html.contains("<button"), "{html}");
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, SEND.as_bytes()));
    let policy = pages.bounce_policy().to_str().expect("ASCII");
    assert_eq!(policy, format!("{}; script-src 'sha256-{hash}'", csp(&pages)));
    assert!(!csp(&pages).contains("script-src"));
}

#[test]
fn the_page_that_goes_on_leads_where_it_says() {
    let pages = pages();
    let html = pages.onward("/a?b=\"><script>&c='d", true).html;
    assert!(html.contains("content=\"0; url=/a?b=&#34;&#62;&#60;script&#62;&#38;c=&#39;d\""), "{html}");
    assert!(pages.onward("javascript:alert(1)", true).html.contains("content=\"0; url=/\""));
}

#[test]
fn a_link_never_leads_to_a_script() {
    let pages = pages();
    for href in ["javascript:alert(1)", "data:text/html,x", " /x", "", "/a\tb"] {
        let page = pages.signed_out(href, false);
        assert!(page.html.contains("href=\"/\""), "{href}: {}", page.html);
    }
    assert!(pages.signed_out("/oidc/login?provider=a", false).html.contains("href=\"/oidc/login?provider=a\""));
}

#[test]
fn the_policy_names_the_hash_of_the_style_and_nothing_else_may_load() {
    let pages = pages();
    let html = pages.signed_out("/", false).html;
    let (_, rest) = html.split_once("<style>").expect("style");
    let (style, rest) = rest.split_once("</style>").expect("end of style");
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, style.as_bytes()));
    assert!(csp(&pages).contains(&format!("style-src 'sha256-{hash}'")), "{}", csp(&pages));
    assert!(csp(&pages).starts_with("default-src 'none'"));
    assert!(!rest.contains("style=") && !rest.contains("<style") && !html.contains("<script"));
    assert!(pages.security_headers().iter().any(|(name, value)| name == "cache-control" && value == "no-store"));
}

#[test]
fn every_reason_has_a_page_that_says_what_to_quote() {
    let pages = pages();
    for reason in Reason::ALL {
        let html = pages.failure(&failure(*reason)).html;
        for text in [reason.code(), "7k3m9q2x4c8vn", "Sun, 22 Nov 2026 03:08:21 UTC", "Ask IT at it@example.com."] {
            assert!(html.contains(text), "{reason}: {text}");
        }
        assert_eq!(html.matches("<h1>").count(), 1);
        assert!(!html.contains('`'), "{reason}");
    }
}

#[test]
fn a_page_offers_what_the_gateway_offers() {
    let pages = pages();
    let html = pages
        .failure(&FailurePage {
            sign_out_href: Some("/logout"),
            signed_in_as: Some("jo@example.com"),
            ..failure(Reason::RuleNotMet)
        })
        .html;
    assert!(html.contains("jo@example.com") && html.contains("Use another account") && !html.contains("Sign in again"));
    assert!(pages.failure(&failure(Reason::UpstreamTimeout)).html.contains("<a class=\"button\" href=\"\">Try again"));
    assert!(!pages.failure(&failure(Reason::CodeRefused)).html.contains("Try again"), "a code works once");
    let html = pages.sign_in(&[], "/reports/7?token=secret").html;
    assert!(html.contains("/reports/7") && !html.contains("secret"));
}

/// Writes every page into the folder `DOORWARD_PAGES`, to be looked at: `DOORWARD_PAGES=/tmp/pages cargo test gallery`.
#[test]
fn gallery() {
    let Ok(folder) = std::env::var("DOORWARD_PAGES") else { return };
    let keycloak = ProviderButton { name: "k", display_name: "Keycloak", href: "/oidc/login?provider=k&return_to=/" };
    let entra = ProviderButton { name: "e", display_name: "Microsoft Entra", href: "/oidc/login?provider=e" };
    let partner =
        ProviderButton { name: "p", display_name: "Partner Universität Zürich", href: "/oidc/login?provider=p" };
    let seen = [
        "The session cookie was set three times and came back with none of the requests.".to_owned(),
        "The browser asked for app.internal.example, the public URL is https://app.example.".to_owned(),
    ];
    let branded = Brand {
        name: Some("Northwind Experiments".into()),
        color: "#ffd23f".parse().ok(),
        support: Some("Questions? Write to platform@northwind.example.".into()),
        ..Brand::default()
    };
    for (look, pages) in [("own", pages()), ("branded", Pages::new(&branded).expect("pages"))] {
        let save = |name: &str, page: Page| {
            std::fs::write(format!("{folder}/{look}-{name}.html"), page.html).expect("file");
        };
        save("sign-in", pages.sign_in(&[keycloak], "/reports/2026/q3?x=1"));
        save("providers", pages.sign_in(&[keycloak, entra, partner], "/reports/2026/q3"));
        save("signed-out", pages.signed_out("/oidc/login", true));
        save(
            "forbidden",
            pages.failure(&FailurePage {
                sign_out_href: Some("/logout"),
                signed_in_as: Some("jo.doe@example.com"),
                ..failure(Reason::RuleNotMet)
            }),
        );
        save("upstream", pages.failure(&failure(Reason::UpstreamUnreachable)));
        save("callback", pages.failure(&FailurePage { sign_in_href: Some("/x"), ..failure(Reason::AttemptUnknown) }));
        save(
            "loop",
            pages.failure(&FailurePage { seen: &seen, sign_in_href: Some("/x"), ..failure(Reason::SignInLoop) }),
        );
    }
}
