//! Small files that somebody names, read so that no file can stop the gateway or fill its memory.
//!
//! Promise: only a regular file is opened, and no more of it is read than its limit. A device, a pipe and a socket are
//! refused before they are opened, since already that may wait for somebody; and so is what `/proc` makes up while it is
//! read (`/proc/kmsg` waits for the kernel to speak), which is a regular file of no size and holds nothing here. The
//! configuration alone may come by a pipe, at the start.

use std::fs::{File, metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The content of the file at `path`, which is `limit` bytes at most.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let wrong = |why: String| Err(io::Error::new(ErrorKind::InvalidInput, why));
    let kind = metadata(path)?;
    if kind.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    if !kind.is_file() {
        return wrong("it is no regular file".into());
    }
    let file = File::open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return wrong("it is no regular file".into());
    }
    if found.len() == 0 {
        return Ok(Vec::new());
    }
    let mut content = Vec::new();
    // The limit holds while reading: a file may grow.
    let read = if found.len() > limit { limit + 1 } else { file.take(limit + 1).read_to_end(&mut content)? as u64 };
    match read > limit {
        true => wrong(format!("it is larger than {}", size(limit))),
        false => Ok(content),
    }
}

/// The same for text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, limit)?);
    text.map_err(|_| io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
}

/// The same, and what comes out of a pipe to its end: `<(…)`, `/dev/stdin`.
pub fn read_text_or_pipe(path: &Path, limit: u64) -> io::Result<String> {
    if !metadata(path)?.file_type().is_fifo() {
        return read_text(path, limit);
    }
    let mut text = String::new();
    match File::open(path)?.take(limit + 1).read_to_string(&mut text)? as u64 > limit {
        true => Err(io::Error::new(ErrorKind::InvalidInput, format!("it is larger than {}", size(limit)))),
        false => Ok(text),
    }
}

fn size(bytes: u64) -> String {
    match bytes / (1024 * 1024) {
        0 => format!("{} kB", bytes / 1024),
        mega => format!("{mega} MB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), [b'a'; 2048]).expect("write");
        assert_eq!(read_text(file.path(), 2048).expect("text").len(), 2048);
        let told = read(file.path(), 1024).expect_err("too large").to_string();
        assert_eq!(told, "it is larger than 1 kB");
        // Of 3 GB that are nowhere on the disk.
        file.as_file().set_len(3 << 30).expect("length");
        let told = read(file.path(), 1024 * 1024).expect_err("too large").to_string();
        assert_eq!(told, "it is larger than 1 MB");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
        for path in [Path::new("/dev/zero"), &socket] {
            let told = read(path, 1024).expect_err("no file").to_string();
            assert_eq!(told, "it is no regular file", "{}", path.display());
        }
        assert_eq!(read(folder.path(), 1024).expect_err("no file").kind(), ErrorKind::IsADirectory);
        // Made while it is read, for as long as somebody reads.
        assert_eq!(read(Path::new("/proc/self/status"), 1024).expect("nothing"), b"");
        assert_eq!(read(&folder.path().join("none"), 1).expect_err("none").kind(), ErrorKind::NotFound);
    }
}
