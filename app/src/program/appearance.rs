//! What the desktop looks like: dark or light, and its icons. Asked of the settings portal (org.freedesktop.portal.Settings) and
//! followed there; where no portal answers, the files in which GTK and KDE keep the same are read.

use std::{env, fs, path::Path};

use futures_lite::StreamExt as _;
use tokio::sync::mpsc::UnboundedSender;
use zbus::{
    Connection, OwnedVariant, Variant,
    fdo::{self, DBusProxy},
    proxy,
};

/// What the desktop looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appearance {
    /// Light; dark where nothing says so.
    pub light: bool,
    /// The icon theme's directory name; `None`: nothing says so.
    pub icon_theme: Option<String>,
}

const APPEARANCE: &str = "org.freedesktop.appearance";
const GNOME: &str = "org.gnome.desktop.interface";

#[proxy(
    interface = "org.freedesktop.portal.Settings",
    default_service = "org.freedesktop.portal.Desktop",
    default_path = "/org/freedesktop/portal/desktop"
)]
trait Settings {
    fn read_one(&self, namespace: &str, key: &str) -> zbus::Result<OwnedVariant>;
    /// The same in portals before version 2, with one variant more around the value.
    fn read(&self, namespace: &str, key: &str) -> zbus::Result<OwnedVariant>;
    #[zbus(signal)]
    fn setting_changed(&self, namespace: &str, key: &str, value: Variant<'_>) -> zbus::Result<()>;
}

impl Appearance {
    /// What GTK's and KDE's files say, for as long as no portal has answered.
    pub fn of_files() -> Self {
        Said::default().with_files().decide()
    }
}

/// Tells, now and whenever it changes, what the desktop looks like. `None`: there is no session bus to ask.
pub async fn follow(session: Option<Connection>, tell: UnboundedSender<Appearance>) {
    // Without a bus the files have to do.
    if let Some(session) = session
        && follow_portal(&session, &tell).await.is_ok()
    {
        return;
    }
    _ = tell.send(Appearance::of_files());
}

async fn follow_portal(session: &Connection, tell: &UnboundedSender<Appearance>) -> zbus::Result<()> {
    let portal = SettingsProxy::builder(session).cache_properties(proxy::CacheProperties::No).build().await?;
    let bus = DBusProxy::new(session).await?;
    let mut owners = bus.receive_name_owner_changed_with_args(&[(0, portal.inner().destination().as_str())]).await?;
    // One match for each key: the bus holds back whatever else changes.
    let changed = async |namespace, key| portal.receive_setting_changed_with_args(&[(0, namespace), (1, key)]).await;
    let mut scheme = changed(APPEARANCE, "color-scheme").await?;
    let mut theme = changed(GNOME, "gtk-theme").await?;
    let mut icons = changed(GNOME, "icon-theme").await?;
    let mut told = None;
    loop {
        let now = ask(&portal).await.with_files().decide();
        if told.as_ref() != Some(&now) {
            if tell.send(now.clone()).is_err() {
                return Ok(());
            }
            told = Some(now);
        }
        let more = tokio::select! {
            signal = scheme.next() => signal.is_some(),
            signal = theme.next() => signal.is_some(),
            signal = icons.next() => signal.is_some(),
            // It has come, or it has gone: then asking would only start it again.
            signal = come(&mut owners) => signal,
        };
        if !more {
            return Ok(()); // the session bus is gone
        }
    }
}

/// Waits until the portal's name has a new owner.
async fn come(owners: &mut fdo::NameOwnerChangedStream) -> bool {
    while let Some(signal) = owners.next().await {
        if signal.args().is_ok_and(|args| args.new_owner().is_some()) {
            return true;
        }
    }
    false
}

async fn ask(portal: &SettingsProxy<'_>) -> Said {
    let scheme = value(portal, APPEARANCE, "color-scheme").await.and_then(|value| u32::try_from(value).ok());
    let text = async |key| value(portal, GNOME, key).await.and_then(|value| String::try_from(value).ok());
    match scheme {
        // A desktop that doesn't know this one knows none of GNOME's, and a bus without a portal is asked once.
        None => Said::default(),
        scheme => Said { scheme, gtk_theme: text("gtk-theme").await, icon_theme: text("icon-theme").await },
    }
}

async fn value(portal: &SettingsProxy<'_>, namespace: &str, key: &str) -> Option<OwnedVariant> {
    match portal.read_one(namespace, key).await {
        Ok(value) => Some(value),
        Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::UnknownMethod(_)) => {
            match &*portal.read(namespace, key).await.ok()? {
                Variant::Variant(inner) => inner.try_to_owned().ok(),
                value => value.try_to_owned().ok(),
            }
        }
        Err(_) => None,
    }
}

/// What was said of the desktop's looks, and not yet decided upon.
#[derive(Clone, Debug, Default)]
struct Said {
    /// 0: no preference, 1: dark, 2: light.
    scheme: Option<u32>,
    gtk_theme: Option<String>,
    icon_theme: Option<String>,
}

impl Said {
    /// Fills in what the portal has not said.
    fn with_files(mut self) -> Self {
        let config = xdg::BaseDirectories::new().get_config_home();
        let file = |name: &str| config.as_deref().map(|config| config.join(name)).unwrap_or_default();
        let (gtk, kde) = (file("gtk-3.0/settings.ini"), file("kdeglobals"));
        let on_kde =
            env::var("XDG_CURRENT_DESKTOP").is_ok_and(|desktops| desktops.split(':').any(|name| name == "KDE"));
        let kde_icons = read(&kde, "Icons", "Theme");
        if on_kde && kde_icons.is_some() {
            self.icon_theme = kde_icons.clone();
        }
        self.icon_theme = self.icon_theme.or_else(|| read(&gtk, "Settings", "gtk-icon-theme-name")).or(kde_icons);
        // Whoever sets it wants it for all programs.
        self.gtk_theme = env::var("GTK_THEME").ok().or(self.gtk_theme);
        if self.gtk_theme.is_none() {
            let dark = read(&gtk, "Settings", "gtk-application-prefer-dark-theme");
            let dark = dark.filter(|value| matches!(value.as_str(), "1" | "true"));
            self.gtk_theme = dark.map(|_| "dark".to_owned()).or_else(|| read(&gtk, "Settings", "gtk-theme-name"));
            self.gtk_theme = self.gtk_theme.or_else(|| read(&kde, "General", "ColorScheme"));
        }
        self
    }

    /// A scheme that prefers neither is that of a light desktop, unless its theme has a dark name: so GNOME's programs take it.
    fn decide(self) -> Appearance {
        let light = match (self.scheme, &self.gtk_theme) {
            (Some(1), _) => false,
            (Some(2), _) => true,
            (_, Some(theme)) => !theme.to_lowercase().contains("dark"),
            (scheme, None) => scheme.is_some(),
        };
        Appearance { light, icon_theme: self.icon_theme.filter(|name| !name.is_empty()) }
    }
}

/// A key's value in a group of a file like an INI file. (That of KDE has groups that no desktop entry has.)
fn read(file: &Path, group: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let title = format!("[{group}]");
    let lines = text.lines().skip_while(|line| line.trim() != title).skip(1).take_while(|line| !line.starts_with('['));
    let mut pairs = lines.filter_map(|line| line.split_once('='));
    let value = pairs.find(|(name, _)| name.trim() == key)?.1.trim().trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_comes_before_a_themes_name_and_nothing_at_all_is_dark() {
        let check = |scheme: Option<u32>, gtk_theme: Option<&str>, light: bool| {
            let said = Said { scheme, gtk_theme: gtk_theme.map(str::to_owned), icon_theme: None };
            assert_eq!(said.decide().light, light, "{scheme:?} {gtk_theme:?}");
        };
        check(Some(1), Some("Adwaita"), false);
        check(Some(2), Some("Adwaita-dark"), true);
        check(Some(0), Some("Adwaita"), true);
        check(Some(0), Some("Yaru-dark"), false);
        check(Some(0), Some("Adwaita:dark"), false);
        check(Some(0), None, true);
        check(Some(7), None, true);
        check(None, Some("BreezeDark"), false);
        check(None, Some("Greybird"), true);
        check(None, None, false);
    }

    #[test]
    fn the_files_of_gtk_and_kde_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let check = |text: &str, group: &str, key: &str, expected: Option<&str>| {
            let file = directory.path().join("file");
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file, group, key).as_deref(), expected, "{text}");
        };
        let gtk = "[Settings]\ngtk-theme-name=Arc-Dark\ngtk-icon-theme-name = Papirus\ngtk-font-name=Sans 10\n";
        check(gtk, "Settings", "gtk-theme-name", Some("Arc-Dark"));
        check(gtk, "Settings", "gtk-icon-theme-name", Some("Papirus"));
        let kde = "[$Version]\nupdate_info=a.upd:b,c.upd:d\n\n[Colors:View]\nBackgroundNormal=27,30,32\n\n\
            [Colors:Header][Inactive]\nForegroundNormal=1,2,3\n\n[General]\nColorScheme=BreezeDark\nfixed[$e]=$HOME\n\n[Icons]\nTheme=breeze-dark\n";
        check(kde, "General", "ColorScheme", Some("BreezeDark"));
        check(kde, "Icons", "Theme", Some("breeze-dark"));
        check("", "Icons", "Theme", None);
        assert_eq!(read(Path::new("/nonexistent"), "Icons", "Theme"), None);
    }
}
