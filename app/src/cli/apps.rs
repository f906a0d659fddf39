//! `netglance apps`.

use std::process::ExitCode;

use netglance_dbus::text::printable;
use serde::Serialize;

use super::{
    Error, others,
    watch::{print, print_json},
};
use crate::{
    base::{format, say::say},
    look::{monitor::Monitor, reading::Kind},
};

#[derive(Serialize)]
struct Json<'a> {
    id: &'a str,
    name: &'a str,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
    cgroups: &'a [String],
    kind: Kind,
}

/// Two looks, a beat apart, and what they say of each app.
pub async fn apps(json: bool) -> Result<ExitCode, Error> {
    let mut monitor = Monitor::open(None).await?;
    let settings = monitor.settings().settings.clone();
    if others::are_allowed(&mut monitor).await {
        monitor.list_services(true);
        monitor.look(settings.beat).await; // theirs begins here
    }
    tokio::time::sleep(settings.beat).await;
    monitor.look(settings.beat).await;
    monitor.apps();
    monitor.services();
    monitor.know_names().await;
    let mut apps = monitor.apps();
    apps.extend(monitor.services());
    apps.sort_by_key(|app| app.kind);
    if json {
        let apps: Vec<_> = apps
            .iter()
            .map(|app| Json {
                id: &app.id,
                name: &app.name,
                rx_rate: app.rate.map(|r| r.rx),
                tx_rate: app.rate.map(|r| r.tx),
                cgroups: &app.cgroups,
                kind: app.kind,
            })
            .collect();
        let text = serde_json::to_string(&apps).map_err(std::io::Error::from).map_err(Error::io("write JSON"))?;
        print_json(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if apps.is_empty() {
        say("no applications found: you have no cgroup below user@UID.service. `netglance run -- CMD` creates one.");
    }
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let id_width = width(&mut apps.iter().map(|app| app.id.chars().count()));
    for app in &apps {
        let rate = |f: fn(&crate::look::rate::Rate) -> f64| {
            app.rate.as_ref().map_or("-".into(), |r| format::rate(f(r), settings.unit))
        };
        let (id, name) = (printable(&app.id), printable(&app.name));
        let name = if name == id { "" } else { &name };
        print(format!("{:id_width$}  {:>11} down  {:>11} up  {name}", id, rate(|r| r.rx), rate(|r| r.tx)).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
