use std::slice;

use super::*;
use crate::look::{rate::Bytes, reading::AppPart};

const USER: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice";

fn app(id: &str, name: &str, kind: Kind, paths: &[&str]) -> AppReading {
    let path = |path: &&str| if path.starts_with('/') { (*path).to_owned() } else { format!("{USER}/{path}") };
    AppReading {
        id: id.to_owned(),
        name: name.to_owned(),
        icon: None,
        in_menu: true,
        rate: None,
        bytes: Bytes::default(),
        cgroups: paths.iter().map(path).collect(),
        kind,
        colour: None,
        parts: Vec::new(),
    }
}

/// What runs: two apps of the desktop, a service with two units, one's own app, and containers.
fn running() -> Vec<AppReading> {
    let named = AppPart { id: "stb-next-server".to_owned(), name: "StB Server".to_owned(), icon: None };
    let own = ["stb-next-server@1.service", "/forwarded/docker/stb/stb-db/172.17.0.9"];
    vec![
        AppReading { parts: vec![named], ..app("StB", "StB", Kind::Own, &own) },
        app("firefox", "Firefox", Kind::App, &["app-gnome-firefox-4711.scope"]),
        app("sync", "sync", Kind::App, &["sync@home.service", "sync@work.service"]),
        app("session-2", "Login session", Kind::App, &["/user.slice/user-1000.slice/session-2.scope"]),
        app("docker:db", "db", Kind::Forwarded, &["/forwarded/docker/shop/db/172.17.0.2"]),
        app("docker:web", "web", Kind::Forwarded, &["/forwarded/docker/shop/web/172.17.0.3"]),
        app("libvirt:vm", "vm", Kind::Forwarded, &["/forwarded/libvirt/vm/192.168.122.7"]),
    ]
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn draft(name: &str) -> Draft {
    Draft { name: Field::new(name), ..Draft::default() }
}

#[test]
fn what_runs_is_apps_with_units_and_projects_with_containers() {
    let apps = running();
    let parts = Parts::of(&apps, None);
    let lines = |list: &[Part<'_>]| {
        let unit = |unit: &PartUnit| format!("{}{}", unit.key, if unit.taken.is_some() { "!" } else { "" });
        let part = |part: &Part<'_>| {
            let units = part.units.iter().map(unit).collect::<Vec<_>>().join(" ");
            format!("{}={}{}: {units}", part.key, part.name, part.taken.as_ref().map_or("", |_| "!"))
        };
        list.iter().map(part).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&parts.apps),
        [
            "firefox=Firefox: app-gnome-firefox-*.scope",
            "session-2=Login session: session-*.scope",
            "stb-next-server=StB Server!: stb-next-server@1.service!",
            "sync=sync: sync@home.service sync@work.service",
        ]
    );
    assert_eq!(lines(&parts.containers), ["shop=Project shop: db web", "stb=Project stb!: stb-db!", "vm=vm: vm"]);
    let taken = |name: &str| Parts::of(&apps, Some(name)).apps.iter().filter(|part| part.taken.is_some()).count();
    assert_eq!((taken("StB"), taken("Other")), (0, 1), "what is changed keeps its parts");
}

#[test]
fn what_is_ticked_and_typed_becomes_an_app() {
    let apps = running();
    let parts = Parts::of(&apps, None);
    let part = |key: &str| parts.apps.iter().chain(&parts.containers).find(|part| part.key == key).unwrap();
    let mut draft = draft("  Work ");
    draft.tick(part("firefox"), false, true);
    draft.tick_unit(&part("sync").units[0], false, true);
    draft.tick_app("docker:web", &parts);
    draft.tick(part("session-2"), false, true);
    draft.unit_patterns = ["backup-*.service", "x[", "", " backup-*.service "].map(Field::new).to_vec();
    draft.cgroups = ["/machine.slice", "machine.slice"].map(Field::new).to_vec();
    let expected = OwnApp {
        name: "Work".to_owned(),
        units: texts(&["sync@home.service", "session-*.scope", "backup-*.service"]),
        cgroups: texts(&["/machine.slice"]),
        apps: texts(&["firefox"]),
        containers: texts(&["web"]),
        ..OwnApp::default()
    };
    assert_eq!(draft.app(), expected);
    // The whole takes the place of its units.
    draft.tick(part("sync"), false, true);
    draft.tick(part("shop"), true, true);
    assert_eq!(draft.app().units, texts(&["session-*.scope", "backup-*.service"]));
    assert_eq!((draft.app().apps, draft.app().containers), (texts(&["firefox", "sync"]), texts(&["shop"])));
    draft.tick(part("sync"), false, false);
    assert_eq!(draft.app().apps, texts(&["firefox"]));
}

#[test]
fn an_app_is_read_and_written_without_a_change() {
    let apps = running();
    let parts = Parts::of(&apps, Some("StB"));
    let before = OwnApp {
        name: "Work".to_owned(),
        units: texts(&["old-*.service", "sync@home.service", "new-*.service"]),
        cgroups: texts(&["/machine.slice"]),
        apps: texts(&["gone", "firefox"]),
        containers: texts(&["we*", "db"]),
        colour: Some([1, 2, 3]),
        icon: Some("web".to_owned()),
    };
    let mut draft = Draft::of(&before, &parts);
    assert_eq!(draft.app(), before);
    assert!(!draft.is_changed(&before));
    assert_eq!((draft.units.len(), draft.unit_patterns.len(), draft.containers.len()), (1, 2, 1));
    draft.unit_patterns.push(Field::new("x["));
    assert!(draft.is_changed(&before), "what is wrong would be lost as well");
    draft.unit_patterns.pop();
    draft.unit_patterns.push(Field::new("z"));
    assert_eq!(draft.app().units, texts(&["old-*.service", "sync@home.service", "new-*.service", "z"]));
}

#[test]
fn patterns_say_what_they_match() {
    let apps = running();
    let check = |units: &str, expected: &str| {
        assert_eq!(draft("").units_matched(units, &apps).words(), expected, "{units}");
    };
    check("sync@*", "Matches 2 now: sync@home.service and sync@work.service");
    check("sync@[hw]o[mr]?.service", "Matches 2 now: sync@home.service and sync@work.service");
    check("nothing", "Matches nothing that runs now.");
    check("stb-*", "Matches 1 now: stb-next-server@1.service (some are already in StB)");
    check(
        "*",
        "Matches 5 now: stb-next-server@1.service, app-gnome-firefox-4711.scope, sync@home.service, sync@work.service and 1 more \
         (some are already in StB)",
    );
    let containers = |text: &str| draft("").containers_matched(text, &apps).words();
    assert_eq!(containers("shop"), "Matches 2 now: db and web");
    assert_eq!(containers("v?"), "Matches 1 now: vm");
    let path = |text: &str| draft("").cgroup_matched(text, &apps).words();
    assert_eq!(path("/user.slice/user-1000.slice/session-2.scope/"), "Matches 1 now: session-2.scope");
    let own = Draft { before: Some(OwnApp { name: "StB".to_owned(), ..OwnApp::default() }), ..Draft::default() };
    assert_eq!(own.units_matched("stb-*", &apps).words(), "Matches 1 now: stb-next-server@1.service");
}

#[test]
fn what_keeps_an_app_from_being_saved_is_a_sentence() {
    let apps = running();
    let mine = OwnApp { name: "Mine".to_owned(), units: texts(&["x"]), ..OwnApp::default() };
    let settings = Settings { apps: vec![mine.clone()], ..Settings::default() };
    let check = |change: fn(&mut Draft), expected: Option<&str>| {
        let mut draft = Draft { apps: texts(&["sync"]), ..draft("Work") };
        change(&mut draft);
        assert_eq!(draft.wrong(&settings, &apps).as_deref(), expected);
    };
    check(|_| {}, None);
    check(|draft| draft.name = Field::new(" "), Some("Enter a name for the app."));
    check(
        |draft| draft.name = Field::new("a\u{7}"),
        Some("An app's name can't contain control characters such as line breaks."),
    );
    check(|draft| draft.name = Field::new("mine"), Some("You already have an app called “Mine”. Choose another name."));
    check(|draft| draft.name = Field::new("StB"), Some("You already have an app called “StB”. Choose another name."));
    check(
        |draft| draft.name = Field::new("firefox"),
        Some("“firefox” is the id of another application. Choose another name, or include that application."),
    );
    check(|draft| draft.name = Field::new("sync"), None);
    check(
        |draft| draft.unit_patterns = vec![Field::new("a["), Field::new("")],
        Some("\"a[\" is not a pattern: invalid range pattern."),
    );
    check(
        |draft| draft.cgroups = vec![Field::new("machine.slice")],
        Some("\"machine.slice\" is not a cgroup's path: it must begin with /, as in /proc/PID/cgroup."),
    );
    check(|draft| draft.apps.clear(), Some("Tick what belongs to the app, or add a pattern."));
    let same = Draft { before: Some(mine.clone()), ..Draft::of(&mine, &Parts::default()) };
    assert_eq!(same.wrong(&settings, &apps), None, "it may keep its name");
    let note = |name: &str| Draft { apps: texts(&["sync"]), ..draft(name) }.name_note(&apps);
    assert_eq!(note("FIREFOX").as_deref(), Some("Another application is called “Firefox” as well."));
    assert_eq!(note("sync"), None);
}

#[test]
fn the_summary_says_what_the_app_will_be() {
    let apps = running();
    let parts = Parts::of(&apps, None);
    let check = |change: fn(&mut Draft), expected: &str| {
        let mut draft = draft("Work");
        change(&mut draft);
        assert_eq!(draft.summary(&Settings::default(), &apps, &parts), expected);
    };
    check(|_| {}, "This app does not include anything yet. Tick what belongs to it.");
    check(|draft| draft.apps = texts(&["sync"]), "This app will include sync. 2 units of it run now.");
    check(
        |draft| {
            draft.apps = texts(&["firefox", "gone"]);
            draft.containers = texts(&["shop"]);
        },
        "This app will include Firefox, Project shop and gone. 3 units of it run now.",
    );
    check(
        |draft| draft.unit_patterns = vec![Field::new("later-*")],
        "This app will include what its patterns match. Nothing of it runs now.",
    );
    check(
        |draft| {
            draft.name = Field::default();
            draft.apps = texts(&["firefox"]);
        },
        "This app will include Firefox. 1 unit of it runs now.",
    );
}

#[test]
fn settings_take_an_app_over_and_let_it_go() {
    let app = |name: &str, unit: &str| OwnApp { name: name.to_owned(), units: texts(&[unit]), ..OwnApp::default() };
    let nothing = |name: &str| OwnApp { name: name.to_owned(), ..OwnApp::default() };
    let stb = OwnApp::built_in().remove(0);
    let settings = |apps: &[OwnApp]| Settings { apps: apps.to_vec(), ..Settings::default() };
    let (a, b) = (app("a", "1"), app("b", "2"));
    for (before, changed, new, expected) in [
        (vec![], None, a.clone(), vec![a.clone()]),
        (vec![a.clone(), b.clone()], Some(&a), app("a", "3"), vec![app("a", "3"), b.clone()]),
        (vec![a.clone(), b.clone()], Some(&a), app("c", "1"), vec![app("c", "1"), b.clone()]),
        (vec![], Some(&stb), app("StB", "3"), vec![app("StB", "3")]),
        (vec![app("StB", "3")], Some(&app("StB", "3")), stb.clone(), vec![]),
        (vec![], Some(&stb), app("c", "1"), vec![app("c", "1"), nothing("StB")]),
        (vec![app("StB", "3")], Some(&app("StB", "3")), app("c", "1"), vec![app("c", "1"), nothing("StB")]),
        (vec![nothing("StB")], None, app("StB", "3"), vec![app("StB", "3")]),
        // It has gone meanwhile.
        (vec![b.clone()], Some(&a), a.clone(), vec![b.clone(), a.clone()]),
    ] {
        assert_eq!(put(&settings(&before), changed, new.clone()).apps, expected, "{before:?}, {new:?}");
    }
    let budget = settings::Budget {
        app: Some("a".to_owned()),
        limit: settings::Limit::Rate { bytes: 1, secs: 60 },
        metered: false,
    };
    let with = Settings { budgets: vec![budget], ..settings(slice::from_ref(&a)) };
    assert_eq!(put(&with, Some(&a), app("c", "1")).budgets[0].app.as_deref(), Some("c"), "a budget goes with its app");
    assert_eq!(without(&settings(&[a, b.clone()]), "a").apps, slice::from_ref(&b));
    assert_eq!(without(&settings(slice::from_ref(&b)), "StB").apps, [b, nothing("StB")]);
    assert_eq!(without(&settings(&[app("StB", "3")]), "StB").apps, [nothing("StB")]);
}
