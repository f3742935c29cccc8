//! The file with what is kept of keys: whose they are, their digests, and which tokens were revoked.
//!
//! Promise: it is written whole or not at all, for its owner alone, and two commands at once lose nothing; what is wrong
//! in it is told with file and line. No key is in it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use toml::Spanned;

use super::key::{self, Digest};
use super::moment::Moment;
use crate::config::Settings;
use crate::files;
use crate::reason::{Failure, Reason};

/// The name of the file where the configuration names none.
pub const DEFAULT_FILE: &str = "api-keys.toml";

/// Largest file: some hundred thousand keys.
const LARGEST: u64 = 64 * 1024 * 1024;
/// What to do where the file can be neither read nor written.
const CORRECT: &str = "Let the gateway's user read the file, and whoever makes keys write it and its directory.";
const HEAD: &str = "# Digests of the service accounts' keys, and revoked tokens. Written by `doorward service-account` and\n\
                    # `doorward token`, and read by the gateway whenever it changes. Comments here are not kept.\n\n";

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeysFile {
    #[serde(rename = "key", skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyEntry>,
    #[serde(rename = "revoked_token", skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<RevokedToken>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Eight letters or digits, by which people speak of it.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// Name of the `[[service_account]]`.
    pub account: String,
    #[serde(serialize_with = "as_hex", deserialize_with = "from_text")]
    pub digest: Digest,
    pub created: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A token that is refused although nothing else is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedToken {
    /// `jti` (RFC 7519 §4.1.7).
    pub token_id: String,
    /// When it has expired anyway and need not be remembered; never where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
}

/// As it is read, with the places of the entries.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    #[serde(default)]
    key: Vec<Spanned<KeyEntry>>,
    #[serde(default)]
    revoked_token: Vec<RevokedToken>,
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.len() == 8 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true => Ok(text),
        false => Err(D::Error::custom("an id has eight letters or digits")),
    }
}

fn as_hex<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&key::hex(digest))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    if key::check(text.as_bytes()).is_ok() {
        return Err(D::Error::custom(
            "this is a key itself; only its SHA-256 digest belongs here, and the key is no secret any more",
        ));
    }
    let digits = || (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    let bytes = match text.len() {
        64 if text.bytes().all(|b| b.is_ascii_hexdigit()) => digits().collect(),
        43 => URL_SAFE_NO_PAD.decode(&text).ok(),
        _ => None,
    };
    let bytes: Option<Digest> = bytes.and_then(|bytes: Vec<u8>| bytes.try_into().ok());
    bytes.ok_or_else(|| D::Error::custom("a digest is SHA-256 in hexadecimal (64 digits) or base64url (43 characters)"))
}

/// Where the file is: where `settings` say, else beside the configuration, else in the working directory.
pub fn place(settings: &Settings, config_file: Option<&Path>) -> PathBuf {
    let beside = || config_file.and_then(Path::parent).unwrap_or(Path::new("")).join(DEFAULT_FILE);
    settings.api_keys_file.clone().unwrap_or_else(beside)
}

impl KeysFile {
    /// Reads the file at `path`; one that is not there holds nothing.
    ///
    /// [`Reason::ConfigUnreadable`], or [`Reason::ConfigInvalid`] with file and line.
    pub fn read(path: &Path) -> Result<KeysFile, Failure> {
        Ok(KeysFile::find(path)?.unwrap_or_default())
    }

    /// The same, but `None` where there is no file.
    pub fn find(path: &Path) -> Result<Option<KeysFile>, Failure> {
        match files::read_text(path, LARGEST) {
            Ok(text) => KeysFile::parse(&text, path).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let failure = Failure::new(Reason::ConfigUnreadable, format!("{}: {error}", path.display()));
                Err(failure.remedied(CORRECT))
            }
        }
    }

    /// Tells where others than the owner may write the file at `path`: whoever can gives themselves a key.
    pub fn warn_of_writers(path: &Path) {
        let Ok(mode) = fs::metadata(path).map(|is| is.mode() & 0o777) else { return };
        if mode & 0o022 != 0 {
            let (file, mode) = (path.display(), format!("{mode:03o}"));
            tracing::warn!(%file, mode, "others than its owner may write the keys file, and so make keys; `chmod go-w` it");
        }
    }

    fn parse(text: &str, path: &Path) -> Result<KeysFile, Failure> {
        let invalid = |span: Option<Range<usize>>, message: &str| {
            let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Failure::new(Reason::ConfigInvalid, format!("{}:{line}: {message}", path.display()))
        };
        let placed: Placed = toml::from_str(text).map_err(|error| invalid(error.span(), error.message()))?;
        let (mut ids, mut digests) = (HashSet::new(), HashSet::new());
        for entry in &placed.key {
            let KeyEntry { id, digest, .. } = entry.as_ref();
            if !ids.insert(id) {
                return Err(invalid(Some(entry.span()), &format!("two keys have the id `{id}`")));
            }
            // The gateway's table goes by these bytes, which two keys share by copying alone.
            if !digests.insert(&digest[..8]) {
                return Err(invalid(Some(entry.span()), &format!("the key `{id}` has another one's digest")));
            }
        }
        let keys = placed.key.into_iter().map(Spanned::into_inner).collect();
        Ok(KeysFile { keys, revoked: placed.revoked_token })
    }

    /// Changes the file at `path` by `change`, while no other command does; returns what `change` returns.
    ///
    /// Nothing is written where `change` fails, or where there was nothing to change.
    pub fn change<T>(path: &Path, change: impl FnOnce(&mut KeysFile) -> Result<T, Failure>) -> Result<T, Failure> {
        // A link stays, and what it leads to is replaced.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let failed = |what: &str, error: std::io::Error| {
            let detail = format!("{} cannot be {what}: {error}", path.display());
            Failure::new(Reason::ConfigUnreadable, detail).remedied(CORRECT)
        };
        // The file itself is replaced, so the lock is on what stays. It ends with the handle.
        let held = File::open(directory).map_err(|error| failed("written", error))?;
        held.lock().map_err(|error| failed("locked", error))?;
        let before = KeysFile::read(path)?;
        let mut after = before.clone();
        let result = change(&mut after)?;
        if after != before {
            after.replace(path, directory).and_then(|()| held.sync_all()).map_err(|error| failed("written", error))?;
        }
        Ok(result)
    }

    fn replace(&self, path: &Path, directory: &Path) -> std::io::Result<()> {
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        let name = path.file_name().unwrap_or(DEFAULT_FILE.as_ref()).to_string_lossy();
        let fresh = directory.join(format!(".{name}.new"));
        // Left over from a command that was killed; nobody else writes while the lock is held.
        let _ = fs::remove_file(&fresh);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            like_before(&file, path, directory)?;
            file.write_all(HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }
}

/// Gives a new file the owner of the one it replaces, or of the folder: what root writes, the gateway's user has to read.
fn like_before(file: &File, path: &Path, directory: &Path) -> std::io::Result<()> {
    let old = fs::metadata(path).ok();
    if let Some(old) = &old {
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o666))?;
    }
    let wanted = old.map_or_else(|| fs::metadata(directory), Ok)?;
    let is = file.metadata()?;
    if (is.uid(), is.gid()) != (wanted.uid(), wanted.gid()) {
        // Only root may; who is not reads what they write.
        let _ = fchown(file, Some(wanted.uid()), Some(wanted.gid()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, byte: u8) -> KeyEntry {
        KeyEntry {
            id: id.into(),
            account: "ci".into(),
            digest: [byte; 32],
            created: Moment(1_795_316_901),
            expires: None,
            note: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_again_by_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(DEFAULT_FILE);
        assert_eq!(KeysFile::read(&path).expect("a missing file"), KeysFile::default());
        let expires = Some(Moment(1_800_000_000));
        let full = KeyEntry { expires, note: "\"quoted\" = 'x' # é".into(), ..entry("bbbbbbbb", 2) };
        KeysFile::change(&path, |file| {
            file.keys = vec![entry("aaaaaaaa", 1), full.clone()];
            file.revoked.push(RevokedToken { token_id: "a\"b".into(), until: Some(Moment(7)) });
            file.revoked.push(RevokedToken { token_id: "for ever".into(), until: None });
            Ok(())
        })
        .expect("written");
        let read = KeysFile::read(&path).expect("read");
        assert_eq!((&read.keys[1], read.keys.len(), read.revoked.len()), (&full, 2, 2));
        assert_eq!(fs::metadata(&path).expect("file").mode() & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(dir.path()).expect("folder").collect();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    }

    #[test]
    fn a_refused_change_and_no_change_write_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(DEFAULT_FILE);
        let refused: Result<(), _> = KeysFile::change(&path, |file| {
            file.keys.push(entry("aaaaaaaa", 1));
            Err(Reason::KeyUnknown.into())
        });
        assert!(refused.is_err() && !path.exists());
        KeysFile::change(&path, |_| Ok(())).expect("nothing to do");
        assert!(!path.exists());
    }

    #[test]
    fn many_commands_at_once_lose_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(DEFAULT_FILE);
        let threads = (0..16u8).map(|number| {
            let path = path.clone();
            std::thread::spawn(move || {
                KeysFile::change(&path, |file| {
                    file.keys.push(entry(&format!("{number:08}"), number));
                    Ok(())
                })
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|thread| thread.join().expect("thread").expect("written"));
        assert_eq!(KeysFile::read(&path).expect("read").keys.len(), 16);
    }

    #[test]
    fn mode_and_link_of_an_existing_file_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, link) = (dir.path().join("real.toml"), dir.path().join(DEFAULT_FILE));
        fs::write(&path, "").expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        let add = |file: &mut KeysFile| {
            file.keys.push(entry("aaaaaaaa", 1));
            Ok(())
        };
        KeysFile::change(&link, add).expect("written");
        assert!(fs::symlink_metadata(&link).expect("link").is_symlink());
        assert_eq!(fs::metadata(&path).expect("file").mode() & 0o777, 0o640);
        assert_eq!(KeysFile::read(&path).expect("read").keys.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let digest = "ab".repeat(32);
        let key = |id: &str, digest: &str| {
            format!("[[key]]\nid = \"{id}\"\naccount = \"ci\"\ndigest = \"{digest}\"\ncreated = 2026-11-22T00:00:00Z\n")
        };
        let a_key = key::make().expect("random").expose().to_owned();
        let good = key("aaaaaaaa", &digest);
        assert!(KeysFile::parse(&good, Path::new("k")).is_ok());
        let base64 = URL_SAFE_NO_PAD.encode([0xab; 32]);
        let parsed = KeysFile::parse(&key("aaaaaaaa", &base64), Path::new("k")).expect("base64url");
        assert_eq!(parsed.keys[0].digest, [0xab; 32]);
        for (text, place, word) in [
            ("[[key]\n".to_owned(), "k:1: ", ""),
            (format!("{good}\n[[kye]]\n"), "k:7: ", "kye"),
            (key("short", &digest), "k:2: ", "eight"),
            (key("aaaaaaaa", "abcd"), "k:4: ", "SHA-256"),
            (key("aaaaaaaa", &"é".repeat(32)), "k:4: ", "SHA-256"),
            (key("aaaaaaaa", &a_key), "k:4: ", "key itself"),
            (format!("{good}expires = 7\n"), "k:6: ", ""),
            (format!("{good}{good}"), "k:6: ", "`aaaaaaaa`"),
            (format!("{good}{}", key("bbbbbbbb", &digest)), "k:6: ", "`bbbbbbbb`"),
            ("[[key]]\nid = \"aaaaaaaa\"\n".to_owned(), "k:1: ", "account"),
        ] {
            let failure = KeysFile::parse(&text, Path::new("k")).expect_err(&text);
            assert_eq!(failure.reason, Reason::ConfigInvalid);
            assert!(failure.detail.starts_with(place) && failure.detail.contains(word), "{text}\n{}", failure.detail);
            assert!(!failure.detail.contains(&a_key), "{}", failure.detail);
        }
    }
}
