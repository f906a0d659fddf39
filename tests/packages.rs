//! The Debian packages and what is in them: made here, and judged by the judges that Debian and freedesktop.org have for each
//! kind of file. Their installation on a real system is tested elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/packages.rs"]
mod packages;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use clap::CommandFactory as _;
use netglance::{
    base::settings::{Budget, Limit, OwnApp, Palette, Per, Settings, Theme, Unit},
    cli::{self, Cli},
};
use netglance_dbus::{cgroup::Tree, place};
use packages::{packages, repository, target, tool};
use resvg::{tiny_skia, usvg};

/// What makes cargo leave the window and the tray out.
const NO_DESKTOP: &[&str] = &["--no-default-features"];
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
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set());
    let pages: BTreeMap<_, _> = [&whole].into_iter().chain(commands).map(man_page).collect();
    assert!(pages.len() > 1, "{:?}", pages.keys());
    are_checked_in(&repository().join("app/man"), &pages, ".1");
}

/// A page's file name and text: what clap knows, and behind it the sections in `app/man/parts`.
fn man_page(command: &clap::Command) -> (String, Vec<u8>) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let parts = repository().join(format!("app/man/parts/{name}.roff"));
    let command = command.clone().override_usage(usage(command));
    let man = clap_mangen::Man::new(command).title(&name).source(concat!("netglance ", env!("CARGO_PKG_VERSION")));
    // Without a date, roff would take the source for it.
    let man = man.date(" ").manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    if name == "netglance" {
        man.render_subcommands_section(&mut page).unwrap();
    }
    // Each section begins with the same definition.
    let text = String::from_utf8(page).unwrap();
    let definition = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    let mut page = definition.clone().into_bytes();
    page.extend(text.replace(&definition, "").into_bytes());
    page.extend(fs::read(&parts).unwrap_or_else(|error| panic!("{}: {error}", parts.display())));
    (format!("{name}.1"), page)
}

/// The command with its options and what each takes. clap's own says no more than "[OPTIONS]".
fn usage(command: &clap::Command) -> String {
    let mut words = vec![command.get_bin_name().unwrap_or(command.get_name()).to_owned()];
    let options = command.get_opts().map(|option| {
        let values = option.get_value_names().unwrap_or_default().join(" ");
        let more = if option.get_num_args().unwrap().max_values() > 1 { "..." } else { "" };
        let words = format!("--{} {values}{more}", option.get_long().unwrap());
        if option.is_required_set() { words } else { format!("[{words}]") }
    });
    let switches = command.get_arguments().filter(|argument| !argument.get_action().takes_values());
    words.extend(options);
    words.extend(switches.filter_map(|switch| Some(format!("[--{}]", switch.get_long()?))));
    words.extend(command.get_positionals().map(|argument| {
        let more = if argument.get_num_args().unwrap().max_values() > 1 { "..." } else { "" };
        format!("{}{more}", argument.get_value_names().unwrap_or_default().join(" "))
    }));
    if command.has_subcommands() {
        words.push("[COMMAND]".to_owned());
    }
    words.join(" ")
}

#[test]
fn the_page_of_the_settings_tells_each_of_them() {
    let page = fs::read_to_string(repository().join("app/man/netglance-config.5")).unwrap().replace("\\-", "-");
    let example = page.split(".nf\n").nth(1).and_then(|rest| rest.split(".fi\n").next()).unwrap();
    let expected = Settings {
        beat: std::time::Duration::from_secs(1),
        unit: Unit::Bits,
        theme: Theme::Dark,
        colours: Palette::GreenPurple,
        internal: vec!["203.0.114.0/24".parse().unwrap()],
        external: vec!["10.8.0.0/16".parse().unwrap()],
        billing_day: 15,
        budgets: vec![
            Budget {
                app: Some("Firefox".to_owned()),
                limit: Limit::Usage { bytes: 5_000_000_000, per: Per::Month },
                metered: true,
            },
            Budget { app: None, limit: Limit::Rate { bytes: 1_000_000, secs: 60 }, metered: false },
        ],
        apps: vec![OwnApp {
            name: "Web Shop".to_owned(),
            units: vec!["shop-*.service".to_owned()],
            containers: vec!["shop".to_owned(), "redis".to_owned()],
            ..OwnApp::default()
        }],
        ..Settings::default()
    };
    assert_eq!(Settings::parse(example, Path::new("example")).unwrap(), expected);
    for key in example.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
        assert!(page.contains(&format!(".TP\n.B {key}\n")), "{key}");
    }
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    let made = [("netglance.bash", "bash"), ("_netglance", "zsh"), ("netglance.fish", "fish")];
    let made = made.map(|(name, shell)| (name.to_owned(), cli::script(shell, "netglance").unwrap().into_bytes()));
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
}

/// A control group that looks like one of root's applications, with nothing in it.
struct Application(Vec<PathBuf>);

impl Application {
    fn new(scope: &str) -> Self {
        let mount = Tree::open().unwrap().mount().to_owned();
        let scope = mount.join("user.slice/user-0.slice/user@0.service/app.slice").join(scope);
        let missing = scope.ancestors().take_while(|directory| !directory.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(&scope).unwrap();
        Self(missing)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        for directory in &self.0 {
            _ = fs::remove_dir(directory);
        }
    }
}

#[test]
fn each_shell_offers_what_is_there() {
    let _application = Application::new(r"app-gnome-Tab\x2dpressed-77.scope");
    let unit = r"app-gnome-Tab\x2dpressed-77.scope";
    let completions = repository().join("app/completions");
    let directory = Path::new(env!("CARGO_BIN_EXE_netglance")).parent().unwrap();
    let path = format!("{}:{}", directory.display(), env::var("PATH").unwrap());
    let run = |shell: &str, script: &str| {
        let text = tool(Command::new(shell).args(["-c", script]).env("PATH", &path));
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let bash = |words: &str| {
        let asked = format!(
            "source {}/netglance.bash; COMP_TYPE=9; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _clap_complete_netglance netglance \"${{COMP_WORDS[COMP_CWORD]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            completions.display()
        );
        run("bash", &asked)
    };
    // As a function that zsh loads by its name, and with what zsh itself would have defined at a press of Tab.
    let zsh = |words: &str| {
        let asked = format!(
            "compdef() {{ }}; _describe() {{ print -rl -- ${{(P)3}} }}; fpath=({} $fpath); autoload -Uz _netglance; \
             words=({words}); CURRENT=$#words; _netglance",
            completions.display()
        );
        run("zsh", &asked).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let fish = |words: &str| {
        run("fish", &format!("source {}/netglance.fish; complete -C \"netglance {words}\"", completions.display()))
    };
    for (shell, offered) in [
        (
            "bash",
            [
                bash("netglance wa"),
                bash("netglance watch --app Tab"),
                bash("netglance watch --unit app-gnome-T"),
                bash("netglance wind"),
                bash("netglance history --since y"),
            ],
        ),
        (
            "zsh",
            [
                zsh("netglance wa"),
                zsh("netglance watch --app Tab"),
                zsh("netglance watch --unit app-gnome-T"),
                zsh("netglance wind"),
                zsh("netglance history --since y"),
            ],
        ),
        (
            "fish",
            [
                fish("wa"),
                fish("watch --app Tab"),
                fish("watch --unit app-gnome-T"),
                fish("wind"),
                fish("history --since y"),
            ],
        ),
    ] {
        let [command, app, offered_unit, internal, time] = offered;
        assert_eq!(command, ["watch"], "{shell}");
        assert_eq!(app, ["Tab-pressed"], "{shell}");
        assert_eq!(time, ["yesterday"], "{shell}");
        // bash inserts what it gets, and zsh's _describe takes a backslash away.
        let quoted = if shell != "fish" { unit.replace('\\', r"\\") } else { unit.to_owned() };
        assert_eq!(offered_unit, [quoted], "{shell}");
        assert!(internal.iter().all(String::is_empty), "{shell}: {internal:?}");
    }
}

#[test]
fn man_has_nothing_to_say_about_its_pages() {
    let mut pages: Vec<_> =
        fs::read_dir(repository().join("app/man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.is_file());
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
}

#[test]
fn the_packages_are_good_and_hold_what_they_should() {
    let [app, helper, headless, metrics] = packages();
    let lintian = ["--no-cfg", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"];
    let said = tool(Command::new("lintian").args(lintian).args([app, helper, headless, metrics]));
    assert_eq!(said, "", "lintian");

    let field = |package: &Path, name| tool(Command::new("dpkg-deb").arg("--field").arg(package).arg(name));
    for package in [app, headless] {
        assert_eq!(field(package, "Recommends").trim(), "netglance-helper");
    }
    for relation in ["Conflicts", "Replaces", "Provides"] {
        assert_eq!(field(headless, relation).trim(), "netglance", "{relation}");
    }
    let needs = field(app, "Depends");
    for library in ["libc6", "libegl1", "libgl1", "libx11-6", "libwayland-client0", "libxkbcommon-x11-0"] {
        assert!(needs.split([',', ' ']).any(|need| need == library), "{library} is not in {needs}");
    }
    let needs = field(helper, "Depends");
    assert!(needs.contains("dbus-system-bus") && needs.contains("polkitd"), "{needs}");
    assert!(!needs.contains("libx11") && !needs.contains("libgl"), "{needs}");

    // Of the program in both its forms.
    let mut both: BTreeSet<_> = [
        "bash-completion/completions/netglance",
        "zsh/vendor-completions/_netglance",
        "fish/vendor_completions.d/netglance.fish",
    ]
    .map(str::to_owned)
    .into();
    let pages = fs::read_dir(repository().join("app/man")).unwrap();
    let pages = pages.map(|page| page.unwrap().path()).filter(|page| page.is_file());
    both.extend(pages.map(|page| {
        let (name, section) =
            (page.file_name().unwrap().to_str().unwrap(), page.extension().unwrap().to_str().unwrap());
        format!("man/man{section}/{name}.gz")
    }));
    let documents = |name: &str| {
        ["NOTICES.gz", "changelog.gz", "changelog.Debian.gz", "copyright"].map(|file| format!("doc/{name}/{file}"))
    };
    let mut desktop: BTreeSet<_> =
        SIZES.map(|s| format!("icons/hicolor/{s}x{s}/apps/org.netglance.Netglance.png")).into();
    desktop.extend(
        [
            "icons/hicolor/scalable/apps/org.netglance.Netglance.svg",
            "icons/hicolor/symbolic/apps/org.netglance.Netglance-symbolic.svg",
            "applications/org.netglance.Netglance.desktop",
            "metainfo/org.netglance.Netglance.metainfo.xml",
        ]
        .map(str::to_owned),
    );
    for (package, name, own) in [(app, "netglance", desktop), (headless, "netglance-headless", BTreeSet::new())] {
        let paths = both.iter().cloned().chain(own).chain(documents(name));
        let mut expected: BTreeSet<_> = paths.map(|path| ("-rw-r--r--", format!("usr/share/{path}"))).collect();
        expected.insert(("-rwxr-xr-x", "usr/bin/netglance".into()));
        expected.insert(("-rw-r--r--", "usr/lib/systemd/user/netglance-metrics.service".into()));
        assert_eq!(contents(package), owned(&expected), "{name}");
    }

    let mut expected: BTreeSet<_> = [
        "usr/lib/systemd/system/netglance-helper.service",
        "usr/share/dbus-1/system.d/org.netglance.Helper1.conf",
        "usr/share/dbus-1/system-services/org.netglance.Helper1.service",
        "usr/share/polkit-1/actions/org.netglance.policy",
        "usr/share/polkit-1/rules.d/org.netglance.rules",
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

#[test]
fn the_package_of_the_metrics_starts_its_service_and_is_of_files_alone() {
    let [.., metrics] = packages();
    let field = |name| tool(Command::new("dpkg-deb").arg("--field").arg(metrics).arg(name));
    let needs = field("Depends");
    let needs: BTreeSet<_> = needs.trim().split(", ").collect();
    assert_eq!(needs, BTreeSet::from(["netglance | netglance-headless", "systemd"]));
    assert_eq!(field("Recommends").trim(), "netglance-helper");

    let expected = [
        "usr/lib/systemd/system/netglance-metrics.service",
        "usr/lib/sysusers.d/netglance-metrics.conf",
        "usr/share/polkit-1/rules.d/org.netglance.metrics.rules",
        "usr/share/netglance-metrics/netglance.rules.yml",
        "usr/share/netglance-metrics/netglance.rules.test.yml",
        "usr/share/netglance-metrics/dashboard.json",
        "usr/share/netglance-metrics/provisioning.yml",
        "usr/share/doc/netglance-metrics/README.md",
        "usr/share/doc/netglance-metrics/changelog.gz",
        "usr/share/doc/netglance-metrics/changelog.Debian.gz",
        "usr/share/doc/netglance-metrics/copyright",
    ];
    let expected = expected.map(|path| ("-rw-r--r--", path.to_owned())).into();
    assert_eq!(contents(metrics), owned(&expected));

    let made = tempfile::tempdir().unwrap();
    tool(Command::new("dpkg-deb").arg("--control").arg(metrics).arg(made.path()));
    for (script, action) in [
        ("postinst", "systemd-sysusers ${DPKG_ROOT:+--root=\"$DPKG_ROOT\"} netglance-metrics.conf"),
        ("postinst", "deb-systemd-helper enable netglance-metrics.service"),
        ("postinst", "_dh_action=start"),
        ("postinst", "_dh_action=restart"),
        ("prerm", "deb-systemd-invoke stop netglance-metrics.service"),
        ("postrm", "deb-systemd-helper purge netglance-metrics.service"),
    ] {
        let text = fs::read_to_string(made.path().join(script)).unwrap();
        assert!(text.contains(action), "{script}: {text}");
    }
}

/// systemd's own judgement, from 0 to 10: lower is better.
#[test]
fn the_service_of_the_metrics_is_confined() {
    let unit = repository().join("app/fleet/netglance-metrics.service");
    let mut judge = Command::new("systemd-analyze");
    judge.args(["security", "--no-pager", "--offline=true", "--threshold=15"]).arg(unit);
    let said = tool(&mut judge);
    let level = said.lines().find_map(|line| line.split_once("Overall exposure level for netglance-metrics.service: "));
    let level = level.and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(level.is_some_and(|level| level <= 1.5), "{said}");
}

/// The crates of a workspace member as cargo resolves them for this computer: names and versions. Without those that run at
/// compile time alone. `features`: what cargo is told of them.
fn linked(package: &str, features: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--package", package])
        .args(features);
    let text = tool(tree.current_dir(repository()));
    let crates = text.lines().filter_map(|line| line.split_once(" v")).map(|(name, rest)| {
        let version = rest.split([' ', '(']).next().unwrap();
        format!("{name} {version}")
    });
    crates.collect()
}

#[test]
fn each_package_has_the_licences_of_its_own_crates() {
    let [app, helper, headless, _] = packages();
    for (package, name, linked, others) in [
        (app, "netglance", linked("netglance", &[]), "netglance-helper"),
        (helper, "netglance-helper", linked("netglance-helper", &[]), "eframe"),
        (headless, "netglance-headless", linked("netglance", NO_DESKTOP), "eframe"),
    ] {
        let inside = extracted(package);
        let notices = inside.path().join(format!("usr/share/doc/{name}/NOTICES.gz"));
        let notices = tool(Command::new("zcat").arg(notices));
        assert!(linked.len() > 20, "{linked:?}");
        let (list, texts) = notices.split_once("\n====").unwrap();
        let used: BTreeSet<_> =
            texts.lines().filter_map(|line| line.strip_prefix("Used by: ")).flat_map(|line| line.split(", ")).collect();
        for linked in &linked {
            assert!(list.lines().any(|line| line.starts_with(&format!("{linked} ("))), "{name} does not list {linked}");
            assert!(used.contains(linked.as_str()), "{name} has no licence of {linked}");
        }
        assert!(!used.iter().any(|used| used.starts_with(&format!("{others} "))), "{name} names {others}");
    }
}

/// What a package installs.
fn extracted(package: &Path) -> tempfile::TempDir {
    let inside = tempfile::tempdir().unwrap();
    tool(Command::new("dpkg-deb").arg("--extract").arg(package).arg(inside.path()));
    inside
}

#[test]
fn a_server_gets_a_small_program_without_a_display() {
    let headless = &packages()[2];
    let field = |name| tool(Command::new("dpkg-deb").arg("--field").arg(headless).arg(name));
    let needs = field("Depends");
    let needs: Vec<_> = needs.split(',').map(|need| need.split_whitespace().next().unwrap()).collect();
    assert!(needs.iter().all(|need| ["libc6", "libgcc-s1"].contains(need)), "{needs:?}");
    let installed: u64 = field("Installed-Size").trim().parse().unwrap();
    assert!(installed * 1024 < 6_000_000, "{installed} KiB");

    // What loads a library by its name at run time.
    let window = ["egl", "egui", "glow", "glutin", "ksni", "tray", "wayland", "winit", "x11", "xcb", "xkb"];
    for linked in linked("netglance", NO_DESKTOP) {
        assert!(!window.iter().any(|window| linked.contains(window)), "{linked}");
    }

    let inside = extracted(headless);
    let home = tempfile::tempdir().unwrap();
    let netglance = |arguments: &[&str]| {
        let mut program = Command::new(inside.path().join("usr/bin/netglance"));
        let output = program.args(arguments).env("DISPLAY", ":0").env("HOME", home.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.into_owned())
    };
    let no_window = "netglance: this build of netglance has no window (the package netglance has one)";
    let (_, said) = netglance(&["doctor"]);
    assert!(said.contains("Best method") && !said.contains("window") && !said.contains("tray"), "{said}");
    // Without arguments it goes on until it is ended.
    let (file, mut shows) = (home.path().join("said"), Command::new(inside.path().join("usr/bin/netglance")));
    let out = fs::File::create(&file).unwrap();
    shows.env("DISPLAY", ":0").env("HOME", home.path()).stdout(out.try_clone().unwrap()).stderr(out);
    let mut running = shows.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let said = fs::read_to_string(&file).unwrap();
        if said.contains("  down ") || Instant::now() > end {
            break said;
        }
        thread::sleep(Duration::from_millis(50));
    };
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(
        said.contains(&format!("{no_window}, so the figures are shown here, as with `netglance watch`.\n")),
        "{said}"
    );
    assert!(said.contains("  down "), "{said}");
    assert_eq!(netglance(&["--hidden"]), (false, format!("{no_window}, so there is no tray icon.\n")));
    assert!(!netglance(&["window"]).0);
}

#[test]
fn no_path_of_this_computer_is_in_the_programs() {
    let home = PathBuf::from(env::var_os("HOME").unwrap());
    let cargo = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let [app, helper, headless, _] = packages().each_ref().map(|package| extracted(package));
    for (inside, program) in [
        (&app, "usr/bin/netglance"),
        (&headless, "usr/bin/netglance"),
        (&helper, &place::HELPER[1..]),
        (&helper, &place::VERIFY[1..]),
    ] {
        let bytes = fs::read(inside.path().join(program)).unwrap();
        for path in [repository(), target(), cargo.clone()] {
            let path = path.to_str().unwrap();
            let found = bytes.windows(path.len()).position(|window| window == path.as_bytes());
            let around = found.map(|at| String::from_utf8_lossy(&bytes[at..at + 120]).into_owned());
            assert_eq!(around, None, "{program} names {path}");
        }
    }
}

#[test]
fn the_versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    let said = tool(Command::new(env!("CARGO_BIN_EXE_netglance")).arg("--version"));
    assert_eq!(said, format!("netglance {version}\n"));
    let read = |file: &str| fs::read_to_string(repository().join(file)).unwrap();
    let changelog = read("CHANGELOG.md");
    let newest =
        changelog.lines().filter_map(|line| line.strip_prefix("## ")).find(|heading| *heading != "Unreleased").unwrap();
    let (newest, date) = newest.split_once(" - ").unwrap();
    assert_eq!(newest, version, "CHANGELOG.md");
    let metainfo = read("app/org.netglance.Netglance.metainfo.xml");
    let release = metainfo.split_once("<release ").unwrap().1;
    assert!(release.starts_with(&format!("version=\"{version}\" date=\"{date}\"")), "metainfo: {release}");
    for package in ["netglance", "netglance-helper"] {
        let folder = if package == "netglance" { "app" } else { "helper" };
        let changelog = format!("{folder}/debian/changelog");
        let field = |name| {
            let mut parse = Command::new("dpkg-parsechangelog");
            tool(parse.args(["--file", &changelog, "--show-field", name]).current_dir(repository()))
        };
        assert_eq!(field("Version").trim(), version, "{changelog}");
        assert_eq!(field("Source").trim(), package, "{changelog}");
        let date_there = tool(Command::new("date").args(["--utc", "--date", field("Date").trim(), "+%F"]));
        assert_eq!(date_there.trim(), date, "{changelog}");
    }
}

/// What can't read a constant of the code: it names the programs where the packages install them.
#[test]
fn every_file_names_the_programs_where_they_are_installed() {
    for (file, expected) in [
        ("helper/netglance-helper.service", [place::HELPER].as_slice()),
        ("helper/netglance-verify.8", &[place::VERIFY]),
        ("polkit/org.netglance.policy", &[place::VERIFY]),
        ("helper/Cargo.toml", &[place::HELPER, place::VERIFY]),
    ] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        let text = text.replace("\\-", "-").replace("\\fB", "");
        let words = text.split(|c: char| !c.is_alphanumeric() && !"/-_.".contains(c));
        let installed = |word: &&str| word.contains('/') && !word.starts_with("target/");
        let named: BTreeSet<_> = words
            .filter(installed)
            .filter(|word| ["/netglance-helper", "/netglance-verify"].iter().any(|program| word.ends_with(program)))
            .map(|word| format!("/{}", word.trim_start_matches('/')))
            .collect();
        assert_eq!(named, expected.iter().map(|path| (*path).to_owned()).collect(), "{file}");
    }
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
