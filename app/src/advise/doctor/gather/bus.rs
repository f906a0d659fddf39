//! What the two buses say. A call that hangs is given up, and its answer stays unknown.

use std::{collections::BTreeSet, time::Duration};

use netglance_dbus::helper1::{BUS_NAME, Error as HelperError};
use zbus::{Connection, OwnedObjectPath, Proxy, fdo::DBusProxy, proxy::CacheProperties};

use crate::{
    advise::doctor::facts::{App, Facts, Helper, Neighbour, Session, Tray},
    look::{sampler, target::Target},
};

/// Far longer than a bus takes: the helper may have to be started.
const PATIENCE: Duration = Duration::from_secs(5);
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";
const LOGIND: &str = "org.freedesktop.login1";
const TRAY: &str = "org.kde.StatusNotifierWatcher";

/// `org.freedesktop.systemd1.Manager.ListUnits`: name, description, load, active and sub state, followed unit, path, job.
type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Asks both buses.
pub async fn ask(facts: &mut Facts, target: &Target, uid: u32) {
    if let Some(system) = soon(Connection::system()).await {
        facts.system_bus = true;
        let names = names(&system).await;
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        facts.polkit = has("org.freedesktop.PolicyKit1");
        facts.systemd = get(&system, SYSTEMD, MANAGER, "Manager", "Version").await;
        facts.session = session(&system, uid).await;
        if has(BUS_NAME) {
            facts.helper = helper(&system).await;
        }
        let units = units(&system).await;
        add_neighbours(facts, &units);
        let starts = |unit: &str| target.unit_of(&format!("/system.slice/{unit}")).is_some();
        facts.app.socket_units.extend(socket_units(&system, &units, starts).await);
        facts.app.filters = filters(&system, &units, &facts.app).await;
    }
    if let Some(session) = soon(Connection::session()).await {
        facts.tray = tray(&session).await;
        let version: Option<String> = get(&session, SYSTEMD, MANAGER, "Manager", "Version").await;
        facts.user_manager = version.is_some();
        let units = units(&session).await;
        let manager = format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice");
        let starts = |unit: &str| target.unit_of(&format!("{manager}/{unit}")).is_some();
        facts.app.socket_units.extend(socket_units(&session, &units, starts).await);
    }
}

async fn soon<T, E>(call: impl Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, call).await.ok()?.ok()
}

async fn object(bus: &Connection, service: &str, path: &str, interface: &str) -> Option<Proxy<'static>> {
    let builder =
        zbus::proxy::Builder::<Proxy<'static>>::new(bus).destination(service.to_owned()).path(path.to_owned());
    soon(builder.interface(format!("{service}.{interface}")).cache_properties(CacheProperties::No).build()).await
}

/// A property of `service`'s interface `interface`, which begins with the service's name.
async fn get<T>(bus: &Connection, service: &str, path: &str, interface: &str, property: &str) -> Option<T>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
    soon(object(bus, service, path, interface).await?.get_property(property)).await
}

/// Names that are taken on the bus, and those that it would start a program for.
async fn names(bus: &Connection) -> Vec<String> {
    let Some(driver) = soon(DBusProxy::new(bus)).await else { return Vec::new() };
    let taken = soon(driver.list_names()).await.unwrap_or_default();
    let startable = soon(driver.list_activatable_names()).await.unwrap_or_default();
    taken.iter().chain(&startable).map(ToString::to_string).collect()
}

async fn units(bus: &Connection) -> Vec<Unit> {
    let Some(manager) = object(bus, SYSTEMD, MANAGER, "Manager").await else { return Vec::new() };
    soon(manager.call::<_, _, Vec<Unit>>("ListUnits", &())).await.unwrap_or_default()
}

/// The user's session at a screen.
async fn session(bus: &Connection, uid: u32) -> Option<Session> {
    let manager = object(bus, LOGIND, "/org/freedesktop/login1", "Manager").await?;
    let user: OwnedObjectPath = soon(manager.call("GetUser", &uid)).await?;
    let (_, path): (String, OwnedObjectPath) = get(bus, LOGIND, user.as_str(), "User", "Display").await?;
    let session = object(bus, LOGIND, path.as_str(), "Session").await?;
    Some(Session {
        kind: soon(session.get_property("Type")).await?,
        active: soon(session.get_property("Active")).await?,
        remote: soon(session.get_property("Remote")).await?,
    })
}

async fn helper(bus: &Connection) -> Helper {
    let Some(helper) = soon(sampler::helper::helper(bus)).await else { return Helper::Absent };
    // This starts it if it isn't running, which anybody may do; it exits again by itself.
    let read = tokio::time::timeout(PATIENCE, helper.read()).await;
    let Ok(read) = read else { return Helper::Unreachable("it has not answered for 5 seconds".to_owned()) };
    let version = soon(helper.version()).await.unwrap_or_else(|| "of unknown version".to_owned());
    match read {
        Ok((_, _, rows)) => {
            let warning = soon(helper.warning()).await.unwrap_or_default();
            Helper::Counting { version, rows: rows.len(), warning }
        }
        Err(HelperError::NotInstalled(_)) => Helper::Idle { version },
        Err(HelperError::NeedsConfirmation(why)) => Helper::Unconfirmed { version, why },
        Err(error @ HelperError::Bus(_)) => Helper::Unreachable(sampler::helper::sentence(&error)),
        Err(error) => {
            let unsupported = matches!(error, HelperError::Unsupported(_));
            Helper::Failing { version, error: sampler::helper::sentence(&error), unsupported }
        }
    }
}

/// What systemd says is running.
fn add_neighbours(facts: &mut Facts, units: &[Unit]) {
    let active = |name: &str| units.iter().any(|unit| unit.0 == name && unit.3 == "active");
    let known = [
        ("docker.service", Neighbour::Docker),
        ("libvirtd.service", Neighbour::Libvirt),
        ("firewalld.service", Neighbour::Firewalld),
        ("nftables.service", Neighbour::Nftables),
        ("tailscaled.service", Neighbour::Tailscale),
        ("prometheus-node-exporter.service", Neighbour::NodeExporter),
    ];
    facts.neighbours.extend(known.into_iter().filter(|(name, _)| active(name)).map(|(_, neighbour)| neighbour));
    facts.neighbours.sort_unstable();
    facts.neighbours.dedup();
}

/// Socket units with a network address that start a unit for which `starts` holds.
async fn socket_units(bus: &Connection, units: &[Unit], starts: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for unit in units.iter().filter(|unit| unit.0.ends_with(".socket") && unit.3 == "active") {
        let path = unit.6.as_str();
        let triggers: Vec<String> = get(bus, SYSTEMD, path, "Unit", "Triggers").await.unwrap_or_default();
        if !triggers.iter().any(|triggered| starts(triggered)) {
            continue;
        }
        let listens: Vec<(String, String)> = get(bus, SYSTEMD, path, "Socket", "Listen").await.unwrap_or_default();
        // Paths and abstract names are AF_UNIX.
        if listens.iter().any(|(_, address)| !address.starts_with(['/', '@'])) {
            found.push(unit.0.clone());
        }
    }
    found
}

/// System units that make the kernel refuse packets of the app. A user's systemd isn't allowed to do that, whatever its units
/// say.
async fn filters(bus: &Connection, units: &[Unit], app: &App) -> Vec<String> {
    let wanted: BTreeSet<_> = app.units.iter().flat_map(|unit| system_units(&unit.cgroup)).collect();
    let mut found = Vec::new();
    for (name, interface) in wanted {
        let Some(unit) = units.iter().find(|unit| unit.0 == name) else { continue };
        let path = unit.6.as_str();
        let addresses: Option<Vec<(i32, Vec<u8>, u32)>> = get(bus, SYSTEMD, path, interface, "IPAddressDeny").await;
        let sent: Option<Vec<String>> = get(bus, SYSTEMD, path, interface, "IPEgressFilterPath").await;
        let received: Option<Vec<String>> = get(bus, SYSTEMD, path, interface, "IPIngressFilterPath").await;
        let interfaces: Option<(bool, Vec<String>)> =
            get(bus, SYSTEMD, path, interface, "RestrictNetworkInterfaces").await;
        let filters = addresses.is_some_and(|list| !list.is_empty())
            || sent.into_iter().chain(received).any(|list| !list.is_empty())
            || interfaces.is_some_and(|(_, list)| !list.is_empty());
        if filters {
            found.push(name.to_owned());
        }
    }
    found
}

/// The system units that a cgroup is in, each with its kind as an interface's name. Units below a user's systemd are left out.
fn system_units(cgroup: &str) -> impl Iterator<Item = (&str, &'static str)> {
    let mut own = true;
    let systems = cgroup.split('/').take_while(move |name| {
        std::mem::replace(&mut own, !(name.starts_with("user@") && name.ends_with(".service")))
    });
    ["-.slice"].into_iter().chain(systems).filter_map(|name| {
        let kind = match name.rsplit_once('.')?.1 {
            "slice" => "Slice",
            "service" => "Service",
            "scope" => "Scope",
            _ => return None,
        };
        Some((name, kind))
    })
}

async fn tray(bus: &Connection) -> Tray {
    let taken = match soon(DBusProxy::new(bus)).await {
        Some(driver) => soon(driver.list_names()).await.unwrap_or_default(),
        None => return Tray::NoBus,
    };
    if !taken.iter().any(|name| name.as_str() == TRAY) {
        return Tray::Nobody;
    }
    // The interface has the service's own name.
    let watcher = zbus::proxy::Builder::<Proxy<'static>>::new(bus).destination(TRAY).path("/StatusNotifierWatcher");
    let watcher = soon(watcher.interface(TRAY).cache_properties(CacheProperties::No).build()).await;
    let Some(watcher) = watcher else { return Tray::NoHost };
    match soon(watcher.get_property("IsStatusNotifierHostRegistered")).await {
        Some(true) => Tray::Host,
        _ => Tray::NoHost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_in_the_systems_units_down_to_a_users_systemd() {
        let check = |cgroup: &str, expected: &[(&str, &str)]| {
            assert_eq!(
                system_units(cgroup).collect::<Vec<_>>(),
                [&[("-.slice", "Slice")], expected].concat(),
                "{cgroup}"
            );
        };
        check("/", &[]);
        check("/system.slice/a.service/payload", &[("system.slice", "Slice"), ("a.service", "Service")]);
        check(
            "/user.slice/user-1000.slice/session-1.scope",
            &[("user.slice", "Slice"), ("user-1000.slice", "Slice"), ("session-1.scope", "Scope")],
        );
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service",
            &[("user.slice", "Slice"), ("user-1000.slice", "Slice"), ("user@1000.service", "Service")],
        );
    }
}
