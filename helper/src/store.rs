//! Files that only the helper writes and reads: what must outlive the process or the machine's next boot.
//!
//! A file is replaced as a whole, so that whoever is killed in the middle leaves the old one. It knows nothing of what
//! is in them.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Why something was not kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct Error {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// One file: with one value in it, or with a line for each.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The file `name` in a directory that is made if need be, for root alone.
    pub fn open(directory: &Path, name: &str) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| Error { doing: "make", path: directory.into(), source })?;
        Ok(Self { path: directory.join(name) })
    }

    /// What was saved last; `None` if nothing was. A file that is damaged is an error and stays.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(self.failed("read"))?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.failed("understand")(error.into()))
    }

    /// Puts `value` in the place of what was saved before. `durable`: it must survive a power cut.
    pub fn save<T: Serialize>(&self, value: &T, durable: bool) -> Result<(), Error> {
        let bytes = serde_json::to_vec(value).map_err(|error| self.failed("write")(error.into()))?;
        let new = self.path.with_extension("new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&new, &self.path)?;
            match self.path.parent() {
                Some(directory) if durable => File::open(directory)?.sync_all(),
                _ => Ok(()),
            }
        };
        write().map_err(self.failed("write"))
    }

    /// Adds a line with `value` to a file of such lines.
    pub fn append<T: Serialize>(&self, values: impl Iterator<Item = T>) -> Result<(), Error> {
        let bytes = lines(values).map_err(self.failed("write"))?;
        let append = || File::options().append(true).create(true).open(&self.path)?.write_all(&bytes);
        append().map_err(self.failed("write"))
    }

    /// Puts these lines in the place of those that were there.
    pub fn rewrite<T: Serialize>(&self, values: impl Iterator<Item = T>) -> Result<(), Error> {
        let bytes = lines(values).map_err(self.failed("write"))?;
        let new = self.path.with_extension("new");
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &self.path)).map_err(self.failed("write"))
    }

    /// The lines that were added. One that was cut short, as whoever wrote it was killed, is left out.
    pub fn lines<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(self.failed("read"))?,
        };
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Removes the file, if there is one.
    pub fn remove(&self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(self.failed("remove")),
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error { doing, path, source }
    }
}

fn lines<T: Serialize>(values: impl Iterator<Item = T>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for value in values {
        serde_json::to_writer(&mut bytes, &value)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_last_is_loaded_and_damage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("a/b"), "x.json").unwrap();
        assert_eq!(store.load::<u32>().unwrap(), None);
        store.save(&1, true).unwrap();
        store.save(&2, false).unwrap();
        assert_eq!(store.load::<u32>().unwrap(), Some(2));
        fs::write(&store.path, "2 2").unwrap();
        let error = store.load::<u32>().unwrap_err();
        assert!(error.to_string().starts_with("cannot understand /"), "{error}");
        store.remove().unwrap();
        store.remove().unwrap();
        assert_eq!(store.load::<u32>().unwrap(), None);
    }

    #[test]
    fn lines_are_added_and_one_that_was_cut_short_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), "x.lines").unwrap();
        assert_eq!(store.lines::<(u64, String)>().unwrap(), []);
        let line = |id, path: &str| (id, path.to_owned());
        store.append([line(1, "/a\nb")].into_iter()).unwrap();
        store.append([line(2, "/c"), line(3, "/d")].into_iter()).unwrap();
        let whole = fs::read(&store.path).unwrap();
        fs::write(&store.path, &whole[..whole.len() - 4]).unwrap();
        assert_eq!(store.lines::<(u64, String)>().unwrap(), [line(1, "/a\nb"), line(2, "/c")]);
        store.rewrite([line(4, "/e")].into_iter()).unwrap();
        assert_eq!(store.lines::<(u64, String)>().unwrap(), [line(4, "/e")]);
    }
}
