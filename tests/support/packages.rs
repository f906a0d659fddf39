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

/// Runs what builds, in the name of the person who owns the sources if root runs the tests.
fn build(command: &mut Command) {
    let repository = repository();
    let owner = fs::metadata(&repository).unwrap();
    if owner.uid() != rustix::process::geteuid().as_raw() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    // What cargo tells its tests is not for another cargo.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    tool(command.env_remove("CARGO_MANIFEST_DIR").current_dir(repository));
}

/// netglance's package and the helper's; made once in a test program.
pub fn packages() -> &'static [PathBuf; 2] {
    static MADE: OnceLock<[PathBuf; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        build(&mut Command::new(repository().join("app/packages")));
        let architecture = tool(Command::new("dpkg").arg("--print-architecture"));
        ["netglance", "netglance-helper"].map(|name| {
            let version = env!("CARGO_PKG_VERSION");
            target().join(format!("debian/{name}_{version}_{}.deb", architecture.trim()))
        })
    })
}

/// The helper's package once more, under a later version.
pub fn later_helper() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        packages();
        // A folder of its own: cargo-deb removes the other packages of that name beside it.
        let later = target().join("tmp/later-helper.deb");
        let mut make = Command::new("cargo");
        make.args(["deb", "--no-build", "-p", "netglance-helper", "--deb-version"]);
        build(make.arg(format!("{}+later", env!("CARGO_PKG_VERSION"))).arg("--output").arg(&later));
        later
    })
}
