//! Replaces files as a whole: whoever reads one meanwhile has the old text or the new one.

use std::{fs, io, path::Path};

/// Writes the whole file or nothing. If it is a link, it stays one; its permissions stay too.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut new = path.clone().into_os_string();
    new.push(".new");
    fs::write(&new, text)?;
    if let Ok(before) = fs::metadata(&path) {
        fs::set_permissions(&new, before.permissions())?;
    }
    fs::rename(&new, &path)
}
