//! The last look at what leaves the console: no secret of the configuration is in it, whoever put it there.
//!
//! Settings are masked where they are shown. But a provider may quote the client secret in what it says of a failure, and
//! somebody may have typed a secret into an address.

use std::borrow::Cow;

use crate::config::Settings;
use crate::config::values::MASK;

/// Shorter ones would be found in words that mean something else.
const SHORTEST: usize = 6;

/// `body` without any secret of `settings`, as it is written in text, in HTML and in JSON.
pub(super) fn without(body: Vec<u8>, settings: &Settings) -> Vec<u8> {
    let mut text = match String::from_utf8(body) {
        Ok(text) => Cow::from(text),
        // Nothing that is not text is answered.
        Err(bytes) => return bytes.into_bytes(),
    };
    for secret in settings.known_secrets().filter(|secret| secret.expose().len() >= SHORTEST) {
        let json = serde_json::Value::from(secret.expose()).to_string();
        let html = secret.expose().chars().fold(String::new(), |mut html, c| {
            match c {
                '&' | '<' | '>' | '"' | '\'' => html.push_str(&format!("&#{};", c as u32)),
                c => html.push(c),
            }
            html
        });
        for form in [secret.expose(), json.trim_matches('"'), &html] {
            if text.contains(form) {
                text = text.replace(form, MASK).into();
            }
        }
    }
    text.into_owned().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_told_in_any_spelling() {
        let settings: Settings = toml::from_str(
            "public_url = 'http://localhost'\nsecrets = ['one & \"two\" of <thirty-two> letters']\n\
             [[provider]]\nissuer = 'http://a'\nclient_id = 'x'\nclient_secret = 'hunter2hunter2'\n",
        )
        .expect("settings");
        let said = "it said: hunter2hunter2, one &#38; &#34;two&#34; of &#60;thirty-two&#62; letters, one & \\\"two\\\" of <thirty-two> letters";
        let told = String::from_utf8(without(said.into(), &settings)).expect("text");
        assert_eq!(told, format!("it said: {MASK}, {MASK}, {MASK}"));
    }
}
