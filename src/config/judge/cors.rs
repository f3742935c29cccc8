//! Origins whose pages may call the app.

use url::Url;

use super::Judge;
use crate::config::origin::KeyPath;

impl Judge<'_> {
    pub(super) fn cors(&mut self) {
        for (index, origin) in self.settings.cors.origins.iter().enumerate() {
            let key = KeyPath::of("cors.origins").index(index);
            match origin.as_str() {
                "null" => {}
                "*" => {
                    let hint = "list the origins, as in [\"https://app.example.com\"]";
                    self.error(
                        &key,
                        "is `*`: every site would read what the app answers to the people who visit it",
                        hint,
                    );
                }
                text => match Url::parse(text).map(|url| url.origin()) {
                    Ok(parsed) if parsed.is_tuple() && parsed.ascii_serialization() == text => {}
                    Ok(parsed) if parsed.is_tuple() => {
                        let message = format!("`{text}` is no origin: scheme, host and perhaps a port");
                        self.error(&key, message, format!("write \"{}\"", parsed.ascii_serialization()));
                    }
                    _ => {
                        let message = format!("`{text}` is no origin: scheme, host and perhaps a port");
                        self.error(&key, message, "write as in \"https://app.example.com\"");
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refuses, with};

    #[test]
    fn what_is_no_origin_is_refused_with_the_likely_one() {
        for (origin, wanted) in [
            ("*", "every site would read"),
            ("https://a.example/", "write \"https://a.example\""),
            ("https://A.example", "write \"https://a.example\""),
            ("https://a.example:443", "write \"https://a.example\""),
            ("https://a.example/app", "write \"https://a.example\""),
            ("a.example", "is no origin"),
            ("data:,x", "is no origin"),
        ] {
            refuses(&with("", "", &format!("[cors]\norigins = [\"null\", \"{origin}\"]")), "cors.origins[1]", wanted);
        }
    }
}
