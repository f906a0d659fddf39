//! What the desktop says of its looks and its apps: a settings portal, a systemd and .desktop files of the test's own on a real
//! session bus, and what the program makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::{
    fs,
    sync::{Arc, Mutex},
};

use desk::Desk;
use serde_json::Value;
use support::{OTHER, PUBLIC4, eventually};
use zbus::{Connection, ObjectPath, Variant, fdo, object_server::SignalEmitter};

const PORTAL: &str = "org.freedesktop.portal.Desktop";
const PORTAL_PATH: &str = "/org/freedesktop/portal/desktop";
const DARK: u32 = 1;
const LIGHT: u32 = 2;

/// A stand-in for the settings portal.
struct Portal {
    scheme: u32,
    icon_theme: &'static str,
    /// It has no `ReadOne`.
    old: bool,
}

impl Portal {
    fn value(&self, namespace: &str, key: &str) -> fdo::Result<Variant<'static>> {
        match (namespace, key) {
            ("org.freedesktop.appearance", "color-scheme") => Ok(self.scheme.into()),
            ("org.gnome.desktop.interface", "icon-theme") => Ok(self.icon_theme.into()),
            _ => Err(fdo::Error::Failed("Requested setting not found".to_owned())),
        }
    }
}

#[zbus::interface(name = "org.freedesktop.portal.Settings")]
impl Portal {
    fn read_one(&self, namespace: &str, key: &str) -> fdo::Result<Variant<'static>> {
        if self.old {
            return Err(fdo::Error::UnknownMethod("No such method".to_owned()));
        }
        self.value(namespace, key)
    }

    fn read(&self, namespace: &str, key: &str) -> fdo::Result<Variant<'static>> {
        Ok(Variant::Variant(Box::new(self.value(namespace, key)?)))
    }

    #[zbus(signal)]
    async fn setting_changed(
        emitter: &SignalEmitter<'_>,
        namespace: &str,
        key: &str,
        value: Variant<'_>,
    ) -> zbus::Result<()>;
}

fn portal(desk: &Desk, portal: Portal) -> Connection {
    let connection = desk.connect(&desk.session);
    desk.wait(async {
        connection.object_server().at(PORTAL_PATH, portal).await.unwrap();
        connection.request_name(PORTAL).await.unwrap();
    });
    connection
}

fn change(desk: &Desk, connection: &Connection, scheme: u32) {
    desk.wait(async {
        let portal = connection.object_server().interface::<_, Portal>(PORTAL_PATH).await.unwrap();
        portal.get_mut().await.scheme = scheme;
        let emitter = portal.signal_emitter();
        Portal::setting_changed(emitter, "org.freedesktop.appearance", "color-scheme", scheme.into()).await.unwrap();
    });
}

/// How bright a window is, from 0 to 255.
fn brightness(desk: &Desk, window: &str) -> Option<u32> {
    desk.ask("import", &["-window", window, "-format", "%[fx:round(255*mean)]", "info:-"]).parse().ok()
}

/// Waits for the window's first picture, and says whether that is light.
fn first_is_light(desk: &Desk) -> bool {
    brightness(desk, &desk.window()).unwrap() > 128
}

#[track_caller]
fn becomes(desk: &Desk, light: bool) {
    let window = desk.window();
    eventually("the window changes its colours", || ((brightness(desk, &window)? > 128) == light).then_some(()));
}

#[test]
fn the_window_has_the_desktops_colours_from_its_first_frame_and_follows_them() {
    let desk = Desk::x11();
    let connection = portal(&desk, Portal { scheme: LIGHT, icon_theme: "x", old: false });
    let panel = desk.panel();
    let program = desk.start(&[]);
    assert!(first_is_light(&desk), "no dark flash");
    desk.picture(&desk.window(), "light");
    change(&desk, &connection, DARK);
    becomes(&desk, false);
    // A hidden program hears of it as well.
    panel.click();
    desk.no_window(&program);
    change(&desk, &connection, LIGHT);
    panel.click();
    becomes(&desk, true);
    // A choice of one's own is above it.
    desk.world.configure("theme = \"dark\"\n");
    becomes(&desk, false);
    change(&desk, &connection, DARK);
    desk.world.configure("theme = \"system\"\n");
    change(&desk, &connection, LIGHT);
    becomes(&desk, true);
}

#[test]
fn a_portal_may_be_old_or_come_late() {
    let desk = Desk::x11();
    let _program = desk.start(&[]);
    assert!(!first_is_light(&desk), "where nothing says so it is dark");
    let _connection = portal(&desk, Portal { scheme: LIGHT, icon_theme: "x", old: true });
    becomes(&desk, true);
}

/// A portal that never answers.
struct Hangs;

#[zbus::interface(name = "org.freedesktop.portal.Settings")]
impl Hangs {
    async fn read_one(&self, _namespace: &str, _key: &str) -> fdo::Result<Variant<'static>> {
        std::future::pending().await
    }
}

fn light_in_gtks_file(desk: &Desk) {
    let gtk = desk.world.home().join("gtk-3.0");
    fs::create_dir(&gtk).unwrap();
    fs::write(gtk.join("settings.ini"), "[Settings]\ngtk-theme-name=Greybird\n").unwrap();
}

#[test]
fn while_a_portal_hangs_gtks_file_tells() {
    let desk = Desk::x11();
    light_in_gtks_file(&desk);
    let connection = desk.connect(&desk.session);
    desk.wait(async {
        connection.object_server().at(PORTAL_PATH, Hangs).await.unwrap();
        connection.request_name(PORTAL).await.unwrap();
    });
    let _program = desk.start(&[]);
    assert!(first_is_light(&desk));
    // One that answers has the last word.
    desk.wait(connection.release_name(PORTAL)).unwrap();
    let _connection = portal(&desk, Portal { scheme: DARK, icon_theme: "x", old: false });
    becomes(&desk, false);
}

#[test]
fn without_a_portal_gtks_file_tells() {
    let desk = Desk::x11();
    light_in_gtks_file(&desk);
    let _program = desk.start(&[]);
    assert!(first_is_light(&desk));
}

/// A stand-in for the user's systemd. It notes what it was asked about.
#[derive(Clone, Default)]
struct Systemd(Arc<Mutex<Vec<String>>>);

type Listed = (String, String, String, String, String, String, ObjectPath<'static>, u32, String, ObjectPath<'static>);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn list_units_by_names(&self, names: Vec<String>) -> zbus::fdo::Result<Vec<Listed>> {
        let root = || ObjectPath::try_from("/").unwrap();
        let listed = |name: String| {
            let description = match name.as_str() {
                "backup.service" => "Nightly backup",
                "run-u12.service" => "/usr/bin/traffic",
                other => other,
            };
            let no = String::new;
            (name.clone(), description.to_owned(), no(), no(), no(), no(), root(), 0, no(), root())
        };
        self.0.lock().unwrap().extend(names.clone());
        if names.iter().any(|name| name == "spoils.service") {
            return Err(zbus::fdo::Error::InvalidArgs("spoils.service is no unit".to_owned()));
        }
        Ok(names.into_iter().map(listed).collect())
    }
}

/// Names by id, as `netglance apps` has them.
fn apps(desk: &Desk, environment: &[&str]) -> impl Fn(&str) -> String {
    let environment: Vec<_> = desk.environment.iter().cloned().chain(environment.iter().map(|&s| s.into())).collect();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_netglance"));
    let (status, stdout, stderr) = desk.world.netglance_with(&environment, program, &["apps", "--json"]).ended();
    assert!(status.success(), "{stderr}");
    let apps: Value = serde_json::from_str(&stdout.concat()).unwrap();
    println!("{apps:#}");
    move |id| {
        let found: Vec<_> = apps.as_array().unwrap().iter().filter(|app| app["id"] == id).collect();
        let [app] = found[..] else { panic!("{} apps called {id}", found.len()) };
        app["name"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_app_is_called_as_its_desktop_entry_its_unit_or_its_program_is_called() {
    let desk = Desk::new();
    let systemd = Systemd::default();
    let connection = desk.connect(&desk.session);
    desk.wait(async {
        connection.object_server().at("/org/freedesktop/systemd1", systemd.clone()).await.unwrap();
        connection.request_name("org.freedesktop.systemd1").await.unwrap();
    });
    desk.entry("electron-gpt", "Name=Assistant\nName[de]=Gehilfe");
    let world = &desk.world;
    world.unit("app.slice/backup.service");
    world.unit("app.slice/spoils.service");
    world.unit("tmux-spawn-5f0c21a8-7e02-4b37-9a3c-1d0e7f0a9b11.scope");
    world.unit("tmux-spawn-6f0c21a8-7e02-4b37-9a3c-1d0e7f0a9b12.scope");
    world.unit(OTHER);
    let _running = world.moved("app.slice/run-u12.service", 1000, 1000, &[PUBLIC4]);
    let name = apps(&desk, &["LANG=de_DE.UTF-8"]);
    assert_eq!(name("electron-gpt"), "Gehilfe");
    assert_eq!((name("backup"), name("spoils")), ("Nightly backup".into(), "spoils".into()), "one that is refused");
    assert_eq!(name("tmux-spawn"), "tmux");
    assert_eq!(name("run"), "traffic");
    assert_eq!(name("session-1"), "Login session 1");
    let watched =
        desk.start(&["watch", "--json", "--count", "1", "--interval", "0.1", "--app", "nightly backup"]).ended();
    assert!(watched.1.concat().contains("backup.service"), "{:?}", watched.1);
    assert_eq!(apps(&desk, &["LANG=de_DE.UTF-8", "LC_ALL=C"])("electron-gpt"), "Assistant");

    systemd.0.lock().unwrap().clear();
    desk.wait(connection.release_name("org.freedesktop.systemd1")).unwrap();
    let name = apps(&desk, &[]);
    assert_eq!((name("backup"), name("run")), ("backup".into(), "traffic".into()), "without systemd");
    assert!(systemd.0.lock().unwrap().is_empty());
}

#[test]
fn each_unit_is_asked_about_once_and_a_name_comes_to_tray_and_window() {
    let desk = Desk::x11();
    let systemd = Systemd::default();
    let connection = desk.connect(&desk.session);
    desk.wait(async {
        connection.object_server().at("/org/freedesktop/systemd1", systemd.clone()).await.unwrap();
        connection.request_name("org.freedesktop.systemd1").await.unwrap();
    });
    let panel = desk.panel();
    desk.world.unit("app.slice/backup.service");
    let state = desk.world.home().join("state/netglance");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("state.json"), r#"{"watched": ["backup"]}"#).unwrap();
    let _program = desk.start(&[]);
    desk.window();
    panel.says("Nightly backup  down ");
    let asked = || systemd.0.lock().unwrap().iter().filter(|unit| *unit == "backup.service").count();
    desk.world.unit("app.slice/other.service");
    let other = || systemd.0.lock().unwrap().iter().any(|unit| unit == "other.service");
    eventually("a new unit is asked about", || other().then_some(()));
    assert_eq!(asked(), 1);
}

/// The themes' icons are a colour that nothing else has.
#[test]
fn icons_are_those_of_the_desktops_theme() {
    let desk = Desk::x11();
    let icons = desk.world.home().join(".local/share/icons");
    for (theme, colour) in [("Looks", "#FF00FE"), ("hicolor", "#00FE00")] {
        let apps = icons.join(theme).join("48x48/apps");
        fs::create_dir_all(&apps).unwrap();
        let index = "[Icon Theme]\nName=x\nDirectories=48x48/apps\n[48x48/apps]\nSize=48\nType=Fixed\n";
        fs::write(icons.join(theme).join("index.theme"), index).unwrap();
        desk.ask("convert", &["-size", "48x48", &format!("xc:{colour}"), apps.join("thing.png").to_str().unwrap()]);
    }
    desk.entry("electron-gpt", "Name=Assistant\nIcon=thing");
    desk.world.unit(OTHER);
    let connection = portal(&desk, Portal { scheme: DARK, icon_theme: "Looks", old: false });
    let _program = desk.start(&[]);
    let window = desk.window();
    let shows = |colour: &str| {
        eventually(&format!("an icon in {colour}"), || {
            let histogram =
                desk.ask("import", &["-window", &window, "-depth", "8", "-format", "%c", "histogram:info:"]);
            histogram.contains(colour).then_some(())
        });
    };
    shows("#FF00FE");
    desk.wait(async {
        let portal = connection.object_server().interface::<_, Portal>(PORTAL_PATH).await.unwrap();
        portal.get_mut().await.icon_theme = "hicolor";
        let emitter = portal.signal_emitter();
        Portal::setting_changed(emitter, "org.gnome.desktop.interface", "icon-theme", "hicolor".into()).await.unwrap();
    });
    shows("#00FE00");
}
