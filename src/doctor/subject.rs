//! What is examined: one table of a list of the configuration, how it is called, and how its settings are changed.

use crate::config::{Config, KeyPath, Origin, Origins, Settings};

/// The `index`th `[[provider]]` or `[[issuer]]` of `settings`.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub settings: Settings,
    /// Where the settings came from, where that is known.
    pub origins: Option<Origins>,
    pub list: &'static str,
    pub index: usize,
    pub name: String,
}

impl Subject {
    /// The one of that name, at `index` of `list` in a configuration that was loaded.
    pub fn of(config: &Config, list: &'static str, index: usize, name: &str) -> Subject {
        let (settings, origins) = (config.settings.clone(), Some(config.origins.clone()));
        Subject { settings, origins, list, index, name: name.to_owned() }
    }

    /// `provider main`.
    pub fn place(&self) -> String {
        format!("{} {}", self.list, self.name)
    }

    /// The line to write for a text, and where the present one stands.
    pub fn line(&self, key: &str, value: &str) -> String {
        let quoted = format!("{value:?}");
        let path = KeyPath::of(self.list).index(self.index).key(key);
        match self.origins.as_ref().map(|origins| origins.of(&path)) {
            Some(Origin::Variable { name, .. }) => format!("set `{name}={value}` in the gateway's environment"),
            Some(Origin::File { file, line, .. }) => {
                format!("write `{key} = {quoted}` ({}:{line})", file.display())
            }
            _ => format!("write `{key} = {quoted}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_write_names_where_the_present_one_stands() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("gateway.toml");
        let text = "public_url = \"https://a.example\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n[[provider]]\n\
                    client_id = \"x\"\n[[upstream]]\nurl = \"http://127.0.0.1:9\"\n";
        std::fs::write(&file, text).expect("a file");
        let env = [("OIDC_ISSUER".to_owned(), "https://idp.example".to_owned())];
        let config = Config::load(Some(&file), &env).unwrap_or_else(|errors| panic!("{errors}"));
        let subject = Subject {
            settings: config.settings,
            origins: Some(config.origins),
            list: "provider",
            index: 0,
            name: "main".into(),
        };
        assert_eq!(subject.place(), "provider main");
        assert_eq!(
            subject.line("issuer", "https://b.example"),
            "set `OIDC_ISSUER=https://b.example` in the gateway's environment"
        );
        assert_eq!(subject.line("client_id", "y"), format!("write `client_id = \"y\"` ({}:4)", file.display()));
        assert_eq!(subject.line("client_auth", "none"), "write `client_auth = \"none\"`");
    }
}
