//! Files that are looked at rather than watched: what Kubernetes mounts are links that are turned, what is mounted by
//! itself is written in place, and what lies on the network tells nobody. Their contents decide.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};

/// No file of a configuration is longer; what is behind it is not looked at.
const LONGEST: u64 = 64 * 1024 * 1024;
/// What was written this lately may have been written again within one tick of the file system's clock.
const FRESH: Duration = Duration::from_secs(2);

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Unreadable(ErrorKind),
    /// A pipe or a device: reading it would take something away, or never end.
    NoFile,
    Bytes([u8; 32]),
}

/// What it looks like from outside; another one where it was written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outside {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

#[derive(Clone, Debug)]
struct Seen {
    content: Content,
    /// `None` where its content has to be read again.
    outside: Option<Outside>,
}

/// The files, and what they held when they were last made use of.
#[derive(Clone, Debug)]
pub struct Watched {
    used: BTreeMap<PathBuf, Content>,
    looked: BTreeMap<PathBuf, Seen>,
}

impl Watched {
    /// The files as they are now.
    pub fn now(paths: impl IntoIterator<Item = PathBuf>) -> Watched {
        let looked: BTreeMap<_, _> = paths.into_iter().map(|path| (path.clone(), look(&path, None))).collect();
        let used = looked.iter().map(|(path, seen)| (path.clone(), seen.content.clone())).collect();
        Watched { used, looked }
    }

    /// Whether any has changed, in the same way as at the look before: what is turned or written at this moment is not
    /// taken for what it is to be.
    pub fn has_changed(&mut self) -> bool {
        let looked: BTreeMap<_, _> =
            self.looked.iter().map(|(path, seen)| (path.clone(), look(path, Some(seen)))).collect();
        let before = std::mem::replace(&mut self.looked, looked);
        let mut pairs = self.looked.iter().zip(before.values());
        let changed = self.looked.iter().any(|(path, seen)| self.used.get(path) != Some(&seen.content));
        changed && pairs.all(|((_, now), before)| now.content == before.content)
    }

    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.used.keys()
    }

    /// Those of `paths` alone.
    pub fn only<'a>(mut self, paths: impl Iterator<Item = &'a PathBuf>) -> Watched {
        let paths: BTreeSet<_> = paths.collect();
        self.used.retain(|path, _| paths.contains(path));
        self.looked.retain(|path, _| paths.contains(path));
        self
    }

    /// Those of `other` that hold something else than here, or are not here.
    pub fn other_than<'a>(&'a self, other: &'a Watched) -> impl Iterator<Item = &'a Path> {
        let differs = |(path, content): &(&PathBuf, &Content)| self.used.get(*path) != Some(*content);
        other.used.iter().filter(differs).map(|(path, _)| path.as_path())
    }
}

fn look(path: &Path, before: Option<&Seen>) -> Seen {
    let began = SystemTime::now();
    match read(path, before) {
        Ok((content, outside)) => Seen { outside: Some(outside).filter(|outside| outside.is_old(began)), content },
        Err(error) => Seen { content: Content::Unreadable(error.kind()), outside: None },
    }
}

fn read(path: &Path, before: Option<&Seen>) -> io::Result<(Content, Outside)> {
    let is = std::fs::metadata(path)?;
    let outside = Outside {
        modified: (is.mtime(), is.mtime_nsec()),
        changed: (is.ctime(), is.ctime_nsec()),
        size: is.size(),
        inode: is.ino(),
        device: is.dev(),
    };
    if let Some(same) = before.filter(|before| before.outside == Some(outside)) {
        return Ok((same.content.clone(), outside));
    }
    if !is.is_file() {
        return Ok((Content::NoFile, outside));
    }
    // Nobody reads these: they are made while they are read, and some for as long as somebody reads.
    let length = if is.size() == 0 { 0 } else { LONGEST };
    let mut file = std::fs::File::open(path)?.take(length);
    let (mut context, mut part) = (Context::new(&SHA256), vec![0; 16 * 1024]);
    loop {
        match file.read(&mut part)? {
            0 => break,
            count => context.update(&part[..count]),
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok((Content::Bytes(digest), outside))
}

impl Outside {
    fn is_old(&self, now: SystemTime) -> bool {
        let since = |(seconds, _): (i64, i64)| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            now.duration_since(at).is_ok_and(|age| age > FRESH)
        };
        since(self.modified) && since(self.changed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_is_one_when_it_was_seen_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("write");
        let mut watched = Watched::now([path.clone()]);
        assert!(!watched.has_changed());
        fs::write(&path, "two").expect("write");
        assert_eq!([watched.has_changed(), watched.has_changed()], [false, true]);
        fs::write(&path, "on").expect("write");
        assert!(!watched.has_changed(), "it is being written");
        fs::write(&path, "one").expect("write");
        assert_eq!([watched.has_changed(), watched.has_changed()], [false, false], "it is what it was");
    }

    #[test]
    fn a_file_that_is_gone_for_a_moment_has_not_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("write");
        let mut watched = Watched::now([path.clone()]);
        fs::remove_file(&path).expect("remove");
        assert!(!watched.has_changed());
        fs::write(&path, "one").expect("write");
        assert!(!watched.has_changed());
        fs::remove_file(&path).expect("remove");
        assert_eq!([watched.has_changed(), watched.has_changed()], [false, true]);
    }

    #[test]
    fn links_that_are_turned_are_seen_and_links_to_the_same_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "one"), ("..3", "three")] {
            fs::create_dir(at(version)).expect("a folder");
            fs::write(at(version).join("secret"), text).expect("write");
        }
        symlink("..1", at("..data")).expect("link");
        symlink("..data/secret", at("secret")).expect("link");
        let mut watched = Watched::now([at("secret")]);
        for (version, wanted) in [("..2", [false, false]), ("..3", [false, true])] {
            symlink(version, at("..data_tmp")).expect("link");
            fs::rename(at("..data_tmp"), at("..data")).expect("rename");
            assert_eq!([watched.has_changed(), watched.has_changed()], wanted, "{version}");
        }
    }

    #[test]
    fn a_file_of_the_same_size_and_times_is_read_again_while_it_is_fresh() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("write");
        let at = fs::metadata(&path).expect("there").modified().expect("a time");
        let mut watched = Watched::now([path.clone()]);
        fs::write(&path, "two").expect("write");
        fs::File::options().write(true).open(&path).expect("open").set_modified(at).expect("set");
        assert_eq!([watched.has_changed(), watched.has_changed()], [false, true]);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let path = PathBuf::from("/dev/zero");
        let mut watched = Watched::now([path]);
        assert!(!watched.has_changed() && !watched.has_changed());
    }
}
