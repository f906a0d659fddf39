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

/// Empties the file, so that nobody reads figures that have become old. For node_exporter, a file that is missing where a link leads to
/// it is an error, and an empty one is none.
pub fn clear(path: &Path) -> io::Result<()> {
    // Where there is no room for a new file, there is none for an old one's figures either.
    write(path, b"").or_else(|_| fs::remove_file(path))
}
