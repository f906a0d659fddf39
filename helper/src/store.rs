//! Files that only the helper writes and reads: what must outlive the process or the machine's next boot.
//!
//! A file is replaced as a whole, so that whoever is killed in the middle leaves the old one. It knows nothing of what
//! is in them.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufWriter, IntoInnerError, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use serde::{Serialize, de::DeserializeOwned};

use crate::log;

/// No file of the helper's is nearly as long: a longer one is somebody else's.
const MOST_BYTES: u64 = 16 << 20;
/// Things that are kept aside of one file's name.
const ASIDE: usize = 8;

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
    /// The file `name` in a directory that is made if need be, for root alone. Where it can't be made, reading finds nothing and
    /// writing says why.
    pub fn at(directory: &Path, name: &str) -> Self {
        _ = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        Self { path: directory.join(name) }
    }

    /// What was saved last; `None` if nothing was. What makes no sense is an error and is put aside.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let value = match self.bytes() {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(|error| self.failed("understand")(error.into())),
            Err(error) => Err(error),
        };
        value.map(Some).inspect_err(|_| self.put_aside())
    }

    /// What is in the file; `None` if there is none. Whatever lies there, this ends, and takes no more than 16 MiB.
    fn bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let open = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path);
        let file = match open {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(self.failed("read"))?,
        };
        let is_ours = file.metadata().map_err(self.failed("read"))?;
        if !is_ours.is_file() || is_ours.len() > MOST_BYTES {
            return Err(self.failed("read")(io::Error::other("it is not a file that netglance wrote")));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(self.failed("read"))?;
        Ok(Some(bytes))
    }

    /// Gives what lies there another name, so that it is in nobody's way.
    fn put_aside(&self) {
        put_aside(&self.path);
    }

    /// Puts `value` in the place of what was saved before. `durable`: it must survive a power cut.
    pub fn save<T: Serialize>(&self, value: &T, durable: bool) -> Result<(), Error> {
        self.replace(|file| Ok(serde_json::to_writer(file, value)?), durable)
    }

    /// Writes `value` beside what was saved before, where [`Self::put_in_place`] expects it. Whoever wants it to survive a power cut
    /// syncs the returned file in between.
    pub fn write_beside<T: Serialize>(&self, value: &T) -> Result<File, Error> {
        self.fill_new(|file| Ok(serde_json::to_writer(file, value)?))
    }

    /// Puts what was written beside in the place of what was saved before.
    pub fn put_in_place(&self) -> Result<(), Error> {
        let put = || {
            if fs::symlink_metadata(&self.path).is_ok_and(|there| there.is_dir()) {
                self.put_aside();
            }
            fs::rename(self.new_path(), &self.path)
        };
        put().map_err(self.failed("write")).inspect_err(|_| _ = fs::remove_file(self.new_path()))
    }

    /// Why what was written beside could not be synced; it is gone.
    pub fn unwritten(&self, why: io::Error) -> Error {
        _ = fs::remove_file(self.new_path());
        self.failed("write")(why)
    }

    /// Gives what was saved here to `other`, in the place of what that had. It survives a power cut.
    pub fn move_to(&self, other: &Self) -> Result<(), Error> {
        let go = || {
            if fs::symlink_metadata(&other.path).is_ok_and(|there| there.is_dir()) {
                other.put_aside();
            }
            fs::rename(&self.path, &other.path)?;
            self.sync_directory()
        };
        go().map_err(other.failed("write"))
    }

    fn replace(&self, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>, durable: bool) -> Result<(), Error> {
        let file = self.fill_new(fill)?;
        if durable {
            file.sync_all().map_err(|error| self.unwritten(error))?;
        }
        self.put_in_place()?;
        if durable { self.sync_directory().map_err(self.failed("write")) } else { Ok(()) }
    }

    fn fill_new(&self, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<File, Error> {
        let new = self.new_path();
        let write = || {
            // Not through a link that somebody has put there.
            if fs::symlink_metadata(&new).is_ok_and(|there| there.is_dir()) {
                put_aside(&new);
            } else {
                _ = fs::remove_file(&new);
            }
            let mut file = BufWriter::new(File::create_new(&new)?);
            fill(&mut file)?;
            file.into_inner().map_err(IntoInnerError::into_error)
        };
        write().map_err(self.failed("write")).inspect_err(|_| _ = fs::remove_file(&new))
    }

    fn new_path(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    /// Adds a line with `value` to a file of such lines.
    pub fn append<T: Serialize>(&self, values: impl Iterator<Item = T>) -> Result<(), Error> {
        let bytes = lines(values).map_err(self.failed("write"))?;
        let append = || File::options().append(true).create(true).open(&self.path)?.write_all(&bytes);
        append().map_err(self.failed("write"))
    }

    /// Whether the file is longer than one of ours has to be on most hosts.
    pub fn is_long(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > MOST_BYTES / 4)
    }

    /// Puts these lines in the place of those that were there.
    pub fn rewrite<T: Serialize>(&self, values: impl Iterator<Item = T>) -> Result<(), Error> {
        let bytes = lines(values).map_err(self.failed("write"))?;
        self.replace(|file| file.write_all(&bytes), false)
    }

    /// Gives each line that was added to `each`, the latest first. One that was cut short, as whoever wrote it was killed, is left
    /// out.
    pub fn latest_lines<T: DeserializeOwned>(&self, mut each: impl FnMut(T)) -> Result<(), Error> {
        let bytes = self.bytes().inspect_err(|_| self.put_aside())?.unwrap_or_default();
        bytes.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).for_each(&mut each);
        Ok(())
    }

    /// Removes the file, if there is one, and what was written beside it.
    pub fn remove(&self) -> Result<(), Error> {
        _ = fs::remove_file(self.new_path());
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

fn put_aside(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = (1..=ASIDE).map(|number| path.with_file_name(format!("{name}.aside{number}")));
    let Some(aside) = names.find(|aside| fs::symlink_metadata(aside).is_err()) else {
        return log(format_args!(
            "{} is in the way, and {ASIDE} such files have already been moved aside",
            path.display()
        ));
    };
    match fs::rename(path, &aside) {
        Ok(()) => log(format_args!("{} was moved aside to {}", path.display(), aside.display())),
        Err(error) => log(format_args!("{} is in the way and cannot be moved aside: {error}", path.display())),
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
        let store = Store::at(&directory.path().join("a/b"), "x.json");
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
        assert_eq!(fs::read(directory.path().join("a/b/x.json.aside1")).unwrap(), b"2 2");
    }

    #[test]
    fn whatever_lies_in_its_place_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path(), "x.json");
        let path = directory.path().join("x.json");
        let victim = directory.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let things: [&dyn Fn(&Path); 4] = [
            &|path| fs::create_dir_all(path.join("full")).unwrap(),
            &|path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
            &|path| File::create(path).unwrap().set_len(MOST_BYTES + 1).unwrap(),
            &|path| std::os::unix::fs::symlink(&victim, path).unwrap(),
        ];
        for make in things {
            make(&path);
            store.load::<u32>().unwrap_err();
            assert_eq!(store.load::<u32>().unwrap(), None);
            make(&path);
            make(&path.with_extension("new"));
            store.save(&7, false).unwrap();
            assert_eq!(store.load::<u32>().unwrap(), Some(7));
            store.remove().unwrap();
            for entry in fs::read_dir(directory.path()).unwrap().flatten().filter(|entry| entry.path() != victim) {
                fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path())).unwrap();
            }
        }
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn lines_are_added_and_one_that_was_cut_short_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path(), "x.lines");
        let read = || {
            let mut lines = Vec::new();
            store.latest_lines::<(u64, String)>(|line| lines.push(line)).unwrap();
            lines.reverse();
            lines
        };
        assert_eq!(read(), []);
        let line = |id, path: &str| (id, path.to_owned());
        store.append([line(1, "/a\nb")].into_iter()).unwrap();
        store.append([line(2, "/c"), line(3, "/d")].into_iter()).unwrap();
        let whole = fs::read(&store.path).unwrap();
        fs::write(&store.path, &whole[..whole.len() - 4]).unwrap();
        assert_eq!(read(), [line(1, "/a\nb"), line(2, "/c")]);
        store.rewrite([line(4, "/e")].into_iter()).unwrap();
        assert_eq!(read(), [line(4, "/e")]);
    }
}
