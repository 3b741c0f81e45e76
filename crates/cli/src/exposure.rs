//! Warns of files that other users of this machine can read or replace.
//!
//! Whoever may write the provider document can name any secret file and the host that it is sent
//! to, and whoever may read the TLS key can listen in. Such files are used all the same, as a
//! container may have no other way to hand them over, but the log says so.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::settings::Settings;

/// The bits of a mode by which group and others may write, and by which they may do anything.
const WRITE: u32 = 0o022;
const ANYTHING: u32 = 0o077;
/// With this bit of a folder only the owner of a file in it can replace the file.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

/// Checks the files of the settings, the provider document and the TLS key.
pub fn warn(settings: &Settings) {
    let key = settings.server.tls().map(|files| files.key);
    let documents = settings.files.iter().chain([&settings.providers.file]);
    let found = documents.map(|path| (path, WRITE)).chain(key.iter().map(|key| (key, ANYTHING)));
    found.for_each(|(path, forbidden)| warn_of(path, forbidden));
}

/// Checks the file of the database. Opening it keeps it to its owner, but not its folder.
pub fn warn_of_database(path: &Path) {
    warn_of(path, ANYTHING);
}

fn warn_of(path: &Path, forbidden: u32) {
    if let Some(why) = exposure(path, forbidden) {
        tracing::warn!("{why}: keep it to the user that the gateway runs as, or to root");
    }
}

/// What others may do with this file, or with the name that leads to it, that they should not.
fn exposure(path: &Path, forbidden: u32) -> Option<String> {
    let shown = path.display();
    let found = fs::metadata(path).ok()?;
    if is_foreign(&found) {
        return Some(format!("file {shown} belongs to another user"));
    }
    if found.mode() & forbidden != 0 {
        let mode = found.mode() & 0o777;
        return Some(format!("others than its owner may use file {shown} (mode {mode:03o})"));
    }
    let folder = fs::canonicalize(path).ok()?.parent()?.to_owned();
    let around = fs::metadata(&folder).ok()?;
    let is_replaceable = around.mode() & WRITE != 0 && around.mode() & STICKY == 0;
    (is_replaceable || is_foreign(&around)).then(|| {
        format!("file {shown} can be replaced by whoever may write the folder {}", folder.display())
    })
}

fn is_foreign(found: &Metadata) -> bool {
    ![ROOT, rustix::process::geteuid().as_raw()].contains(&found.uid())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_is_exposed_by_its_mode_and_by_its_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("etc");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("providers.toml");
        fs::write(&path, "").unwrap();
        for (file, around, forbidden, is_exposed) in [
            (0o644, 0o755, WRITE, false),
            (0o644, 0o755, ANYTHING, true),
            (0o600, 0o700, ANYTHING, false),
            (0o620, 0o755, WRITE, true),
            (0o602, 0o755, WRITE, true),
            (0o600, 0o775, WRITE, true),
            (0o600, 0o757, WRITE, true),
            (0o600, 0o1777, WRITE, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(file)).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(around)).unwrap();
            let found = exposure(&path, forbidden);
            assert_eq!(found.is_some(), is_exposed, "{file:o} {around:o} {forbidden:o}: {found:?}");
        }
        assert_eq!(exposure(&folder.join("none"), WRITE), None);
    }
}
