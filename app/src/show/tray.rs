//! The tray icon: a picture of the last rates, a tooltip with the figures, a menu. It decides nothing: what is clicked is told
//! to the program.
//!
//! tray-icon's own calls wait for the bus and its menu belongs to one thread, so it has a thread of its own: the beat never waits
//! for a panel.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use futures_lite::StreamExt as _;
use tokio::sync::mpsc::UnboundedSender;
use tray_icon::{
    Icon, MouseButton, TrayIcon, TrayIconBuilder, TrayIconEvent,
    menu::{CheckMenuItem, Menu, MenuEvent, MenuItem, PredefinedMenuItem},
};
use zbus::{Connection, fdo::DBusProxy, proxy};

use crate::show::picture::{self, Picture};

/// What a person does at the tray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A click on the icon.
    Toggle,
    /// Show the window.
    Show,
    /// Watch this app, or no longer.
    Watch(String),
    /// Stop looking, or look again.
    Pause,
    /// Count Exactly…
    CountExactly,
    /// Start at login, or no longer.
    StartAtLogin,
    /// End the program.
    Quit,
}

/// All that the tray shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Face {
    /// The icon.
    pub picture: Picture,
    /// A line for each watched app.
    pub tooltip: String,
    /// The apps of the menu.
    pub apps: Vec<Entry>,
    /// How far each budget is, a line each, for tooltip and menu.
    pub budgets: Vec<String>,
    /// The menu's other marks.
    pub paused: bool,
    /// Whether the menu offers to count exactly.
    pub offers_exact: bool,
    /// Whether the program starts at login.
    pub start_at_login: bool,
}

/// An app in the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// See [`crate::look::reading::AppReading::id`].
    pub id: String,
    /// What a person reads.
    pub name: String,
    /// Whether it is watched.
    pub watched: bool,
}

/// The tray's thread, seen from the program.
#[derive(Debug)]
pub struct Tray {
    faces: Sender<Face>,
    face: Option<Face>,
}

impl Tray {
    /// Starts the thread. The icon comes with the first face, and where there is no panel as soon as there is one.
    pub fn start(events: UnboundedSender<Event>) -> std::io::Result<Self> {
        let (faces, received) = channel();
        thread::Builder::new().name("tray".to_owned()).spawn(move || run(&received, events))?;
        Ok(Self { faces, face: None })
    }

    /// Shows this from now on. Costs nothing where it is what is shown.
    pub fn show(&mut self, face: Face) {
        if self.face.as_ref() != Some(&face) {
            // The thread ends only where there is no session bus, and then there is nobody to see it.
            _ = self.faces.send(face.clone());
            self.face = Some(face);
        }
    }
}

fn run(faces: &Receiver<Face>, events: UnboundedSender<Event>) {
    let clicks = events.clone();
    TrayIconEvent::set_event_handler(Some(move |event| {
        if let TrayIconEvent::Click { button: MouseButton::Left, .. } = event {
            _ = clicks.send(Event::Toggle);
        }
    }));
    MenuEvent::set_event_handler(Some(move |event: MenuEvent| {
        if let Some(event) = event_of(event.id().as_ref()) {
            _ = events.send(event);
        }
    }));
    let mut shown: Option<Shown> = None;
    while let Ok(mut face) = faces.recv() {
        // Only the latest one is worth a word to the panel.
        while let Ok(later) = faces.try_recv() {
            face = later;
        }
        match &mut shown {
            Some(shown) => shown.show(face),
            None => match Shown::new(face) {
                Ok(new) => shown = Some(new),
                Err(_) => return,
            },
        }
    }
}

struct Shown {
    icon: TrayIcon,
    menu: Items,
    face: Face,
}

/// The items that change without the menu being laid out anew.
struct Items {
    apps: Vec<CheckMenuItem>,
    budgets: Vec<MenuItem>,
    pause: CheckMenuItem,
    login: CheckMenuItem,
}

impl Shown {
    fn new(face: Face) -> tray_icon::Result<Self> {
        let (layout, menu) = layout(&face);
        let icon = TrayIconBuilder::new()
            .with_id("netglance")
            .with_title("netglance")
            .with_tooltip(face.whole_tooltip())
            .with_menu(Box::new(layout))
            .with_menu_on_left_click(false);
        let icon = match icon_of(&face.picture) {
            Some(picture) => icon.with_icon(picture),
            None => icon,
        };
        Ok(Self { icon: icon.build()?, menu, face })
    }

    fn show(&mut self, face: Face) {
        // A failure here is that of a panel that is gone: it is told all when it comes back.
        if face.picture != self.face.picture {
            _ = self.icon.set_icon(icon_of(&face.picture));
        }
        if face.tooltip != self.face.tooltip || face.budgets != self.face.budgets {
            _ = self.icon.set_tooltip(Some(face.whole_tooltip()));
        }
        let names = |face: &Face| face.apps.iter().map(|app| (app.id.clone(), app.name.clone())).collect::<Vec<_>>();
        let laid_out = |face: &Face| (names(face), face.budgets.len(), face.offers_exact);
        if laid_out(&face) != laid_out(&self.face) {
            let (layout, menu) = layout(&face);
            self.icon.set_menu(Some(Box::new(layout)));
            self.menu = menu;
        } else {
            // A click has switched the mark already: it is set to what is true.
            for (item, app) in self.menu.apps.iter().zip(&face.apps) {
                check(item, app.watched);
            }
            for ((item, now), before) in self.menu.budgets.iter().zip(&face.budgets).zip(&self.face.budgets) {
                if now != before {
                    item.set_text(escaped(now));
                }
            }
            check(&self.menu.pause, face.paused);
            check(&self.menu.login, face.start_at_login);
        }
        self.face = face;
    }
}

impl Face {
    fn whole_tooltip(&self) -> String {
        let lines = std::iter::once(&self.tooltip).chain(&self.budgets);
        without_markup(&lines.map(String::as_str).collect::<Vec<_>>().join("\n"))
    }
}

/// A tooltip's text may hold markup (StatusNotifierItem, "ToolTip"), an image's address included, and some panels take it as
/// markup only where they see a tag in it. So nothing may look like one: escaped, it would be shown with its escapes elsewhere.
fn without_markup(text: &str) -> String {
    let plain = |c| match c {
        '<' => '‹',
        '>' => '›',
        '&' => '＆',
        other => other,
    };
    text.chars().map(plain).collect()
}

fn check(item: &CheckMenuItem, checked: bool) {
    if item.is_checked() != checked {
        item.set_checked(checked);
    }
}

fn icon_of(picture: &Picture) -> Option<Icon> {
    Icon::from_rgba(picture.rgba(), picture::SIDE, picture::SIDE).ok()
}

const APP: &str = "app:";

fn layout(face: &Face) -> (Menu, Items) {
    let menu = Menu::new();
    let item = |id: &str, text: &str| MenuItem::with_id(id, text, true, None);
    let app =
        |app: &Entry| CheckMenuItem::with_id(format!("{APP}{}", app.id), escaped(&app.name), true, app.watched, None);
    let items = Items {
        apps: face.apps.iter().map(app).collect(),
        budgets: face.budgets.iter().map(|line| item("show", &escaped(line))).collect(),
        pause: CheckMenuItem::with_id("pause", "Pause", true, face.paused, None),
        login: CheckMenuItem::with_id("login", "Start at Login", true, face.start_at_login, None),
    };
    // Appending fails for an item of another menu only.
    _ = menu.append(&item("show", "Show"));
    _ = menu.append(&PredefinedMenuItem::separator());
    for app in &items.apps {
        _ = menu.append(app);
    }
    if !items.apps.is_empty() {
        _ = menu.append(&PredefinedMenuItem::separator());
    }
    for budget in &items.budgets {
        _ = menu.append(budget);
    }
    if !items.budgets.is_empty() {
        _ = menu.append(&PredefinedMenuItem::separator());
    }
    _ = menu.append(&items.pause);
    if face.offers_exact {
        _ = menu.append(&item("exact", "Count Exactly…"));
    }
    _ = menu.append(&items.login);
    _ = menu.append(&PredefinedMenuItem::separator());
    _ = menu.append(&item("quit", "Quit"));
    (menu, items)
}

/// `&` marks the key of an item.
fn escaped(text: &str) -> String {
    text.replace('&', "&&")
}

fn event_of(id: &str) -> Option<Event> {
    Some(match id {
        "show" => Event::Show,
        "pause" => Event::Pause,
        "exact" => Event::CountExactly,
        "login" => Event::StartAtLogin,
        "quit" => Event::Quit,
        app => Event::Watch(app.strip_prefix(APP)?.to_owned()),
    })
}

#[proxy(
    interface = "org.kde.StatusNotifierWatcher",
    default_service = "org.kde.StatusNotifierWatcher",
    default_path = "/StatusNotifierWatcher"
)]
trait Watcher {
    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> zbus::Result<bool>;
    #[zbus(signal)]
    fn status_notifier_host_registered(&self) -> zbus::Result<()>;
    #[zbus(signal)]
    fn status_notifier_host_unregistered(&self) -> zbus::Result<()>;
}

/// Tells, now and whenever it changes, whether a panel shows tray icons (freedesktop.org's StatusNotifierItem): a watcher is on
/// the session bus, and a host with it.
pub async fn follow_hosts(session: Connection, tell: UnboundedSender<bool>) -> zbus::Result<()> {
    let bus = DBusProxy::new(&session).await?;
    let watcher = WatcherProxy::builder(&session).cache_properties(proxy::CacheProperties::No).build().await?;
    let mut owners = bus.receive_name_owner_changed_with_args(&[(0, watcher.inner().destination().as_str())]).await?;
    let mut come = watcher.receive_status_notifier_host_registered().await?;
    let mut gone = watcher.receive_status_notifier_host_unregistered().await?;
    loop {
        let there = bus.name_has_owner(watcher.inner().destination().clone()).await.unwrap_or(false);
        // Some watchers don't say: they are hosts themselves.
        let there = there && watcher.is_status_notifier_host_registered().await.unwrap_or(true);
        if tell.send(there).is_err() {
            return Ok(());
        }
        let more = tokio::select! {
            signal = owners.next() => signal.is_some(),
            signal = come.next() => signal.is_some(),
            signal = gone.next() => signal.is_some(),
        };
        if !more {
            // The session bus is gone, and with it the tray.
            _ = tell.send(false);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup_in_a_tooltip() {
        let text = "<img src=\"http://x/\">&lt;  down 1 kB/s\nStB  idle";
        assert_eq!(without_markup(text), "‹img src=\"http://x/\"›＆lt;  down 1 kB/s\nStB  idle");
    }
}
