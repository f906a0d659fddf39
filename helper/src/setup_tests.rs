//! Putting files in place and taking them away, below a directory that stands for `/`.

use std::{
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
};

use netglance_dbus::place;

use super::{
    files::{Content, ITEMS, PROGRAM, below_root},
    *,
};

fn root() -> (tempfile::TempDir, Files) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files { root: directory.path().join("root") };
    DirBuilder::new().mode(0o755).create(&files.root).unwrap();
    (directory, files)
}

/// Every file below the root: path, mode, content.
fn list(files: &Files) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![files.root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                directories.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(&files.root).unwrap().to_str().unwrap().to_owned();
                found.push((path, about.mode() & 0o7777, fs::read(entry.path()).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

fn place(files: &Files, path: &str, bytes: &[u8]) {
    let path = files.root.join(path);
    DirBuilder::new().recursive(true).mode(0o755).create(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_of_two_words_and_nothing_else() {
    for (words, expected) in [
        (&[][..], Some(None)),
        (&["set-up"], Some(Some(Command::SetUp { anyway: false }))),
        (&["set-up", "--accept-kernel-bug"], Some(Some(Command::SetUp { anyway: true }))),
        (&["take-out", "--accept-kernel-bug"], None),
        (&["--accept-kernel-bug"], None),
        (&["take-out"], Some(Some(Command::TakeOut))),
        (&["set-up", "set-up"], None),
        (&["set-up", "/tmp"], None),
        (&["Set-up"], None),
        (&["--help"], None),
        (&[""], None),
    ] {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        assert_eq!(Command::parse(&words).ok(), expected, "{words:?}");
    }
}

#[test]
fn the_package_has_the_same_files() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let toml: toml::Table = fs::read_to_string(manifest.join("Cargo.toml")).unwrap().parse().unwrap();
    let package = &toml["package"]["metadata"]["deb"];
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let mut listed = Vec::new();
    for asset in package["assets"].as_array().unwrap() {
        let [source, place, mode] = asset.as_array().unwrap().as_slice() else { panic!("{asset}") };
        let (source, mut place) = (text(source), text(place));
        if place.starts_with("usr/share/doc/") || place.starts_with("usr/share/man/") {
            continue;
        }
        if place.ends_with('/') {
            place += source.rsplit('/').next().unwrap();
        }
        // Without a package the app runs it from beside itself.
        if place == below_root(place::VERIFY) {
            continue;
        }
        let bytes = (!source.starts_with("target/")).then(|| fs::read(manifest.join(&source)).unwrap());
        listed.push((place, u32::from_str_radix(&text(mode), 8).unwrap(), bytes));
    }
    let ours = ITEMS.iter().map(|item| {
        let bytes = match item.content {
            Content::Program => None,
            Content::Text(text) => Some(text.as_bytes().to_owned()),
        };
        (item.packaged.to_owned(), item.mode, bytes)
    });
    let mut ours: Vec<_> = ours.collect();
    ours.sort();
    listed.sort();
    assert_eq!(ours, listed);
    let names = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    assert!(ITEMS.iter().all(|item| names(item.own) == names(item.packaged)));
}

#[test]
fn what_is_put_there_is_whole_and_names_the_program_where_it_is() {
    let (_directory, files) = root();
    files.put(b"first").unwrap();
    let once = list(&files);
    let expected: Vec<_> = ITEMS.iter().map(|item| (item.own.to_owned(), item.mode)).collect();
    let mut placed: Vec<_> = once.iter().map(|(path, mode, _)| (path.clone(), *mode)).collect();
    placed.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(placed, expected);
    let (_, _, unit) = once.iter().find(|(path, ..)| path.ends_with(UNIT)).unwrap();
    let unit = String::from_utf8_lossy(unit);
    assert!(unit.contains(&format!("\nExecStart={}\n", place::OWN_HELPER)), "{unit}");
    for (path, _, bytes) in &once {
        assert!(!String::from_utf8_lossy(bytes).contains(place::HELPER), "{path} names the package's program");
    }
    // Again, as a newer one does.
    let before = files.put(b"second").unwrap();
    assert!(before.iter().all(|was| was.bytes.is_some()));
    assert_eq!(fs::read(files.root.join(PROGRAM.own)).unwrap(), b"second");
    assert!(files.put_back(before).is_empty());
    assert_eq!(list(&files), once);
    assert!(files.remove().is_empty() && files.remove().is_empty());
    assert_eq!(list(&files), []);
    assert!(!files.root.join("usr/local/libexec").exists());
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let (directory, files) = root();
    let victim = directory.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    for path in [PROGRAM.own.to_owned(), format!("{}.new", PROGRAM.own)] {
        place(&files, &path, b"");
        fs::remove_file(files.root.join(&path)).unwrap();
        std::os::unix::fs::symlink(&victim, files.root.join(&path)).unwrap();
    }
    files.put(b"program").unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(files.root.join(PROGRAM.own)).unwrap().is_file());
    // What a removed package leaves is no set-up.
    let (_directory, files) = root();
    place(&files, ITEMS[1].own, b"");
    fs::remove_file(files.root.join(ITEMS[1].own)).unwrap();
    std::os::unix::fs::symlink("/dev/null", files.root.join(ITEMS[1].own)).unwrap();
    assert!(!files.set_up());
    assert!(files.put(b"program").unwrap().iter().all(|was| was.bytes.is_none()));
}

#[test]
fn nothing_goes_where_others_can_write() {
    let (directory, files) = root();
    let open = files.root.join("usr/local");
    DirBuilder::new().recursive(true).create(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let error = files.put(b"program").unwrap_err();
    assert!(
        matches!(&error, Error::Several(texts) if texts[0].contains("users other than root can write to")),
        "{error}"
    );
    assert_eq!(list(&files), []);
    // Nor through a link to such a place.
    let elsewhere = files.root.join("home");
    fs::rename(&open, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &open).unwrap();
    assert!(files.put(b"program").is_err());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    drop(directory);
}

#[test]
fn polkits_own_directory_may_be_polkits() {
    let (_directory, files) = root();
    let rules = files.root.join(files::RULES);
    DirBuilder::new().recursive(true).mode(0o755).create(&rules).unwrap();
    let given_to = |path: &std::path::Path, uid| std::os::unix::fs::chown(path, Some(uid), None).unwrap();
    given_to(&rules, 1);
    files.put(b"program").unwrap();
    assert!(rules.join("org.netglance.rules").exists());
    assert!(files.remove().is_empty());
    // What is above it must be root's.
    given_to(rules.parent().unwrap(), 1);
    assert!(files.put(b"program").is_err());
    assert_eq!(list(&files), []);
}

#[test]
fn a_failure_halfway_leaves_what_was_there() {
    let (_directory, files) = root();
    files.put(b"old").unwrap();
    let last = files.root.join(ITEMS[5].own);
    fs::remove_file(&last).unwrap();
    DirBuilder::new().mode(0o755).create(&last).unwrap();
    let was = list(&files);
    let error = files.put(b"new").unwrap_err();
    assert!(error.to_string().contains("org.netglance.Helper1.service"), "{error}");
    assert_eq!(list(&files), was);
    // The same on a system that had nothing.
    let (_directory, files) = root();
    DirBuilder::new().recursive(true).mode(0o755).create(files.root.join(ITEMS[5].own)).unwrap();
    files.put(b"new").unwrap_err();
    assert_eq!(list(&files), []);
}

#[test]
fn what_a_package_owns_stays() {
    let (_directory, files) = root();
    assert!(!files.packaged() && !files.set_up());
    // What both have in the same place does not tell a package.
    let shared: Vec<_> = ITEMS.iter().filter(|item| item.is_shared()).collect();
    for item in &shared {
        place(&files, item.packaged, b"package");
    }
    assert!(!files.packaged() && !files.set_up());
    files.put(b"program").unwrap();
    assert!(!files.packaged() && files.set_up());
    for item in &ITEMS {
        place(&files, item.packaged, b"package");
    }
    assert!(files.packaged());
    assert!(files.remove().is_empty());
    let left: Vec<_> = list(&files).into_iter().map(|(path, ..)| path).collect();
    let mut packaged: Vec<_> = ITEMS.iter().map(|item| item.packaged.to_owned()).collect();
    packaged.sort();
    assert_eq!(left, packaged);
    assert_eq!(shared.len(), 2);
}

#[test]
fn removal_goes_on_after_a_failure_and_tells_of_each() {
    let (_directory, files) = root();
    files.put(b"program").unwrap();
    for path in [ITEMS[4].own, ITEMS[1].own] {
        fs::remove_file(files.root.join(path)).unwrap();
        DirBuilder::new().mode(0o755).create(files.root.join(path)).unwrap();
    }
    let failures = files.remove();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert_eq!(list(&files), []);
    let state = files.root.join(DIRECTORIES[0]);
    place(&files, "var/lib/netglance/setup.json", b"{}");
    assert!(files.forget().is_empty() && !state.exists());
}
