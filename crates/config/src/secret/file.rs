//! Files that hold secrets: how they are opened and read, and read again when they change.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cap_std::{ambient_authority, fs::Dir};
use invite_core::secret::{Secret, read_to_end};
use rustix::fs::OFlags;
use secrecy::SecretString;

/// The longest secret that is read from a file, in bytes; keys and tokens are far shorter.
const MAX_BYTES: usize = 64 * 1024;
/// Opening a pipe, which is refused afterwards, must not wait for somebody who writes to it.
const FLAGS: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// What became of a secret file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOutcome {
    /// It holds another secret, which is in use from now on.
    Replaced,
    /// It cannot be read or holds nothing usable, for this reason; the last good value stays in use.
    /// Reported once, not again until the reason changes.
    Unreadable(String),
    /// It can be read again, and holds the secret that is in use.
    Recovered,
}

/// Where a secret file is, and how far its path may lead.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Wherever the path leads.
    Anywhere(PathBuf),
    /// Below this directory, out of which neither the path nor a link on it may lead.
    Below { directory: PathBuf, inner: PathBuf },
}

/// An open secret file, with its metadata from then.
pub(crate) struct Opened {
    file: File,
    pub(crate) metadata: Metadata,
}

impl Place {
    /// Opens the file. All checks are made on the open file, so that nobody can put another in its place meanwhile.
    pub(crate) fn open(&self) -> Result<Opened, String> {
        let cannot = |error: io::Error| format!("cannot be read: {error}");
        let file = match self {
            Self::Anywhere(path) => {
                fs::OpenOptions::new().read(true).custom_flags(FLAGS).open(path)
            }
            Self::Below { directory, inner } => open_below(directory, inner),
        };
        let file = file.map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err("is not a regular file".into());
        }
        Ok(Opened { file, metadata })
    }
}

fn open_below(directory: &Path, inner: &Path) -> io::Result<File> {
    let mut options = cap_std::fs::OpenOptions::new();
    cap_std::fs::OpenOptionsExt::custom_flags(options.read(true), FLAGS);
    let directory = Dir::open_ambient_dir(directory, ambient_authority())?;
    Ok(directory.open_with(inner, &options)?.into_std())
}

impl Opened {
    /// Reads the secret. The version is from before that, so that no later change is overlooked.
    pub(crate) fn read(self) -> Result<(SecretString, Version), String> {
        let bytes = read_to_end(self.file, MAX_BYTES);
        let bytes = bytes.map_err(|error| format!("cannot be read: {error}"))?;
        let bytes = bytes.ok_or_else(|| format!("is longer than {MAX_BYTES} bytes"))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
        Ok((clean(text)?, Version::of(&self.metadata)))
    }
}

/// A file that holds a secret in use.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    place: Place,
    mode: u32,
    secret: Arc<Secret>,
    seen: Mutex<Seen>,
}

/// What a file was like when it was last looked at.
#[derive(Debug)]
struct Seen {
    /// `None` if it could not be read, so that it is read again even if it has not changed.
    version: Option<Version>,
    failure: Option<String>,
}

/// What changes whenever a file's content does: device, inode, size, and the times of the last change of content and of
/// metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl SecretFile {
    pub(super) fn new(
        path: &Path,
        place: Place,
        mode: u32,
        secret: Arc<Secret>,
        version: Version,
    ) -> Self {
        let seen = Mutex::new(Seen { version: Some(version), failure: None });
        Self { path: path.to_owned(), place, mode, secret, seen }
    }

    /// The path by which it is named, and its mode when it was first read.
    pub(super) fn named(&self) -> (&Path, u32) {
        (&self.path, self.mode)
    }

    /// Reads the file again if it changed; returns its path and what became of it, unless the secret is the same.
    pub fn refresh(&self) -> Option<(&Path, SecretOutcome)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.place.open();
        let present = opened.as_ref().ok().map(|opened| Version::of(&opened.metadata));
        if present.is_some() && present == seen.version {
            return None;
        }
        let read = opened
            .and_then(Opened::read)
            .and_then(|(value, version)| self.secret.check(&value).map(|()| (value, version)));
        let outcome = match read {
            Ok((value, version)) => {
                seen.version = Some(version);
                let failed = seen.failure.take().is_some();
                match self.secret.replace(value) {
                    true => SecretOutcome::Replaced,
                    false if failed => SecretOutcome::Recovered,
                    false => return None,
                }
            }
            Err(why) => {
                seen.version = None;
                if seen.failure.as_ref() == Some(&why) {
                    return None;
                }
                seen.failure = Some(why.clone());
                SecretOutcome::Unreadable(why)
            }
        };
        Some((&self.path, outcome))
    }
}

/// A secret without the line break at its end, which editors and `echo` leave.
pub(super) fn clean(text: &str) -> Result<SecretString, String> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("it is empty".into()),
        value => Ok(SecretString::from(value)),
    }
}
