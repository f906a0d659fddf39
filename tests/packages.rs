//! The Debian packages and what is in them: made here, and judged by the judges that Debian and freedesktop.org have for each
//! kind of file. Their installation on a real system is tested elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/packages.rs"]
mod packages;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use clap::CommandFactory as _;
use clap_complete::Shell;
use netglance::cli::Cli;
use packages::{packages, repository, tool};
use resvg::{tiny_skia, usvg};

/// Sizes of the icons in pixels.
const SIZES: [u32; 9] = [16, 22, 24, 32, 48, 64, 128, 256, 512];

/// That these generated files are the ones in `directory`, and no others of their kind.
#[track_caller]
fn are_checked_in(directory: &Path, generated: &BTreeMap<String, Vec<u8>>, kind: &str) {
    let names = || fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let present: BTreeMap<_, _> = names()
        .filter(|name| name.ends_with(kind))
        .map(|name| (name.clone(), fs::read(directory.join(name)).unwrap()))
        .collect();
    let differs: BTreeSet<_> = generated
        .iter()
        .chain(&present)
        .map(|(name, _)| name)
        .filter(|name| generated.get(*name) != present.get(*name))
        .collect();
    if differs.is_empty() {
        return;
    }
    if env::var_os("NETGLANCE_WRITE").is_some() {
        for name in &differs {
            match generated.get(*name) {
                Some(bytes) => fs::write(directory.join(name), bytes).unwrap(),
                None => fs::remove_file(directory.join(name)).unwrap(),
            }
        }
    }
    panic!(
        "{}: {differs:?} are not what is made of their source now. NETGLANCE_WRITE=1 cargo test --test packages makes them \
         anew (this run included, if that was set); look at the difference and commit it.",
        directory.display()
    );
}

#[test]
fn the_man_pages_are_those_of_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command(), directory.path()).unwrap();
    let pages: BTreeMap<_, _> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert!(pages.len() > 1, "{:?}", pages.keys());
    are_checked_in(&repository().join("app/man"), &pages, ".1");
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    let made = [("netglance.bash", Shell::Bash), ("_netglance", Shell::Zsh), ("netglance.fish", Shell::Fish)];
    let made = made.map(|(name, shell)| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "netglance", &mut script);
        (name.to_owned(), script)
    });
    are_checked_in(&repository().join("app/completions"), &BTreeMap::from(made), "");
}

#[test]
fn the_icons_are_those_of_the_drawing() {
    let icons = repository().join("icons");
    let drawing = fs::read(icons.join("org.netglance.Netglance.svg")).unwrap();
    let tree = usvg::Tree::from_data(&drawing, &usvg::Options::default()).unwrap();
    let made = SIZES.map(|size| {
        let mut pixels = tiny_skia::Pixmap::new(size, size).unwrap();
        let scale = tiny_skia::Transform::from_scale(
            f32::from(u16::try_from(size).unwrap()) / tree.size().width(),
            f32::from(u16::try_from(size).unwrap()) / tree.size().height(),
        );
        resvg::render(&tree, scale, &mut pixels.as_mut());
        (format!("{size}.png"), pixels.encode_png().unwrap())
    });
    are_checked_in(&icons, &BTreeMap::from(made), ".png");
}

#[test]
fn each_shell_takes_its_completions() {
    let completions = repository().join("app/completions");
    for (shell, file) in [("bash", "netglance.bash"), ("zsh", "_netglance"), ("fish", "netglance.fish")] {
        let said = tool(Command::new(shell).arg("-n").arg(completions.join(file)));
        assert_eq!(said, "", "{shell}");
    }
    // And offers what it should.
    let asked = "COMP_WORDS=(netglance wa); COMP_CWORD=1; _netglance netglance wa netglance; echo \"${COMPREPLY[@]}\"";
    let script = format!("source {}/netglance.bash; {asked}", completions.display());
    assert_eq!(tool(Command::new("bash").args(["-c", &script])), "watch\n");
    let script = format!("source {}/netglance.fish; complete -C 'netglance wa'", completions.display());
    assert!(tool(Command::new("fish").args(["-c", &script])).starts_with("watch\t"));
}

#[test]
fn man_has_nothing_to_say_about_its_pages() {
    let mut pages: Vec<_> =
        fs::read_dir(repository().join("app/man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.extend(["netglance-helper.8", "netglance-verify.8"].map(|page| repository().join("helper").join(page)));
    for page in pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&page).env("MANWIDTH", "80");
        let output = man.output().expect("man: install man-db");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
}

#[test]
fn the_desktop_takes_the_app() {
    let app = repository().join("app");
    assert_eq!(tool(Command::new("desktop-file-validate").arg(app.join("org.netglance.Netglance.desktop"))), "");
    let metainfo = app.join("org.netglance.Netglance.metainfo.xml");
    let said =
        tool(Command::new("appstreamcli").args(["validate", "--pedantic", "--no-net", "--no-color"]).arg(&metainfo));
    // The one remark is about the id's capital letter: it is the app's id on Wayland and the bus's habit.
    let remarks: Vec<_> = said.lines().filter(|line| line.contains(':') && !line.contains("Validation")).collect();
    let [remark] = remarks.as_slice() else { panic!("{said}") };
    assert!(remark.contains("cid-contains-uppercase-letter"), "{said}");
    let (metainfo, version) = (fs::read_to_string(&metainfo).unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(metainfo.contains(&format!("<release version=\"{version}\"")), "{version} is not among the releases");
}

#[test]
fn the_packages_are_good_and_hold_what_they_should() {
    let [app, helper] = packages();
    let lintian = ["--no-cfg", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"];
    let said = tool(Command::new("lintian").args(lintian).args([app, helper]));
    assert_eq!(said, "", "lintian");

    let field = |package: &Path, name| tool(Command::new("dpkg-deb").arg("--field").arg(package).arg(name));
    assert_eq!(field(app, "Recommends").trim(), "netglance-helper");
    let needs = field(app, "Depends");
    for library in ["libc6", "libegl1", "libgl1", "libx11-6", "libwayland-client0", "libxkbcommon-x11-0"] {
        assert!(needs.split([',', ' ']).any(|need| need == library), "{library} is not in {needs}");
    }
    let needs = field(helper, "Depends");
    assert!(needs.contains("dbus-system-bus") && needs.contains("polkitd"), "{needs}");
    assert!(!needs.contains("libx11") && !needs.contains("libgl"), "{needs}");

    let mut expected: BTreeSet<String> =
        SIZES.map(|s| format!("icons/hicolor/{s}x{s}/apps/org.netglance.Netglance.png")).into();
    expected.extend(
        [
            "icons/hicolor/scalable/apps/org.netglance.Netglance.svg",
            "icons/hicolor/symbolic/apps/org.netglance.Netglance-symbolic.svg",
            "applications/org.netglance.Netglance.desktop",
            "metainfo/org.netglance.Netglance.metainfo.xml",
            "bash-completion/completions/netglance",
            "zsh/vendor-completions/_netglance",
            "fish/vendor_completions.d/netglance.fish",
        ]
        .map(str::to_owned),
    );
    let pages = fs::read_dir(repository().join("app/man")).unwrap();
    expected.extend(pages.map(|page| format!("man/man1/{}.gz", page.unwrap().file_name().to_str().unwrap())));
    let documents =
        |name: &str| ["changelog.gz", "changelog.Debian.gz", "copyright"].map(|file| format!("doc/{name}/{file}"));
    expected.extend(documents("netglance"));
    let mut expected: BTreeSet<_> = expected.iter().map(|path| ("-rw-r--r--", format!("usr/share/{path}"))).collect();
    expected.insert(("-rwxr-xr-x", "usr/bin/netglance".into()));
    assert_eq!(contents(app), owned(&expected));

    let mut expected: BTreeSet<_> = [
        "usr/lib/systemd/system/netglance-helper.service",
        "usr/share/dbus-1/system.d/org.netglance.Helper1.conf",
        "usr/share/dbus-1/system-services/org.netglance.Helper1.service",
        "usr/share/polkit-1/actions/org.netglance.policy",
        "usr/share/man/man8/netglance-helper.8.gz",
        "usr/share/man/man8/netglance-verify.8.gz",
    ]
    .map(|path| ("-rw-r--r--", path.to_owned()))
    .into();
    expected.extend(documents("netglance-helper").map(|path| ("-rw-r--r--", format!("usr/share/{path}"))));
    for program in ["netglance-helper", "netglance-verify"] {
        expected.insert(("-rwxr-xr-x", format!("usr/libexec/{program}")));
    }
    assert_eq!(contents(helper), owned(&expected));
    let made = tempfile::tempdir().unwrap();
    tool(Command::new("dpkg-deb").arg("--control").arg(helper).arg(made.path()));
    // An upgrade must not stop it: systemd would close the table's socket.
    let before = fs::read_to_string(made.path().join("prerm")).unwrap();
    assert!(before.contains("[ \"$1\" = remove ]"), "{before}");
    let after = fs::read_to_string(made.path().join("postinst")).unwrap();
    assert!(after.contains("_dh_action=restart"), "{after}");
}

fn owned(files: &BTreeSet<(&str, String)>) -> BTreeSet<(String, String)> {
    files.iter().map(|(mode, path)| ((*mode).to_owned(), path.clone())).collect()
}

/// Mode and path of every file; all of them are root's.
fn contents(package: &Path) -> BTreeSet<(String, String)> {
    let list = tool(Command::new("dpkg-deb").arg("--contents").arg(package));
    let files = list.lines().filter(|line| !line.starts_with('d')).map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(["root/root", "0/0"].contains(&words[1]), "{line}");
        (words[0].to_owned(), words[5].trim_start_matches("./").to_owned())
    });
    files.collect()
}
