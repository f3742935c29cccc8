//! The demo provider's pages: no script, and every value escaped.

use crate::grants::{PEOPLE, Person};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#fff;--ground:#eef1f5;--line:#cfd6df;--act:#2b5c9e;\
--bad:#a4262c}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#a3aebd;--paper:#1b222c;--ground:#10151c;--line:#3a4555;\
--act:#7fb0f0;--bad:#ff9a94}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;\
font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground)}\
main{width:100%;max-width:25rem;padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:.75rem}\
h1{margin:0 0 .25rem;font-size:1.4rem}p{margin:.25rem 0 1rem}.soft{color:var(--soft)}\
label{display:block;margin:1rem 0 .25rem;font-weight:600}\
input{width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);\
border-radius:.4rem}\
button{width:100%;margin-top:1.5rem;padding:.7rem;font:inherit;font-weight:600;color:var(--paper);background:var(--act);\
border:0;border-radius:.4rem;cursor:pointer}\
:focus-visible{outline:3px solid var(--act);outline-offset:2px}.bad{color:var(--bad);font-weight:600}\
code{font-size:.95em}";

/// The sign-in form. `user` is what was typed before, or the client's hint.
pub fn login(request: &str, user: &str, wrong: Option<&str>) -> String {
    let message = wrong.map_or_else(String::new, |text| format!(r#"<p class="bad" role="alert">{}</p>"#, escape(text)));
    let (user_focus, password_focus) = if user.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    let people: Vec<_> =
        PEOPLE.iter().map(|p| format!("<code>{}</code> / <code>{}</code>", p.user, p.password)).collect();
    layout(
        "Sign in",
        &format!(
            r#"<p class="soft">Demo provider: the organisation's sign-in.</p>{message}
<form method="post" action="/login">
<input type="hidden" name="request" value="{request}">
<label for="user">User</label>
<input id="user" name="user" value="{user}" autocomplete="username" autocapitalize="none" required{user_focus}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{password_focus}>
<button type="submit">Sign in</button>
</form>
<p class="soft" style="margin:1.5rem 0 0">Try {people}.</p>"#,
            request = escape(request),
            user = escape(user),
            people = people.join(" or "),
        ),
    )
}

pub fn confirm_logout(person: &Person) -> String {
    layout(
        "Sign out?",
        &format!(
            r#"<p>You are signed in as {}.</p><form method="post" action="/logout"><button type="submit">Sign out</button></form>"#,
            escape(person.name)
        ),
    )
}

pub fn signed_out() -> String {
    layout("Signed out", "<p>You are signed out at the provider.</p>")
}

pub fn problem(text: &str) -> String {
    layout("This did not work", &format!("<p>{}</p>", escape(text)))
}

pub fn front() -> String {
    layout("Demo provider", "<p>This is the demo's OpenID provider. Start at the gateway.</p>")
}

fn layout(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title} · Demo provider</title>
<style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"#
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
