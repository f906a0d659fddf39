//! Writes the figures to a file for node_exporter's textfile collector. It reads the file whenever it is scraped, so the file is
//! always whole: a new one takes the place of the old one.

use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// node_exporter runs as a user of its own.
const MODE: u32 = 0o644;

/// Replaces the file.
pub fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The collector reads what ends in .prom.
    let mut file = tempfile::Builder::new().prefix(".netglance-").suffix(".new").tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().set_permissions(Permissions::from_mode(MODE))?;
    file.persist(path)?;
    Ok(())
}

/// Takes the file away, so that nobody reads figures that have become old. It is no error if it has gone.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
