//! The last look at what leaves the console: no secret is in it, whoever put it there.
//!
//! Settings are masked where they are shown. But a provider may quote the client secret in what it says of a failure, and
//! somebody may have typed a secret into an address; such a text is kept longer than the secret is in force.

use crate::config::values::{MASK, Secret};
use crate::spellings::spellings;

/// Shorter ones would be found in words that mean something else.
const SHORTEST: usize = 6;

/// `body` without any of `secrets`, as they are written in text, HTML, JSON, addresses, forms and base64.
pub(super) fn without<'s>(body: Vec<u8>, secrets: impl IntoIterator<Item = &'s Secret>) -> Vec<u8> {
    let mut text = match String::from_utf8(body) {
        Ok(text) => text,
        // Nothing that is not text is answered.
        Err(bytes) => return bytes.into_bytes(),
    };
    let known = secrets.into_iter().map(Secret::expose).filter(|secret| secret.len() >= SHORTEST);
    for spelling in spellings(known, SHORTEST) {
        if text.contains(&spelling) {
            text = text.replace(&spelling, MASK);
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD_NO_PAD;

    use super::*;

    fn told(said: &str, secrets: &[&str]) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        String::from_utf8(without(said.into(), &secrets)).expect("text")
    }

    #[test]
    fn a_secret_is_not_told_in_any_spelling() {
        let secrets = ["one & \"two\" of <thirty-two> letters", "hunter2hunter2"];
        let said = "it said: hunter2hunter2, one &#38; &#34;two&#34; of &#60;thirty-two&#62; letters, one & \\\"two\\\" of <thirty-two> letters";
        assert_eq!(told(said, &secrets), format!("it said: {MASK}, {MASK}, {MASK}"));
        for said in
            ["one+%26+%22two%22+of+%3Cthirty-two%3E+letters", "one%20%26%20%22two%22%20of%20%3cthirty-two%3e%20letters"]
        {
            assert_eq!(told(&format!("?a={said}&b"), &secrets), format!("?a={MASK}&b"));
        }
    }

    #[test]
    fn a_secret_that_ends_in_a_quote_is_masked_to_its_end() {
        let quoted = "ends-in-a-quote\"";
        for spelling in [serde_json::Value::from(quoted).to_string(), format!("{quoted:?}")] {
            assert_eq!(told(&format!("{{\"a\":{spelling}}}"), &[quoted]), format!("{{\"a\":\"{MASK}\"}}"));
        }
    }

    #[test]
    fn a_secret_inside_of_basic_is_not_told() {
        for user in ["", "a", "ab", "client-id"] {
            let basic = STANDARD_NO_PAD.encode(format!("{user}:hunter2hunter2"));
            let shown = told(&format!("Basic {basic}"), &["hunter2hunter2"]);
            assert!(shown.contains(MASK) && !shown.contains(&basic[basic.len() - 8..]), "{user}: {shown}");
        }
    }

    #[test]
    fn of_two_secrets_of_which_one_is_in_the_other_nothing_is_left() {
        assert_eq!(told("hunter2hunter2-more", &["hunter2hunter2", "hunter2hunter2-more"]), MASK);
    }
}
