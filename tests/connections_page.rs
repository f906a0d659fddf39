//! The Connections page: whom an app talks to, and how much.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/screen.rs"]
mod screen;

use eframe::egui::{Event, Key, Modifiers, OutputCommand, Rect, accesskit::Role, pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use netglance::{
    base::settings::{Settings, Theme, Unit},
    look::{
        live::Side,
        remotes::{Figures, Name, NamedBy, Remote},
        sampler::Source,
    },
    show::update::{Command as Wish, Connections, Update},
};
use screen::{RATE, Screen, moved, overview, reading, remote, several, whole, with_connections};

const EXAMPLE: &str = "93.184.216.34";
const QUIET: &str = "2606:2800:220:1::1";
const ROUTER: &str = "192.168.2.1";

/// Three external remotes, an internal one, and a UDP socket without a peer.
fn remotes() -> Vec<Remote> {
    let mut remotes = vec![
        remote(1, EXAMPLE, 443, None),
        remote(2, QUIET, 443, None),
        remote(3, "93.184.216.40", 8080, None),
        remote(4, ROUTER, 22, Some("192.168.0.0/16")),
        remote(5, "", 0, None),
    ];
    remotes[0].whois.name = Some(Name { name: "example.org".into(), by: NamedBy::ReverseDns });
    remotes[0].whois.country = Some("US".into());
    remotes[0].whois.network = Some((15133, "Edgecast".into()));
    remotes[1].protocol = 17;
    remotes[4].protocol = 17;
    remotes[4].scope = None;
    remotes[4].reason = "not connected: each datagram counts by its own address".into();
    remotes
}

fn figures() -> Vec<Figures> {
    vec![
        moved(1, [12_300_000, 400_000], [1_200_000.0, 80_000.0]),
        moved(2, [900_000_000, 1_000_000], [5000.0, 0.0]),
        moved(3, [2000, 3_000_000], [34_000.0, 2_000_000.0]),
        moved(4, [15_000_000, 5_000_000], [0.0, 0.0]),
        Figures { id: 5, bytes: None, rate: None, seen_ns: 0, sockets: 1 },
    ]
}

fn all() -> Connections {
    whole(remotes(), figures())
}

/// Nothing but these figures is new.
fn news(figures: Vec<Figures>) -> Connections {
    Connections { is_whole: false, ..whole(Vec::new(), figures) }
}

/// The page with this in it.
fn opened(connections: Connections) -> Screen {
    let mut screen = Screen::new();
    open(&mut screen, connections);
    screen
}

fn open(screen: &mut Screen, connections: Connections) {
    screen.show(reading(Ok(RATE)));
    screen.click("Connections");
    assert_eq!(screen.wishes(), [Wish::Connections(true)]);
    screen.show(with_connections(connections));
}

/// The rows from top to bottom.
fn rows(screen: &Screen) -> Vec<String> {
    let rows = screen.harness.query_all_by_label_contains(", last seen ");
    let mut rows: Vec<_> = rows.map(|node| (node.rect().top(), node.accesskit_node().label().unwrap())).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, label)| label).collect()
}

/// The first words of the rows.
fn order(screen: &Screen) -> String {
    let rows = rows(screen);
    rows.iter().map(|row| row.split(", ").next().unwrap()).collect::<Vec<_>>().join(" ")
}

/// What was put on the clipboard, once that was asked for.
#[track_caller]
fn copied(screen: &mut Screen) -> String {
    for _ in 0..4 {
        screen.harness.step();
        let commands = &screen.harness.output().platform_output.commands;
        let text =
            commands.iter().find_map(|c| if let OutputCommand::CopyText(text) = c { Some(text.clone()) } else { None });
        if let Some(text) = text {
            screen.harness.run();
            return text;
        }
    }
    panic!("nothing was copied");
}

fn click_row(screen: &mut Screen, start: &str) {
    screen.harness.get_by_label_contains(start).click();
    screen.harness.run();
}

/// With `PICTURES` set, what is on screen goes into that folder.
fn picture(screen: &Screen, name: &str) {
    if let Some(folder) = std::env::var_os("PICTURES") {
        let size = screen.harness.ctx.content_rect().size();
        screen.paints(Rect::from_min_size(pos2(0.0, 0.0), size), &std::path::Path::new(&folder).join(name));
    }
}

#[test]
fn each_remote_has_a_row_that_says_all_of_it() {
    let mut screen = opened(all());
    let expected = [
        "example.org, port 443 https, TCP, Edgecast (US), external, download 1.20 MB/s, upload 80.0 kB/s, received 12.3 MB, \
         sent 400 kB, last seen now",
        "93.184.216.40, port 8080, TCP, external, download 34.0 kB/s, upload 2.00 MB/s, received 2.00 kB, sent 3.00 MB, last \
         seen now",
        "2606:2800:220:1::1, port 443 https, UDP, external, download 5.00 kB/s, upload 0 B/s, received 900 MB, sent 1.00 MB, \
         last seen now",
        "No fixed remote, UDP, varies, not measured, last seen now",
    ];
    assert_eq!(rows(&screen), expected);
    screen.says("4 of 5 remotes");
    screen.says("Chart of the last minute: download 1.23 MB/s");
    screen.is_accessible();
    picture(&screen, "dark.png");
    screen.harness.get_by_label_contains("example.org, port").hover();
    screen.harness.run();
    for text in
        ["example.org (reverse DNS)\n93.184.216.34:443, TCP, https\nEdgecast (AS15133)\nCountry: US", "1 open socket"]
    {
        screen.says(text);
    }
    screen.click("Close");
    assert_eq!(screen.wishes(), [Wish::Connections(false)]);
    screen.press_with(Modifiers::COMMAND, Key::N);
    assert_eq!(screen.wishes(), [Wish::Connections(true)]);
    screen.says("Listing the connections…");
    screen.press(Key::Escape);
    assert_eq!(screen.wishes(), [Wish::Connections(false)]);
    screen.says("Download 1.23 MB/s");
}

#[test]
fn what_was_left_out_says_why() {
    let mut screen = opened(all());
    screen.click("Internal");
    assert_eq!(order(&screen), "192.168.2.1 No fixed remote");
    picture(&screen, "internal.png");
    click_row(&mut screen, "192.168.2.1, port 22");
    screen.says("Internal: 192.168.0.0/16: Private-Use, RFC 1918");
    screen.click("All");
    assert_eq!(rows(&screen).len(), 5);
    screen.says("5 remotes");
    picture(&screen, "all.png");
}

#[test]
fn only_what_is_new_is_sent() {
    let mut screen = opened(all());
    screen
        .show(with_connections(Connections { gone: vec![3, 5], ..news(vec![moved(2, [901_000_000, 0], [2e6, 0.0])]) }));
    screen.show(Update { connections: None, ..with_connections(all()) });
    screen.says("2 of 3 remotes");
    screen.says("download 2.00 MB/s, upload 0 B/s, received 901 MB");
    let mut news = news(vec![moved(9, [5, 5], [9e6, 0.0])]);
    news.remotes = vec![remote(9, "1.1.1.1", 443, None)];
    screen.show(with_connections(news.clone()));
    screen.says("1.1.1.1, port 443");
    // Another table takes its place.
    screen.show(with_connections(whole(vec![remote(1, "8.8.8.8", 53, None)], vec![moved(1, [0, 0], [0.0, 0.0])])));
    assert_eq!(order(&screen), "8.8.8.8");
    // What comes before a whole one is about the table before.
    screen.press(Key::Escape);
    screen.click("Connections");
    screen.show(with_connections(news));
    screen.says("Listing the connections…");
}

#[test]
fn rows_are_sorted_by_any_column_and_hold_still_under_the_pointer() {
    let mut screen = opened(whole(remotes()[..3].to_vec(), figures()[..3].to_vec()));
    screen.harness.set_size(vec2(1200.0, 640.0));
    screen.harness.run();
    let (a, b, c) = ("example.org", "2606:2800:220:1::1", "93.184.216.40");
    for (column, expected) in [
        ("Sort by Download, largest first", [b, c, a]),
        ("Sort by Upload", [c, a, b]),
        ("Sort by Received", [b, a, c]),
        ("Sort by Sent", [c, b, a]),
        ("Sort by Remote", [b, c, a]),
        ("Sort by Remote, A to Z", [a, c, b]),
        ("Sort by Port", [b, a, c]),
        ("Sort by Protocol", [a, c, b]),
        ("Sort by Network", [a, b, c]),
        ("Sort by Last Seen", [b, a, c]),
        ("Sort by Download", [a, c, b]),
    ] {
        screen.click(column);
        assert_eq!(order(&screen), expected.join(" "), "{column}");
    }
    screen.harness.hover_at(screen.harness.get_by_label_contains("93.184.216.40, port").rect().left_center());
    screen.harness.run();
    let busier = || news(vec![moved(3, [5, 5], [9e9, 0.0]), moved(1, [5, 5], [0.0, 0.0])]);
    screen.beats += 10;
    screen.show(with_connections(busier()));
    assert_eq!(order(&screen), format!("{a} {c} {b}"));
    screen.harness.hover_at(pos2(600.0, 20.0));
    screen.harness.run();
    screen.beats += 10;
    screen.show(with_connections(busier()));
    assert_eq!(order(&screen), format!("{c} {b} {a}"));
}

#[test]
fn a_pointer_that_rests_where_it_opened_the_page_holds_no_rows() {
    let mut screen = Screen::new();
    screen.show(reading(Ok(RATE)));
    let button = screen.harness.get_by_label("Connections").rect().center();
    screen.harness.hover_at(button);
    screen.harness.run();
    screen.click("Connections");
    let at_first = |id| Figures { rate: None, ..moved(id, [1000 - u64::from(id), 0], [0.0, 0.0]) };
    let many: Vec<Remote> = (1..40).map(|id| remote(id, &format!("1.1.1.{id}"), 443, None)).collect();
    screen.show(with_connections(whole(many, (1..40).map(at_first).collect())));
    assert!(order(&screen).starts_with("1.1.1.1 1.1.1.2 "));
    // The first rates come, and two seconds later others.
    screen.show(with_connections(news(vec![moved(9, [5, 0], [9e6, 0.0]), moved(8, [5, 0], [8e6, 0.0])])));
    assert!(order(&screen).starts_with("1.1.1.9 1.1.1.8 "));
    screen.beats += 4;
    screen.show(with_connections(news(vec![moved(7, [5, 0], [9e7, 0.0])])));
    assert!(order(&screen).starts_with("1.1.1.7 1.1.1.9 1.1.1.8 "));
}

#[test]
fn the_filter_finds_any_of_it_and_escape_goes_back_step_by_step() {
    let mut screen = opened(all());
    for (text, expected) in [
        ("EXAMPLE", "example.org"),
        ("216.40", "93.184.216.40"),
        ("8080", "93.184.216.40"),
        ("https udp", "2606:2800:220:1::1"),
        ("edgecast", "example.org"),
        ("as15133", "example.org"),
        ("varies", "No fixed remote"),
        ("shell@split 8080", "93.184.216.40"),
    ] {
        screen.press_with(Modifiers::COMMAND, Key::F);
        screen.harness.get_by_role_and_label(Role::TextInput, "Filter the connections").type_text(text);
        screen.harness.run();
        assert_eq!(order(&screen), expected, "{text}");
        screen.press(Key::Escape);
        assert_eq!(rows(&screen).len(), 4, "{text}");
    }
    click_row(&mut screen, "example.org, port");
    screen.type_into("Filter the connections", "<b>nobody");
    screen.says("No remote matches “<b>nobody”.");
    picture(&screen, "nothing-found.png");
    screen.click("Clear Filter");
    screen.says("Show All");
    screen.press(Key::Escape);
    screen.says_not("Show All");
    assert_eq!(screen.wishes(), []);
    screen.press(Key::Escape);
    assert_eq!(screen.wishes(), [Wish::Connections(false)]);
}

#[test]
fn remotes_are_grouped_by_address_network_and_port() {
    let mut remotes = remotes();
    remotes.push(remote(6, EXAMPLE, 80, None));
    remotes.push(remote(7, "1.1.1.1", 443, None));
    let mut figures = figures();
    figures.push(moved(6, [700_000, 0], [800_000.0, 0.0]));
    figures.push(moved(7, [0, 0], [0.0, 0.0]));
    let mut screen = opened(whole(remotes, figures));
    screen.click("Address");
    screen
        .says("example.org (2), several ports, TCP, external, download 2.00 MB/s, upload 80.0 kB/s, received 13.0 MB");
    screen.click("Network");
    let text = rows(&screen).join("\n");
    for expected in
        ["Edgecast, port 443 https", "93.184.216.0/24 (2), several ports", "2606:2800:220::/48", "No fixed remote"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    picture(&screen, "grouped.png");
    screen.click("Port");
    let text = rows(&screen).join("\n");
    for expected in ["443 https, TCP (2), external", "443 https, UDP, external", "80, TCP, external"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    click_row(&mut screen, "443 https, TCP (2)");
    screen.says("Show All");
    screen.says("Chart of the last minute: download 1.20 MB/s, upload 80.0 kB/s");
    // It is about what is no row any more.
    screen.click("None");
    screen.says_not("Show All");
}

#[test]
fn a_row_is_shown_alone_in_the_chart() {
    let mut screen = Screen::new();
    screen.beats = 10_000;
    open(&mut screen, all());
    for beat in 0..40 {
        let rate = f64::from(beat % 10) * 150_000.0;
        screen.show(with_connections(news(vec![moved(1, [12_300_000, 400_000], [rate, 80_000.0])])));
    }
    click_row(&mut screen, "example.org, port");
    screen.says("Chart of the last minute: download 1.35 MB/s, upload 80.0 kB/s");
    screen.says("External: a public address that no internal prefix contains");
    picture(&screen, "selected.png");
    screen.click("Show All");
    screen.says("Chart of the last minute: download 1.23 MB/s");
    click_row(&mut screen, "example.org, port");
    click_row(&mut screen, "example.org, port");
    screen.says_not("Show All");
    // By the keyboard: the rows come after the columns' names, and Down goes from one to the next.
    screen.press_with(Modifiers::COMMAND, Key::F);
    screen.press(Key::ArrowDown);
    screen.press(Key::ArrowDown);
    screen.press(Key::Enter);
    screen.says("Chart of the last minute: download 34.0 kB/s");
    screen.press(Key::Enter);
    screen.says_not("Show All");
    // What isn't measured has no curve.
    click_row(&mut screen, "No fixed remote, UDP");
    screen.says("Chart of the last minute: Not measured");
    // It goes with what it shows.
    screen.show(with_connections(Connections { gone: vec![5], ..news(Vec::new()) }));
    screen.says_not("Show All");
}

#[test]
fn rows_are_copied_as_a_table() {
    let mut remotes = remotes();
    remotes[2].whois.name = Some(Name { name: "=HYPERLINK(1)".into(), by: NamedBy::Query });
    let mut screen = opened(whole(remotes, figures()));
    screen.harness.get_by_label("Copy").click();
    let text = copied(&mut screen);
    screen.says("Copied");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with("Remote\tAddress\tPort\tService\tProtocol\t"), "{}", lines[0]);
    assert_eq!(
        lines[1],
        "example.org\t93.184.216.34\t443\thttps\tTCP\tstb-next-shell@split.service\tstb-next-shell@split.service\tUS\tAS15133 \
         Edgecast\tExternal\ta public address that no internal prefix contains\t1200000\t80000\t12300000\t400000\t1\t0\t1"
    );
    assert!(lines[2].starts_with("'=HYPERLINK(1)\t"), "{}", lines[2]);
    assert!(lines[4].contains("\tnot measured\tnot measured\t"), "{}", lines[4]);
    screen.harness.event(Event::Copy);
    assert_eq!(copied(&mut screen).lines().count(), 5);
    click_row(&mut screen, "example.org, port");
    screen.harness.event(Event::Copy);
    assert_eq!(copied(&mut screen).lines().collect::<Vec<_>>(), [lines[0], lines[1]]);
    screen.harness.get_by_label_contains("example.org, port").click_secondary();
    screen.harness.run();
    screen.harness.get_by_label("Copy Address").click();
    assert_eq!(copied(&mut screen), EXAMPLE);
}

#[test]
fn what_is_not_known_is_said() {
    let mut screen = opened(whole(Vec::new(), Vec::new()));
    screen.says("No connections yet");
    screen.says("Nothing was sent or received since this page was opened");
    picture(&screen, "empty.png");
    screen.show(with_connections(whole(vec![remotes()[3].clone()], Vec::new())));
    screen.says("No external connections");
    screen.click("Show Them");
    assert_eq!(order(&screen), ROUTER);
    let estimate = || Connections { source: Source::Estimate, ..all() };
    screen.show(with_connections(estimate()));
    screen.says("Estimate: only the payload of TCP is measured. UDP is listed, but not measured.");
    picture(&screen, "estimate.png");
    screen.show(Update { paused: true, ..with_connections(estimate()) });
    screen.says("Paused in the tray");
    let others = Some([5_000_000, 1000]);
    screen.show(with_connections(Connections { is_complete: false, others, ..all() }));
    screen.says("There are more remotes than can be told apart.");
    screen.says("Other, received 5.00 MB, sent 1.00 kB");
    screen.says_not("Estimate: only");
    picture(&screen, "incomplete.png");
    screen
        .show(with_connections(Connections { failure: Some("the helper does not answer".into()), ..news(Vec::new()) }));
    screen.says("The helper does not answer.");
    assert_eq!(rows(&screen).len(), 5, "the last ones stay");
    screen.says_not("treat the highlighted remotes differently");
    let mut disagree = remotes();
    disagree[3].counters = Some(Side::External);
    disagree[0].counters = Some(Side::External);
    screen.show(with_connections(whole(disagree, figures())));
    screen.says("treat the highlighted remotes differently");
    picture(&screen, "disagree.png");
    let mut screen = Screen::new();
    open(&mut screen, Connections { failure: Some("no".into()), ..news(Vec::new()) });
    screen.says("No.");
    screen.says_not("Listing the connections");
}

#[test]
fn several_apps_are_told_apart() {
    let update = |connections| Update { connections, ..several(&["StB", "mail"]) };
    let mut screen = Screen::new();
    screen.show(update(None));
    screen.click("Connections");
    let mut remotes = remotes();
    remotes[1].app = "mail".into();
    screen.show(update(Some(whole(remotes, figures()))));
    screen.says("StB name and mail name");
    screen.says("2606:2800:220:1::1, port 443 https, UDP, mail name, external");
    screen.says("example.org, port 443 https, TCP, StB name, Edgecast (US), external");
    screen.says("Chart of the last minute: download 2.47 MB/s, upload 160 kB/s");
    screen.harness.get_by_label("Sort by Application");
    picture(&screen, "several.png");
    screen.harness.set_size(vec2(800.0, 500.0));
    screen.harness.run();
    screen.harness.get_by_label("Sort by Application");
    picture(&screen, "several-small.png");
    let mut screen = Screen::new();
    screen.show(Update { failure: Some("netlink is not there".into()), ..overview(Vec::new()) });
    screen.press_with(Modifiers::COMMAND, Key::N);
    screen.says("netlink is not there");
}

#[test]
fn the_button_stands_among_the_others_in_any_window() {
    for size in [vec2(920.0, 640.0), vec2(800.0, 500.0)] {
        for (update, name) in [(overview(screen::apps()), "overview"), (reading(Ok(RATE)), "one")] {
            let mut screen = Screen::new();
            screen.harness.set_size(size);
            screen.show(Update { tray: true, ..update });
            let button = |name: &str| screen.harness.get_by_role_and_label(Role::Button, name).rect();
            let rects = ["Usage", "Connections", "Proof", "Settings", "Shortcuts"].map(button);
            for (at, rect) in rects.iter().enumerate() {
                assert!(rect.height() < 30.0 && rect.bottom() <= size.y, "{rect}");
                assert!(rects[..at].iter().all(|other| !other.intersects(*rect)), "{rects:?}");
            }
            let totals = screen.harness.get_by_label_contains("Since ").rect();
            let internal = screen.harness.get_by_label_contains("Internal (not counted)").rect();
            assert!(totals.center().y == internal.center().y || name == "one", "{totals} {internal}");
            assert!(
                internal.right() < size.x && internal.bottom() < size.y && internal.height() < 30.0,
                "{totals} {internal}"
            );
            picture(&screen, &format!("{name}-{}.png", size.x));
        }
    }
}

fn thousand() -> Connections {
    let remotes: Vec<Remote> = (0..1000_u32)
        .map(|id| {
            let [.., high, low] = id.to_be_bytes();
            let mut remote =
                remote(id, &format!("203.{}.{high}.{low}", id % 200), if id % 3 == 0 { 443 } else { 8080 }, None);
            if id % 5 == 0 {
                let name = format!("edge-{id}.a-very-long-name-of-a-content-delivery-network.example.net");
                remote.whois.name = Some(Name { name, by: NamedBy::Query });
            }
            remote
        })
        .collect();
    whole(remotes, (0..1000_u32).map(|id| busy(id, 0)).collect())
}

fn busy(id: u32, beat: u32) -> Figures {
    let rate = f64::from((id * 7919 + beat * 104_729) % 100_000);
    moved(id, [u64::from(id) * 10_000 + u64::from(beat), u64::from(id) * 1000], [rate, rate / 7.0])
}

#[test]
fn a_thousand_remotes_are_shown_in_any_window() {
    for (light, unit, size, name) in [
        (false, Unit::Bytes, vec2(920.0, 640.0), "thousand-dark.png"),
        (true, Unit::Bits, vec2(800.0, 500.0), "thousand-light-small.png"),
        (true, Unit::Bytes, vec2(1400.0, 900.0), "thousand-light-large.png"),
    ] {
        let theme = if light { Theme::Light } else { Theme::Dark };
        let mut screen = Screen::with(Settings { theme, unit, ..Settings::default() });
        screen.harness.set_size(size);
        let settings = || Settings { theme, unit, ..Settings::default() };
        screen.show(Update { settings: settings(), ..reading(Ok(RATE)) });
        screen.click("Connections");
        screen.show(Update { settings: settings(), ..with_connections(thousand()) });
        for beat in 1..20 {
            let figures = (0..1000_u32).filter(|id| id % 3 == beat % 3).map(|id| busy(id, beat)).collect();
            screen.show(Update { settings: settings(), ..with_connections(news(figures)) });
        }
        screen.says("1,000 remotes");
        let shown = rows(&screen).len();
        assert!((4..30).contains(&shown), "{shown} rows are made in {size}");
        picture(&screen, name);
        screen.is_accessible();
        screen.press(Key::End);
        screen.harness.run();
        screen.press(Key::Home);
        screen.harness.run();
        // The keys go on where the rows on screen end.
        screen.press(Key::ArrowDown);
        for _ in 0..40 {
            screen.press(Key::ArrowDown);
        }
        let focused = screen.harness.root().children_recursive().find(|node| node.accesskit_node().is_focused());
        let rect = focused.expect("a row has the focus").rect();
        assert!(rect.bottom() <= size.y, "{rect}");
    }
}
