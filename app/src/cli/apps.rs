//! `netglance apps`.

use std::process::ExitCode;

use netglance_dbus::text::printable;
use serde::Serialize;

use super::{
    Error, others,
    watch::{print, print_json},
};
use crate::{
    base::{format, say::say, settings::Unit},
    look::{
        monitor::Monitor,
        programs::{ByProgram, Chosen, Program},
        rate::Rate,
        reading::Kind,
    },
};

#[derive(Serialize)]
struct Json<'a> {
    id: &'a str,
    name: &'a str,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
    cgroups: &'a [String],
    kind: Kind,
    /// Its programs, where they were looked at. Their figures are estimates: TCP payload, by process.
    #[serde(skip_serializing_if = "Option::is_none")]
    programs: Option<Vec<JsonProgram<'a>>>,
    /// What was counted for it and for none of its programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_by_program: Option<JsonRest>,
}

#[derive(Serialize)]
struct JsonProgram<'a> {
    name: &'a str,
    desktop_id: Option<&'a str>,
    processes: u32,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Serialize)]
struct JsonRest {
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
}

/// Every app's programs are looked at, or those of login sessions.
fn chosen(monitor: &mut Monitor, all: bool) -> Chosen {
    let ids = if all { monitor.apps().into_iter().map(|app| app.id).collect() } else { Vec::new() };
    Chosen { opened: ids.into_iter().map(|id| (id, true)).collect(), ..Chosen::default() }
}

/// Two looks, a beat apart, and what they say of each app.
pub async fn apps(by_program: bool, json: bool) -> Result<ExitCode, Error> {
    let mut monitor = Monitor::open(None).await?;
    let settings = monitor.settings().settings.clone();
    if others::are_allowed(&mut monitor).await {
        monitor.list_services(true);
        monitor.look(settings.beat).await; // theirs begins here
    }
    let chosen = chosen(&mut monitor, by_program);
    monitor.look_at_programs(&chosen)?;
    tokio::time::sleep(settings.beat).await;
    monitor.look(settings.beat).await;
    monitor.look_at_programs(&chosen)?;
    monitor.apps();
    monitor.services();
    monitor.know_names().await;
    let (mut apps, programs) = (monitor.apps(), monitor.by_program());
    apps.extend(monitor.services());
    apps.sort_by_key(|app| app.kind);
    let by_program = |id: &str| programs.iter().find(|by| by.app == id && by.is_open);
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
                programs: by_program(&app.id).map(json_programs),
                not_by_program: by_program(&app.id)
                    .map(|by| JsonRest { rx_rate: by.rest.rate.map(|r| r.rx), tx_rate: by.rest.rate.map(|r| r.tx) }),
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
        let (id, name) = (printable(&app.id), printable(&app.name));
        let name = if name == id { "" } else { &name };
        print(format!("{id:id_width$}  {}  {name}", rates(app.rate, settings.unit)).trim_end())?;
        let Some(by) = by_program(&app.id) else { continue };
        print("  estimate, by program (TCP only):")?;
        let width = by.programs.iter().map(|program| program.name.chars().count()).max().unwrap_or_default();
        let width = width.max(REST.len()).max(id_width.saturating_sub(4));
        for program in &by.programs {
            let id = program.desktop_id.as_deref().map(printable).unwrap_or_default();
            let line = format!("    {:width$}  {}  {id}", printable(&program.name), rates(program.rate, settings.unit));
            print(line.trim_end())?;
        }
        print(&format!("    {REST:width$}  {}", rates(by.rest.rate, settings.unit)))?;
    }
    Ok(ExitCode::SUCCESS)
}

const REST: &str = "not explained by a program";

fn rates(rate: Option<Rate>, unit: Unit) -> String {
    let text = |f: fn(&Rate) -> f64| rate.as_ref().map_or("-".into(), |rate| format::rate(f(rate), unit));
    format!("{:>11} down  {:>11} up", text(|rate| rate.rx), text(|rate| rate.tx))
}

fn json_programs(by: &ByProgram) -> Vec<JsonProgram<'_>> {
    fn json(program: &Program) -> JsonProgram<'_> {
        JsonProgram {
            name: &program.name,
            desktop_id: program.desktop_id.as_deref(),
            processes: program.processes,
            rx_rate: program.rate.map(|r| r.rx),
            tx_rate: program.rate.map(|r| r.tx),
            rx_bytes: program.bytes[0],
            tx_bytes: program.bytes[1],
        }
    }
    by.programs.iter().map(json).collect()
}
