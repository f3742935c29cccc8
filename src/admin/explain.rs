//! What would become of a request, step by step; and the steps of one that was refused.

use askama::Template;
use http::{Response, StatusCode};
use serde_json::Value;

use super::Scene;
use super::recorded::Switch;
use super::shell::Shell;
use crate::config::values::FORGOTTEN;
use crate::examined::{Check, Fate, Found, Step};
use crate::explain::{Explanation, Outcome, Person, Request, Verdict, Who, explain};
use crate::reason::Failure;

/// Methods to choose from.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// Who may be said to send the request, and what that is called.
const SENDERS: [(&str, &str); 5] = [
    ("", "whoever is filled in below"),
    ("nobody", "nobody: no session, no token"),
    ("person", "a person who has signed in"),
    ("claims", "claims that are taken as verified"),
    ("token", "a bearer token or key"),
];

#[derive(Template)]
#[template(path = "explain.html", config = "src/admin/askama.toml")]
struct ExplainPage {
    shell: Shell,
    recording: Switch,
    form: Form,
    providers: Vec<String>,
    /// Why what was written down makes no request.
    wrong: Option<String>,
    shown: Option<Shown>,
}

/// What was written down, without the token.
#[derive(Default)]
struct Form {
    url: String,
    method: String,
    headers: String,
    sender: String,
    user: String,
    groups: String,
    email: String,
    provider: String,
    claims: String,
    /// Whose address connects; this machine's where it is empty.
    peer: String,
    offline: bool,
}

impl Form {
    fn methods(&self) -> [(&'static str, bool); METHODS.len()] {
        METHODS.map(|method| (method, method == self.method))
    }

    fn senders(&self) -> [(&'static str, &'static str, bool); SENDERS.len()] {
        SENDERS.map(|(name, said)| (name, said, name == self.sender))
    }
}

/// Steps and verdict as pages show them.
pub(super) struct Shown {
    pub steps: Vec<ShownStep>,
    pub class: &'static str,
    pub words: String,
    pub detail: String,
    pub cause: &'static str,
    pub remedy: String,
    /// Claims of the token, for reading.
    pub token: String,
}

pub(super) struct ShownStep {
    pub number: u8,
    pub name: &'static str,
    pub said: Vec<String>,
    pub checks: Vec<ShownCheck>,
    /// Name, value, and whose word it is.
    pub headers: Vec<(String, String, &'static str)>,
}

pub(super) struct ShownCheck {
    pub class: &'static str,
    pub found: &'static str,
    pub check: Check,
}

impl Shown {
    pub fn of(explanation: Explanation) -> Shown {
        let Explanation { steps, verdict, token } = explanation;
        let words = verdict.in_words();
        let Verdict { outcome, detail, cause, remedy, .. } = verdict;
        Shown {
            steps: steps.into_iter().map(shown_step).collect(),
            class: match outcome {
                Outcome::Passed | Outcome::Answered => "good",
                Outcome::Refused => "bad",
                Outcome::Undecided => "warn",
            },
            words,
            detail,
            cause,
            remedy,
            token: token.map(|token: Value| format!("{token:#}")).unwrap_or_default(),
        }
    }
}

fn shown_step(step: Step) -> ShownStep {
    let headers = step.headers.into_iter().map(|field| {
        let whose = match field.fate {
            Fate::Written => "the gateway's",
            Fate::Passed => "the client's",
            Fate::Dropped => "taken off",
        };
        (field.name, field.value, whose)
    });
    let of_routes = step.number == 2;
    let checks = step.checks.into_iter().map(|check| {
        let (class, found) = match check.found {
            Found::Holds if of_routes => ("good", "governs"),
            Found::PassedOver if of_routes => ("hint", "not this one"),
            Found::PassedOver => ("hint", "not met"),
            Found::Holds => ("good", "holds"),
            Found::Fails => ("bad", "fails"),
            Found::NotExamined => ("hint", "not examined"),
        };
        ShownCheck { class, found, check }
    });
    ShownStep {
        number: step.number,
        name: step.name,
        said: step.said,
        headers: headers.collect(),
        checks: checks.collect(),
    }
}

pub(super) async fn page(scene: &Scene<'_>) -> Result<Response<Vec<u8>>, Failure> {
    let settings = &scene.in_force.config.settings;
    let directory = scene.in_force.directory.iter().map(|directory| directory.name().to_owned());
    let providers = settings.provider.iter().map(|provider| provider.name.clone()).chain(directory).collect();
    let mut page = ExplainPage {
        shell: scene.shell("explain"),
        recording: Switch::of(scene.now),
        form: form(scene),
        providers,
        wrong: None,
        shown: None,
    };
    if !scene.asked.is_post() {
        return Ok(page.shell.page(&page));
    }
    let explained = match request(scene, &page.form) {
        Ok(request) => explain(&scene.in_force.gateway, &request).await,
        Err(wrong) => Err(wrong),
    };
    page.form.headers = without_proofs(&page.form.headers);
    let status = if explained.is_ok() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    match explained {
        Ok(explanation) => page.shown = Some(Shown::of(explanation)),
        Err(wrong) => page.wrong = Some(wrong),
    }
    Ok(page.shell.answer(status, &page))
}

fn form(scene: &Scene<'_>) -> Form {
    let asked = |name: &str| scene.asked.form(name).or(scene.asked.query(name)).unwrap_or_default().to_owned();
    let or = |text: String, usual: &str| if text.is_empty() { usual.to_owned() } else { text };
    Form {
        url: or(asked("url"), "/"),
        method: or(asked("method"), "GET"),
        headers: asked("headers"),
        sender: asked("sender"),
        user: asked("user"),
        groups: asked("groups"),
        email: asked("email"),
        provider: asked("provider"),
        claims: asked("claims"),
        peer: asked("peer"),
        offline: !asked("offline").is_empty(),
    }
}

/// Who is meant by what is filled in. Nothing of that is passed over in silence.
fn sender(form: &Form, token: bool) -> Result<&str, String> {
    let person = [&form.user, &form.groups, &form.email].into_iter().any(|text| !text.trim().is_empty());
    let filled = [("person", person), ("claims", !form.claims.trim().is_empty()), ("token", token)];
    let filled: Vec<&str> = filled.into_iter().filter(|(_, filled)| *filled).map(|(name, _)| name).collect();
    let said = |name: &&str| match *name {
        "person" => "a person",
        "claims" => "a set of claims",
        _ => "a token",
    };
    match (form.sender.as_str(), filled.as_slice()) {
        ("", []) => Ok("nobody"),
        ("", [one]) => Ok(one),
        ("", several) => {
            let several: Vec<_> = several.iter().map(said).collect();
            Err(format!("{} are filled in, and one of them sends the request: empty the others", several.join(" and ")))
        }
        (chosen, filled) => match filled.iter().find(|name| **name != chosen) {
            Some(other) => {
                Err(format!("{} is filled in, and `Sent by` names another: choose it there, or empty it", said(other)))
            }
            None => Ok(chosen),
        },
    }
}

/// The headers as they are shown again: what proves who somebody is, is not.
fn without_proofs(headers: &str) -> String {
    let proves = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        let words = ["authorization", "cookie", "token", "secret", "key", "password", "signature"];
        words.iter().any(|word| name.contains(word))
    };
    let shown = headers.lines().map(|line| match line.split_once(':') {
        Some((name, value)) if proves(name) && !value.trim().is_empty() => format!("{}: {FORGOTTEN}", name.trim()),
        Some(_) => line.to_owned(),
        // No header, and perhaps the rest of one.
        None => String::new(),
    });
    shown.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn request(scene: &Scene<'_>, form: &Form) -> Result<Request, String> {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let header = |line: &str| match line.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(format!("`{line}` is no header; write `Name: value`, one a line")),
    };
    let lines = form.headers.lines().map(str::trim).filter(|line| !line.is_empty());
    if form.headers.contains(FORGOTTEN) {
        return Err("a header that was typed is not kept: type it again".into());
    }
    let peer = some(&form.peer).map(|peer| peer.parse().map_err(|_| format!("`{peer}` is no IP address")));
    let peer = peer.transpose()?;
    let who = match sender(form, scene.asked.form("token").is_some_and(|token| !token.trim().is_empty()))? {
        "person" if form.user.trim().is_empty() => return Err("the person has no name: `User` is empty".into()),
        "person" => Who::Person(Person {
            user: form.user.clone(),
            groups: some(&form.groups).map(|groups| groups.split(',').map(|group| group.trim().to_owned()).collect()),
            email: some(&form.email),
            provider: some(&form.provider),
        }),
        "claims" => {
            let claims = serde_json::from_str(&form.claims);
            Who::Claims(claims.map_err(|_| "the claims are no JSON object".to_owned())?)
        }
        "token" => {
            let token = scene.asked.form("token").ok_or_else(|| "there is no token".to_owned())?;
            Who::Token(token.to_owned())
        }
        _ => Who::Nobody,
    };
    Ok(Request {
        url: form.url.clone(),
        method: form.method.clone(),
        headers: lines.map(header).collect::<Result<_, _>>()?,
        peer,
        who,
        offline: form.offline,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_proves_who_somebody_is_is_not_shown_again() {
        let typed = "Accept: text/html\nAuthorization: Bearer hunter2\ncookie:a=hunter2\n X-Api-Key : hunter2\nhunter2";
        let shown = without_proofs(typed);
        assert!(!shown.contains("hunter2") && shown.starts_with("Accept: text/html\nAuthorization: (type"), "{shown}");
        assert_eq!(without_proofs(""), "");
    }

    #[test]
    fn what_is_filled_in_sends_the_request_or_is_an_error() {
        let form = |sender: &str, user: &str, claims: &str| Form {
            sender: sender.into(),
            user: user.into(),
            claims: claims.into(),
            ..Form::default()
        };
        for (form, token, meant) in [
            (form("", "", " "), false, Some("nobody")),
            (form("", "anna", ""), false, Some("person")),
            (form("", "", "{}"), false, Some("claims")),
            (form("", "", ""), true, Some("token")),
            (form("person", "anna", ""), false, Some("person")),
            (form("person", "", ""), false, Some("person")),
            (form("nobody", "anna", ""), false, None),
            (form("person", "anna", ""), true, None),
            (form("", "anna", "{}"), false, None),
            (form("token", "", "{}"), false, None),
        ] {
            assert_eq!(sender(&form, token).ok(), meant, "{} {} {}", form.sender, form.user, form.claims);
        }
    }
}
