//! Answers as products give them.

use super::*;

const OURS: &str = "https://app.example/oidc/callback";

fn seen(status: u16, headers: &[(&'static str, &str)], body: &str) -> Seen {
    let mut answer = HttpResponse::new(body.as_bytes().to_vec());
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        answer.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    let asked = "https://idp.example/authorize?client_id=x&state=A1b2C3d4E5f6.main&nonce=N0nceN0nceN0nce";
    let asked = Url::parse(asked).expect("an address");
    read(&answer, &asked, &Url::parse(OURS).expect("an address"))
}

fn page(text: &str) -> String {
    format!("<!DOCTYPE html><html><head><title>Login</title></head><body><p>{text}</p></body></html>")
}

#[test]
fn what_was_made_up_for_the_request_is_not_told_where_the_provider_quotes_it() {
    let listed = "<pre><b>error</b>: invalid_redirect_uri</pre><pre><b>error_description</b>: redirect_uri did not match</pre>\
                  <pre><b>state</b>: A1b2C3d4E5f6.main</pre><pre><b>iss</b>: https://idp.example</pre>";
    let Seen::Refused(failure) = seen(400, &[], &page(listed)) else { panic!("refused") };
    assert!(failure.detail.contains("did not match") && !failure.detail.contains("iss"), "{failure:?}");
    assert!(!failure.detail.contains("state"), "{failure:?}");
    let quoted = r#"{"error":"unauthorized_client","request":"state=A1b2C3d4E5f6.main&nonce=N0nceN0nceN0nce"}"#;
    let Seen::Refused(failure) = seen(400, &[], quoted) else { panic!("refused") };
    assert!(failure.detail.contains("unauthorized_client"), "{failure:?}");
    assert!(!failure.detail.contains("C3d4E5f6") && !failure.detail.contains("N0nce"), "{failure:?}");
    // Words of a page that are none of ours.
    let words = "invalid request state: unknown iss: none";
    let Seen::Refused(failure) = seen(400, &[], &page(words)) else { panic!("refused") };
    assert!(failure.detail.contains(words), "{failure:?}");
}

#[test]
fn who_is_sent_back_to_us_is_known_there() {
    for error in NOBODY_SIGNED_IN {
        for sign in ['?', '#'] {
            let to = format!("{OURS}{sign}error={error}&state=doctor.x");
            let told = seen(302, &[("location", &to)], "");
            assert!(matches!(&told, Seen::Accepted(how) if how.contains(error)), "{to}: {told:?}");
        }
        let form = format!(
            "<form method=\"post\" action=\"{OURS}\"><input type=\"hidden\" name=\"error\" value=\"{error}\"></form>"
        );
        let told = seen(200, &[], &format!("<html>{form}</html>"));
        assert!(matches!(&told, Seen::Accepted(how) if how.contains(error)), "{form}: {told:?}");
    }
    let told = seen(303, &[("location", &format!("{OURS}?code=abc&state=doctor.x"))], "");
    assert!(matches!(&told, Seen::Accepted(how) if !how.contains("abc")), "{told:?}");
    assert!(matches!(seen(303, &[("location", OURS)], ""), Seen::Unclear(_)));
}

#[test]
fn a_sign_in_page_is_as_good_as_can_be_seen() {
    for told in [
        seen(302, &[("location", "/login?flow=1")], ""),
        seen(302, &[("location", "https://login.example/u/login?state=x")], ""),
        seen(200, &[("refresh", "0; url=/login")], ""),
        seen(200, &[], &page("Sign in with response_type or redirect_uri")),
        // A sign-in page knows every error in its scripts.
        seen(200, &[], "<title>Sign in</title><script>var errors = {AADSTS50011: 'redirect_uri'}</script>"),
    ] {
        assert!(matches!(&told, Seen::Accepted(how) if how.contains("as far as can be seen")), "{told:?}");
    }
}

#[test]
fn errors_that_are_sent_back_name_the_setting() {
    for (error, description, wanted) in [
        ("unsupported_response_type", "", "auth_method"),
        (
            "unauthorized_client",
            "Client is not allowed to … Implicit flow is disabled for the client.",
            "Implicit flow",
        ),
        ("invalid_scope", "Invalid scopes: groups", "scopes"),
        ("invalid_request", "Missing parameter: code_challenge_method", "PKCE"),
        ("unsupported_response_mode", "", "auth_method"),
        ("unsupported_response_type", "AADSTS700054: response_type 'id_token' is not enabled", "ID tokens"),
    ] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("error", error), ("error_description", description)])
            .finish();
        match seen(302, &[("location", &format!("{OURS}?{query}"))], "") {
            Seen::Refused(failure) => {
                let change = failure.remedy();
                assert!(change.contains(wanted), "{error} {description}: {change}");
                assert!(failure.detail.contains(error), "{failure:?}");
            }
            other => panic!("{error}: {other:?}"),
        }
    }
    // About a person, and there is none.
    let told = seen(302, &[("location", &format!("{OURS}?error=access_denied"))], "");
    assert!(matches!(told, Seen::Accepted(_)), "{told:?}");
    let told = seen(302, &[("location", &format!("{OURS}?error=server_error"))], "");
    assert!(matches!(told, Seen::Refused(Failure { reason: Reason::ProviderUnreachable, .. })), "{told:?}");
}

#[test]
fn a_page_that_keeps_the_browser_is_told_by_its_words() {
    for (status, text, reason) in [
        (400, "Invalid parameter: redirect_uri", Reason::RedirectUriRefused),
        (400, "redirect_mismatch An error was encountered with the requested page.", Reason::RedirectUriRefused),
        (403, "Callback URL mismatch. The provided redirect_uri is not in the list", Reason::RedirectUriRefused),
        (400, "Error 400: redirect_uri_mismatch You can't sign in to this app", Reason::RedirectUriRefused),
        (400, "The redirect URI included is not valid.", Reason::RedirectUriRefused),
        (400, "AADSTS50011: The redirect URI specified in the request does not match", Reason::RedirectUriRefused),
        (400, "Client not found.", Reason::ClientUnknown),
        (401, "Error 401: invalid_client The OAuth client was not found.", Reason::ClientUnknown),
        (404, "Invalid client_id (&quot;x&quot;).", Reason::ClientUnknown),
        (400, "AADSTS700016: Application with identifier 'x' was not found in the directory", Reason::ClientUnknown),
        (400, "Errors.App.NotFound", Reason::ClientUnknown),
        (200, "AADSTS700016: Application with identifier 'x' was not found", Reason::ClientUnknown),
        (400, "Error 400: invalid_scope Some requested scopes were invalid.", Reason::ScopeRefused),
        (400, "We are sorry", Reason::AuthorizationRefused),
    ] {
        match seen(status, &[], &page(text)) {
            Seen::Refused(failure) => {
                assert_eq!(failure.reason, reason, "{text}: {failure:?}");
                assert!(!failure.detail.contains('<'), "the markup is gone: {failure:?}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let told = seen(500, &[], &page("redirect_uri"));
    assert!(matches!(told, Seen::Refused(Failure { reason: Reason::ProviderUnreachable, .. })), "{told:?}");
    let long = seen(400, &[], &page(&"x".repeat(5000)));
    assert!(matches!(&long, Seen::Refused(failure) if failure.detail.len() < 600), "{long:?}");
}

#[test]
fn a_redirect_to_a_page_of_errors_is_a_refusal() {
    // As Google and Cognito do it.
    let google = "https://accounts.google.com/signin/oauth/error?authError=\
                  ChVyZWRpcmVjdF91cmlfbWlzbWF0Y2gSGE5vdCByZWdpc3RlcmVkIHRoZXJlLg";
    for (to, reason) in [
        (google, Reason::RedirectUriRefused),
        (
            "https://x.auth.eu-west-1.amazoncognito.com/error?error=redirect_mismatch&client_id=x",
            Reason::RedirectUriRefused,
        ),
        ("/error", Reason::AuthorizationRefused),
        ("/oauth/authorize?error=invalid_client&error_description=Unknown%20client", Reason::ClientUnknown),
    ] {
        let told = seen(302, &[("location", to)], "");
        assert!(matches!(&told, Seen::Refused(failure) if failure.reason == reason), "{to}: {told:?}");
    }
}

#[test]
fn entras_page_of_errors_is_a_script() {
    let body = r#"<html><head><title>Sign in to your account</title></head><body><script>$Config={"strServiceExceptionMessage":"AADSTS50011: The redirect URI 'x' specified in the request does not match"}</script></body></html>"#;
    match seen(200, &[], body) {
        Seen::Refused(failure) => {
            assert_eq!(failure.reason, Reason::RedirectUriRefused, "{failure:?}");
            assert!(failure.detail.contains("AADSTS50011"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
}
