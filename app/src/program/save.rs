//! Saves a chart's picture where the person wants it: the desktop's file chooser asks (org.freedesktop.portal.FileChooser). Where
//! there is none, the picture goes to the person's folder of pictures. No file is overwritten unless the person has agreed to it in the
//! file chooser.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use futures_lite::StreamExt as _;
use zbus::{Connection, ObjectPath, OwnedObjectPath, OwnedVariant, Variant, proxy, proxy::CacheProperties};

/// Why a picture was not saved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be written.
    #[error("the chart cannot be saved as {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file chooser named what is no file of this computer.
    #[error("the chart can only be saved in a local folder, not at {0}")]
    Elsewhere(String),
    /// No folder is known.
    #[error("the chart cannot be saved, because HOME is not set")]
    NoPlace,
}

#[proxy(
    interface = "org.freedesktop.portal.FileChooser",
    default_service = "org.freedesktop.portal.Desktop",
    default_path = "/org/freedesktop/portal/desktop"
)]
trait FileChooser {
    fn save_file(
        &self,
        parent: &str,
        title: &str,
        options: HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<OwnedObjectPath>;
}

#[proxy(interface = "org.freedesktop.portal.Request", default_service = "org.freedesktop.portal.Desktop")]
trait Request {
    #[zbus(signal)]
    fn response(&self, response: u32, results: HashMap<String, OwnedVariant>) -> zbus::Result<()>;
}

/// Where a chart was saved; `None`: the person has changed their mind.
pub type Saved = Result<Option<PathBuf>, Error>;

/// What a person did with the file chooser.
enum Chosen {
    /// A file was named, by its URI.
    Uri(String),
    /// No picture is wanted any more.
    Cancelled,
}

/// Saves a picture, an SVG document, and tells where. `name` is what its file may be called,
/// without an ending. `session`: the bus on which there may be a file chooser.
pub async fn save(session: Option<&Connection>, name: &str, svg: &str) -> Saved {
    let name = file_name(name);
    // A portal that fails is none.
    let chosen = match session {
        Some(session) => ask(session, &format!("{name}.svg")).await.ok().flatten(),
        None => None,
    };
    let path = match chosen {
        Some(Chosen::Cancelled) => return Ok(None),
        Some(Chosen::Uri(uri)) => {
            let path = path_of(&uri).ok_or(Error::Elsewhere(uri))?;
            fs::write(&path, svg).map_err(|source| Error::Write { path: path.clone(), source })?;
            path
        }
        None => write_new(&pictures().ok_or(Error::NoPlace)?, &name, svg)?,
    };
    Ok(Some(path))
}

/// `None`: the file chooser came to no end.
async fn ask(session: &Connection, name: &str) -> zbus::Result<Option<Chosen>> {
    let portal = FileChooserProxy::builder(session).cache_properties(CacheProperties::No).build().await?;
    let token = format!("netglance{}", std::process::id());
    // The answer may come before the call has returned, so it is waited for where it will come.
    let sender = session.unique_name().map(|name| name.trim_start_matches(':').replace('.', "_")).unwrap_or_default();
    let path = format!("/org/freedesktop/portal/desktop/request/{sender}/{token}");
    let mut answers = response(session, ObjectPath::try_from(path.as_str())?).await?;
    let options = HashMap::from([
        ("handle_token", Variant::from(token.as_str())),
        ("current_name", Variant::from(name)),
        ("accept_label", Variant::from("Save")),
    ]);
    let handle = portal.save_file("", "Save Chart", options).await?;
    if handle.as_str() != path {
        // Portals before version 0.9 choose a place of their own.
        answers = response(session, handle.as_ref()).await?;
    }
    let Some(answer) = answers.next().await else { return Ok(None) };
    let answer = answer.args()?;
    Ok(match answer.response {
        0 => {
            let uris = answer.results.get("uris").and_then(|uris| uris.try_clone().ok());
            let uris = uris.and_then(|uris| Vec::<String>::try_from(uris).ok()).unwrap_or_default();
            uris.into_iter().next().map(Chosen::Uri)
        }
        1 => Some(Chosen::Cancelled),
        _ => None,
    })
}

async fn response(session: &Connection, path: ObjectPath<'_>) -> zbus::Result<ResponseStream> {
    let request =
        RequestProxy::builder(session).path(path.to_owned()).cache_properties(CacheProperties::No).build().await?;
    request.receive_response().await
}

/// What may be a file's name: not a path, not hidden, and with room for an ending.
fn file_name(name: &str) -> String {
    const MOST_BYTES: usize = 200;
    let mut safe: String = name.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    while safe.len() > MOST_BYTES {
        safe.pop();
    }
    let safe = safe.trim().trim_start_matches('.');
    if safe.is_empty() { "Chart".to_owned() } else { safe.to_owned() }
}

/// The file that a URI is, with every byte of its name.
fn path_of(uri: &str) -> Option<PathBuf> {
    let text = uri.strip_prefix("file://")?;
    let mut bytes = Vec::new();
    let mut rest = text.strip_prefix("localhost").unwrap_or(text).bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes))).filter(|path| path.is_absolute())
}

/// The person's folder of pictures, or their home where they have none.
fn pictures() -> Option<PathBuf> {
    let home = PathBuf::from(env::var_os("HOME").filter(|home| !home.is_empty())?);
    let list = xdg::BaseDirectories::new().get_config_file("user-dirs.dirs");
    let listed = list.and_then(|list| fs::read_to_string(list).ok()).and_then(|list| pictures_in(&list, &home));
    let folders = [listed, Some(home.join("Pictures")), Some(home)];
    folders.into_iter().flatten().find(|folder| folder.is_dir())
}

/// What user-dirs.dirs (xdg-user-dirs) says: `XDG_PICTURES_DIR="$HOME/Bilder"`.
fn pictures_in(list: &str, home: &Path) -> Option<PathBuf> {
    let line = list.lines().find_map(|line| line.trim().strip_prefix("XDG_PICTURES_DIR="))?;
    let value = line.trim().trim_matches('"').replace('\\', "");
    match value.strip_prefix("$HOME") {
        Some(below) => Some(home.join(below.trim_start_matches('/'))),
        None => Some(PathBuf::from(value)).filter(|path| path.is_absolute()),
    }
}

/// Writes a file that wasn't there before, with a number in its name if need be.
fn write_new(folder: &Path, name: &str, svg: &str) -> Result<PathBuf, Error> {
    let mut number = 1;
    loop {
        let file = if number == 1 { format!("{name}.svg") } else { format!("{name} ({number}).svg") };
        let path = folder.join(file);
        let written = fs::File::create_new(&path).and_then(|mut file| io::Write::write_all(&mut file, svg.as_bytes()));
        match written {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
            Err(source) => return Err(Error::Write { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_a_file() {
        for (name, expected) in [
            ("StB, 1 year until 2026-11-03 14.05", "StB, 1 year until 2026-11-03 14.05"),
            ("../etc/\u{7}", "_etc__"),
            (" .. ", "Chart"),
            ("Übersicht", "Übersicht"),
        ] {
            assert_eq!(file_name(name), expected);
        }
        assert!(file_name(&"ü".repeat(300)).len() <= 200);
    }

    #[test]
    fn uris_and_folders_are_read() {
        for (uri, expected) in [
            ("file:///home/a/Bild%20%C3%BC.svg", Some("/home/a/Bild ü.svg")),
            ("file://localhost/tmp/a.svg", Some("/tmp/a.svg")),
            ("file:///tmp/a%2", None),
            ("sftp://host/a.svg", None),
            ("file://relative", None),
        ] {
            assert_eq!(path_of(uri), expected.map(PathBuf::from), "{uri}");
        }
        let home = Path::new("/home/a");
        let list = "# a comment\nXDG_MUSIC_DIR=\"$HOME/Musik\"\nXDG_PICTURES_DIR=\"$HOME/Meine Bilder\"\n";
        assert_eq!(pictures_in(list, home), Some("/home/a/Meine Bilder".into()));
        assert_eq!(pictures_in("XDG_PICTURES_DIR=\"/srv/pictures\"", home), Some("/srv/pictures".into()));
        assert_eq!(pictures_in("XDG_PICTURES_DIR=\"pictures\"", home), None);
    }

    #[test]
    fn no_file_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<_> = ["1", "2", "3"]
            .map(|svg| write_new(folder.path(), "StB", svg).unwrap())
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .into();
        assert_eq!(names, ["StB.svg", "StB (2).svg", "StB (3).svg"]);
        assert_eq!(fs::read_to_string(folder.path().join("StB.svg")).unwrap(), "1");
        let gone = write_new(&folder.path().join("gone"), "StB", "1").unwrap_err().to_string();
        assert!(gone.starts_with("the chart cannot be saved as "), "{gone}");
    }
}
