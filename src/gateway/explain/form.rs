//! Step 1: how the request is read.

use super::Scene;
use crate::examined::{Check, Step};
use crate::gateway::forwarded::Origin;
use crate::reason::{Failure, Reason};

/// Step 1 of a request that has one reading.
pub(super) fn canonical(scene: &Scene<'_>, origin: &Origin) -> Step {
    let request = scene.request;
    let query = match &request.query {
        Some(query) if scene.live => format!("?… ({} bytes)", query.len()),
        Some(query) => format!("?{query}"),
        None => String::new(),
    };
    let mut step = Step::new(1, "canonical form");
    step.say(format!("{} {}{}{query}", request.method, request.authority, request.path));
    if request.respelt {
        step.say("the target came in another spelling; this one counts and is passed on");
    }
    step.say(format!("from {} over {}", origin.client, origin.scheme.as_str()));
    step
}

/// Step 1 of a request that has none.
pub(super) fn refused_form(failure: &Failure, target: &[u8]) -> Step {
    let mut step = Step::new(1, "canonical form");
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let check =
        Check::of("one reading", "RFC 3986 §6.2, RFC 9112 §3.2").expected("a request that everybody reads alike");
    step.checks.push(check.judged(&Err(failure.clone())));
    if failure.reason == Reason::PathAmbiguous {
        let text = String::from_utf8_lossy(&path[..path.len().min(500)]).into_owned();
        step.say(format!("one reading: {}", crate::words::in_words(&text)));
        step.say(format!("another, decoded and resolved: {}", crate::words::in_words(&resolved(&text))));
    }
    step
}

/// A path as a server reads it that decodes first and resolves then; for showing that there is another reading.
fn resolved(path: &str) -> String {
    let mut text = path.to_owned();
    // Twice: some decode what was decoded.
    for _ in 0..2 {
        text = url::form_urlencoded::parse(format!("p={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes())
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned());
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolved;

    #[test]
    fn another_reading_of_a_path_is_the_one_that_gets_elsewhere() {
        for (path, reading) in [
            ("/public/..%2fadmin", "/admin"),
            ("/a//b", "/a/b"),
            ("/a/%252e%252e/b", "/b"),
            ("/a\\b", "/a/b"),
            ("/x/../../y", "/y"),
            ("/a+b/./c", "/a+b/c"),
        ] {
            assert_eq!(resolved(path), reading, "{path}");
        }
    }
}
