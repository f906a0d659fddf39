//! Findings about containers and virtual machines: who names them, and which are counted otherwise than by their address. Pure. A
//! finding is there only where it applies.

use super::{
    BlindSpot, Finding, Status,
    facts::{Containers, Facts},
    many,
};
use crate::look::engines::{Engine, State, Told};

const BY_ADDRESS: &str = "are shown by network interface and address";

/// Those of this host.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let Containers { engines, rootless, sandboxed, .. } = &facts.containers;
    let mut all: Vec<_> = engines.iter().filter_map(names).collect();
    if !rootless.is_empty() {
        let programs = rootless.join(", ");
        let detail = format!(
            "What they move is counted as their user's own, for the cgroup of {programs}. Which container it was is not known."
        );
        all.push(Finding::new("rootless", Status::Note, format!("rootless containers use {programs}"), detail));
    }
    if *sandboxed {
        let detail =
            "Flatpak, Snap and bubblewrap leave an app's sockets in its own cgroup. It is counted like any other app.";
        all.push(Finding::new("sandboxes", Status::Ok, "sandboxed apps are counted", detail));
    }
    all
}

/// What this host doesn't see because it doesn't forward it.
pub fn blind_spot(facts: &Facts) -> Option<BlindSpot> {
    let joined = &facts.containers.joined;
    let text = format!(
        "Traffic of containers and virtual machines on {}, which joins them to the network itself: this host doesn't forward it, so nothing counts it here.",
        joined.join(", ")
    );
    (!joined.is_empty()).then_some(BlindSpot { id: "joined", text })
}

/// Whether an engine's containers are called by their names.
fn names(told: &Told) -> Option<Finding> {
    let (id, engine, noun) = match told.engine {
        Engine::Docker => ("docker-names", "Docker", "container"),
        Engine::Podman => ("podman-names", "Podman", "container"),
        Engine::Libvirt => ("libvirt-names", "libvirt", "virtual machine"),
        Engine::Nspawn => ("nspawn-names", "systemd-machined", "machine"),
        Engine::Bridge => return None,
    };
    let place = &told.place;
    let (status, title, detail) = match &told.state {
        State::Absent | State::Answered { running: 0, .. } => return None,
        State::Answered { running, left_out: 0 } => {
            (Status::Ok, format!("{} known by name ({engine})", many(*running, noun)), String::new())
        }
        State::Answered { running, left_out } => (
            Status::Note,
            format!("{} known by name ({engine})", many(running - left_out, noun)),
            format!("{left_out} more {BY_ADDRESS}."),
        ),
        State::Denied if told.engine == Engine::Docker => (
            Status::Note,
            "Docker's containers can't be named".to_owned(),
            format!(
                "To name them, you have to be a member of the group docker, whose members are as powerful as root. They {BY_ADDRESS}."
            ),
        ),
        State::Denied => (
            Status::Note,
            format!("{engine}'s {noun}s can't be named"),
            format!("You are not allowed to ask {place}. They {BY_ADDRESS}."),
        ),
        State::Rootless => (
            Status::Note,
            format!("{engine} is rootless"),
            format!("{place} belongs to a user. Its {noun}s' addresses are inside a network of their own."),
        ),
        State::Unknown => (
            Status::Unknown,
            format!("names of {engine}'s {noun}s: unknown"),
            format!("{place} has not answered in time."),
        ),
        State::Failed(why) => (
            Status::Warning,
            format!("{engine}'s {noun}s can't be named"),
            format!("{engine} was asked at {place}, but {why}. They {BY_ADDRESS}."),
        ),
    };
    Some(Finding::new(id, status, title, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_says_whether_its_containers_have_names() {
        let check = |engine: Engine, state: State, expected: Option<(Status, &str, &str)>| {
            let told = Told { engine, place: "/run/x.sock".to_owned(), state };
            let containers = Containers { engines: vec![told], ..Containers::default() };
            let found = findings(&Facts { containers, ..Facts::default() });
            let found: Vec<_> = found.iter().map(|f| (f.status, f.title.as_str(), f.detail.as_str())).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        };
        check(Engine::Docker, State::Absent, None);
        check(Engine::Libvirt, State::Answered { running: 0, left_out: 0 }, None);
        let answered = State::Answered { running: 2, left_out: 0 };
        check(Engine::Docker, answered, Some((Status::Ok, "2 containers known by name (Docker)", "")));
        let many = State::Answered { running: 5000, left_out: 904 };
        let detail = "904 more are shown by network interface and address.";
        check(Engine::Podman, many, Some((Status::Note, "4096 containers known by name (Podman)", detail)));
        let detail = "To name them, you have to be a member of the group docker, whose members are as powerful as root. They are shown by network interface and address.";
        check(Engine::Docker, State::Denied, Some((Status::Note, "Docker's containers can't be named", detail)));
        let detail = "You are not allowed to ask /run/x.sock. They are shown by network interface and address.";
        check(Engine::Podman, State::Denied, Some((Status::Note, "Podman's containers can't be named", detail)));
        let detail = "/run/x.sock belongs to a user. Its containers' addresses are inside a network of their own.";
        check(Engine::Docker, State::Rootless, Some((Status::Note, "Docker is rootless", detail)));
        let failed = State::Failed("it answers with error 500".to_owned());
        let detail = "Docker was asked at /run/x.sock, but it answers with error 500. They are shown by network interface and address.";
        check(Engine::Docker, failed, Some((Status::Warning, "Docker's containers can't be named", detail)));
    }

    #[test]
    fn what_is_counted_otherwise_is_said_where_it_applies() {
        let mut facts = Facts::default();
        assert!(findings(&facts).is_empty() && blind_spot(&facts).is_none());
        facts.containers = Containers {
            rootless: vec!["pasta".to_owned()],
            sandboxed: true,
            joined: vec!["br0".to_owned()],
            ..Containers::default()
        };
        let ids: Vec<_> = findings(&facts).iter().map(|finding| finding.id).collect();
        assert_eq!(ids, ["rootless", "sandboxes"]);
        assert!(blind_spot(&facts).unwrap().text.contains("on br0, which"));
    }
}
