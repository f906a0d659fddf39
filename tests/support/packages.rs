//! The Debian packages, made here by `app/packages` as everybody makes them. It tests nothing.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]

use std::{
    env, fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The root of the sources.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Runs a tool to its good end and returns all that it printed.
#[track_caller]
pub fn tool(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("{program}: {error}; tests/all installs what the tests need"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}\n{text}", output.status);
    text.into_owned()
}

/// netglance's package, the helper's, and netglance's for servers, made once in a test program, and in the name of the person who owns the sources if
/// root runs the tests.
pub fn packages() -> &'static [PathBuf; 4] {
    static MADE: OnceLock<[PathBuf; 4]> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut make = Command::new(repository().join("app/packages"));
        let owner = fs::metadata(repository()).unwrap();
        if owner.uid() != rustix::process::geteuid().as_raw() {
            make.uid(owner.uid()).gid(owner.gid());
        }
        // What cargo tells its tests is not for another cargo.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            make.env_remove(name);
        }
        tool(make.env_remove("CARGO_MANIFEST_DIR"));
        let architecture = tool(Command::new("dpkg").arg("--print-architecture"));
        ["netglance", "netglance-helper", "netglance-headless", "netglance-metrics"].map(|name| {
            let version = env!("CARGO_PKG_VERSION");
            target().join(format!("debian/{name}_{version}_{}.deb", architecture.trim()))
        })
    })
}

/// The helper's package once more, under a later version.
pub fn later_helper() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let [_, helper, ..] = packages();
        let later = Path::new(env!("CARGO_TARGET_TMPDIR")).join("later-helper.deb");
        let inside = tempfile::tempdir().unwrap();
        tool(Command::new("dpkg-deb").arg("--raw-extract").arg(helper).arg(inside.path()));
        let control = inside.path().join("DEBIAN/control");
        let version = format!("Version: {}", env!("CARGO_PKG_VERSION"));
        let fields = fs::read_to_string(&control).unwrap();
        fs::write(&control, fields.replace(&version, &format!("{version}+later"))).unwrap();
        tool(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(inside.path()).arg(&later));
        later
    })
}
