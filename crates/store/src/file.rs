//! The file of a SQLite database and the files beside it: their names, who may use them, and whether they are still those
//! that were opened.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::Error;

/// The mode of a new file, and of a new folder: for the owner alone, whatever the umask is.
const FOR_OWNER: u32 = 0o600;
const FOLDER_FOR_OWNER: u32 = 0o700;
/// The bits of a mode that are for group and others.
const OTHERS: u32 = 0o077;

/// The endings of the files beside the database.
const BESIDE: [&str; 3] = ["-wal", "-shm", ".lock"];

/// Keeps a second gateway from a SQLite database until it is dropped.
#[derive(Debug)]
#[must_use = "the database is locked only as long as this lives"]
pub struct Lock(#[expect(dead_code, reason = "closing the file ends the lock")] File);

/// What identifies a file whatever its name: its device and its number there.
type Id = (u64, u64);

/// The file of a database. Once SQLite has opened it, nothing here may: closing it would end SQLite's locks.
pub(crate) struct DatabaseFile {
    path: PathBuf,
    is_new: bool,
    /// The files in use, with what identifies them.
    used: Mutex<Vec<(PathBuf, Id)>>,
}

impl DatabaseFile {
    /// The file by its name without symbolic links. It and its folder are made durably if need be, unless it must exist.
    pub(crate) fn at(path: &str, must_exist: bool) -> Result<Arc<Self>, Error> {
        let named = Path::new(path);
        let unusable = |e: io::Error| unusable(named, &e.to_string());
        let found = fs::canonicalize(named);
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let is_new = found.as_ref().is_err_and(is_missing);
        if is_new && must_exist {
            let path = std::path::absolute(named).map_err(unusable)?;
            let reason =
                "there is no database: run this where the gateway runs, or with its --config";
            return Err(self::unusable(&path, reason));
        }
        let path = if is_new { create(named) } else { found }.map_err(unusable)?;
        let found = fs::metadata(&path).map_err(unusable)?;
        if !found.is_file() {
            return Err(self::unusable(&path, "it is not a regular file"));
        }
        // SQLite's log is beside the name by which the file was opened, and not found by another name.
        if found.nlink() > 1 {
            let reason = "it has a second name (a hard link), beside which committed invites may lie: \
                          remove the link, or make it a copy";
            return Err(self::unusable(&path, reason));
        }
        let file = Self { path, is_new, used: Mutex::default() };
        for ending in BESIDE {
            let path = file.beside(ending);
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
                // Somebody may have put it there so that another file of ours is written to.
                return Err(self::unusable(&path, "it is a symbolic link: remove it"));
            }
        }
        file.keep_to_owner();
        Ok(Arc::new(file))
    }

    /// Makes the database's files usable by their owner alone, and its folder, too, if that holds nothing else. SQLite makes
    /// the log and its index as readable as the database.
    fn keep_to_owner(&self) {
        for ending in [""].into_iter().chain(BESIDE) {
            keep_to_owner(&self.beside(ending));
        }
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let is_own = |entry: io::Result<fs::DirEntry>| {
            let name = name.as_encoded_bytes();
            entry.is_ok_and(|it| it.file_name().as_encoded_bytes().starts_with(name))
        };
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.all(is_own)) {
            keep_to_owner(folder);
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was made when it was opened.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// An exclusive lock on `<database>.lock`.
    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        let path = self.beside(".lock");
        let unusable = |e: io::Error| unusable(&path, &e.to_string());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FOR_OWNER)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
            Err(TryLockError::Error(e)) => return Err(unusable(e)),
        }
        // If somebody removes it, a second gateway could lock a new one.
        self.note(path.clone(), &file.metadata().map_err(unusable)?);
        Ok(Lock(file))
    }

    /// Remembers the database, its log and the log's index as those to be expected from now on. SQLite has opened them for
    /// writing, at which an overlay file system makes a new file of one in a lower layer.
    pub(crate) fn note_opened(&self) -> Result<(), Error> {
        for ending in ["", "-wal", "-shm"] {
            let path = self.beside(ending);
            let found = fs::metadata(&path).map_err(|e| unusable(&path, &e.to_string()))?;
            self.note(path, &found);
        }
        Ok(())
    }

    /// Fails unless the files are still those that were opened: what is stored in one that nobody can find is lost.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<(), Error> {
        let file = Arc::clone(self);
        let checked = tokio::task::spawn_blocking(move || file.check_now()).await;
        checked.unwrap_or_else(|e| Err(unusable(&self.path, &e.to_string())))
    }

    pub(crate) fn check_now(&self) -> Result<(), Error> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changed = used
            .into_iter()
            .find(|(path, known)| !fs::metadata(path).is_ok_and(|found| id(&found) == *known));
        changed.map_or(Ok(()), |(path, _)| {
            let reason = "it is not the file that was opened: it was deleted, moved or replaced; put \
                          it back, or restart the gateway";
            Err(unusable(&path, reason))
        })
    }

    fn note(&self, path: PathBuf, found: &Metadata) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push((path, id(found)));
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}

fn id(found: &Metadata) -> Id {
    (found.dev(), found.ino())
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::File { path: path.to_owned(), reason: reason.to_owned() }
}

/// Makes a file or folder usable by its owner alone, if there is one.
fn keep_to_owner(path: &Path) {
    let Ok(found) = fs::metadata(path) else { return };
    let mode = found.permissions().mode();
    if mode & OTHERS == 0 {
        return;
    }
    let path_shown = path.display();
    match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS & 0o7777)) {
        Ok(()) => {
            tracing::warn!(
                "others than its owner could use {path_shown}: its mode is changed, so that they cannot any more"
            )
        }
        Err(error) => tracing::warn!(
            "others than its owner can use {path_shown}, and that cannot be changed: {error}"
        ),
    }
}

/// Makes an empty file, which is a database, so that it is still there after a power cut.
fn create(named: &Path) -> io::Result<PathBuf> {
    let folder = std::path::absolute(named)?.parent().map(Path::to_owned).unwrap_or_default();
    let missing = folder.ancestors().take_while(|folder| !folder.exists()).count();
    fs::DirBuilder::new().recursive(true).mode(FOLDER_FOR_OWNER).create(&folder)?;
    // This also makes the missing target of a symbolic link.
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(FOR_OWNER);
    options.open(named)?.sync_all()?;
    let path = fs::canonicalize(named)?;
    // The folder names the file, and each new folder is named by the one above.
    for folder in path.ancestors().skip(1).take(missing + 1) {
        File::open(folder)?.sync_all()?;
    }
    Ok(path)
}
