//! What is known of the other end of a connection: its name, its service, its country and its network. A question is answered at once
//! with what is known now; the rest is learnt in the background, and whoever asked is told that there is news.
//!
//! Nothing is guessed, nothing is fetched from anybody, and no address leaves this computer unless a person wants that (the setting
//! `reverse_dns`) or the system's services are kept by a directory server. All of it is kept in memory alone. It knows no
//! connection: it is asked only about what somebody looks at, and asks nothing while nobody looks.

mod geoip;
mod host_name;
mod learner;
pub mod queries;
mod system;

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

pub use geoip::GeoFile;
use geoip::Geoip;
use learner::Learner;
use queries::{Monitor, Queries};
use serde::{Deserialize, Serialize};
use system::Port;

use super::remotes::{Name, NamedBy, Whois};
use crate::base::settings::Settings;

/// What was known may be out of date after so long: whoever looks is told to ask again.
const REFRESH: Duration = Duration::from_secs(60);

/// Where names come from, for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sources {
    /// The names that this computer asks for.
    pub queries: Queries,
    /// The files that tell country and network; empty: there are none, or they are still being looked for.
    pub files: Vec<GeoFile>,
    /// The folders in which such files are looked for where no setting names any.
    pub places: Vec<String>,
}

/// Looks up remotes.
#[derive(Debug)]
pub struct Lookup {
    services: Learner<Port, String>,
    reverse: Learner<IpAddr, String>,
    /// The setting `reverse_dns`.
    asks_owners: bool,
    queries: Monitor,
    geoip: Geoip,
    refreshed: Instant,
    knowledge: u64,
}

impl Default for Lookup {
    fn default() -> Self {
        Self::new()
    }
}

impl Lookup {
    /// One that has asked nobody yet, and doesn't ask the owners of addresses until [`Self::set`] says so.
    pub fn new() -> Self {
        Self {
            services: Learner::new(system::SERVICES, system::service),
            reverse: Learner::new(system::REVERSE, system::reverse),
            asks_owners: false,
            queries: Monitor::new(Path::new(queries::SOCKET)),
            geoip: Geoip::new(),
            refreshed: Instant::now(),
            knowledge: 0,
        }
    }

    /// Takes over the settings. Costs nothing where they are the same. What was learnt by a setting that is off now is forgotten.
    pub fn set(&mut self, settings: &Settings) {
        if self.asks_owners != settings.reverse_dns {
            self.asks_owners = settings.reverse_dns;
            self.reverse.forget();
        }
        self.geoip.set(settings.geoip_files().as_deref());
    }

    /// What is known now of the other side. `port` 0: it has none; `protocol`: the IP protocol's number. What is not known is learnt
    /// in the background, until [`Self::rest`] says that nobody looks any more.
    pub fn look(&self, address: IpAddr, port: u16, protocol: u8) -> Whois {
        let address = address.to_canonical();
        let by = |by| move |name| Name { name, by };
        let asked = self.queries.name(&address).map(by(NamedBy::Query));
        let name = asked.or_else(|| {
            let asks = self.asks_owners && system::has_name(address);
            asks.then(|| self.reverse.get(&address)).flatten().map(by(NamedBy::ReverseDns))
        });
        let service = if port == 0 { None } else { self.services.get(&(port, protocol)) };
        let geoip::Found { country, network } = self.geoip.look(address);
        Whois { name, service, country, network }
    }

    /// How often something new became known: with another number than before, ask again. To be called at each beat while somebody
    /// looks; it also has files looked for and read.
    pub fn knowledge(&mut self) -> u64 {
        self.geoip.refresh(true);
        let is_old = self.refreshed.elapsed() >= REFRESH;
        if is_old {
            self.refreshed = Instant::now();
        }
        let news =
            [self.services.take_news(), self.reverse.take_news(), self.queries.take_news(), self.geoip.take_news()];
        self.knowledge += u64::from(is_old || news.contains(&true));
        self.knowledge
    }

    /// Nobody looks any more: nothing more is asked, and the files' memory is given back. What is known stays known.
    pub fn rest(&mut self) {
        self.services.rest();
        self.reverse.rest();
        self.geoip.rest();
    }

    /// Follows the names that this computer asks for, or stops. A person may be asked for a password. Has to be called where tokio
    /// runs.
    pub fn follow_queries(&mut self, follows: bool) {
        if follows {
            self.queries.follow();
        } else {
            self.queries.stop();
        }
    }

    /// Whether a person is being asked for a password now.
    pub fn is_asking(&self) -> bool {
        self.queries.state() == Queries::Asking
    }

    /// Where names come from. Has files looked for, but not read.
    pub fn sources(&mut self) -> Sources {
        self.geoip.refresh(false);
        Sources { queries: self.queries.state(), files: self.geoip.files(), places: self.geoip.places() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use super::{learner::Answer, *};

    /// One whose resolver calls everything `host.example`, and counts.
    fn lookup() -> (Lookup, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let reverse = Learner::new(system::REVERSE, move |_: &IpAddr| {
            count.fetch_add(1, Ordering::Relaxed);
            Answer { answer: Some("host.example".to_owned()), lasts: Duration::from_secs(3600) }
        });
        (Lookup { reverse, ..Lookup::new() }, asked)
    }

    fn eventually(mut done: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < until, "it never came");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_resolver_is_asked_while_the_setting_is_off() {
        let (mut lookup, asked) = lookup();
        let outside = address("93.184.216.34");
        let mut service = || {
            lookup.knowledge();
            lookup.look(outside, 443, 6)
        };
        eventually(|| service().service.as_deref() == Some("https"));
        assert_eq!((service().name, asked.load(Ordering::Relaxed)), (None, 0));

        let before = lookup.knowledge();
        lookup.set(&Settings { reverse_dns: true, ..Settings::default() });
        for local in ["127.0.0.1", "fe80::1", "224.0.0.251", "::ffff:127.0.0.1"] {
            lookup.look(address(local), 443, 6);
        }
        eventually(|| lookup.look(outside, 443, 6).name.is_some());
        let learnt = lookup.knowledge();
        assert!(learnt > before && lookup.knowledge() == learnt);
        let name = lookup.look(address("::ffff:93.184.216.34"), 443, 6).name;
        assert_eq!(name, Some(Name { name: "host.example".to_owned(), by: NamedBy::ReverseDns }));
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        lookup.set(&Settings::default());
        assert!(lookup.knowledge() > learnt);
        assert_eq!(lookup.look(outside, 443, 6).name, None, "what was learnt is forgotten");
        lookup.look(address("93.184.216.35"), 443, 6);
        thread::sleep(Duration::from_millis(150));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn nothing_more_is_asked_once_nobody_looks() {
        let (mut lookup, asked) = lookup();
        lookup.set(&Settings { reverse_dns: true, ..Settings::default() });
        for last in 0..100 {
            lookup.look(IpAddr::from([93, 184, 216, last]), 443, 6);
        }
        lookup.rest();
        let before = asked.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(300));
        let after = asked.load(Ordering::Relaxed);
        assert!(after - before <= 1, "{before} to {after}, where one was under way");
        lookup.look(IpAddr::from([93, 184, 216, 99]), 443, 6);
        eventually(|| lookup.look(IpAddr::from([93, 184, 216, 99]), 443, 6).name.is_some());
    }

    #[test]
    fn of_as_many_rows_as_there_may_be_each_is_asked_about_once() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let services = Learner::new(system::SERVICES, move |_: &Port| {
            count.fetch_add(1, Ordering::Relaxed);
            Answer { answer: None, lasts: Duration::from_secs(3600) }
        });
        let lookup = Lookup { services, ..Lookup::new() };
        let look = || (1..=20_000).for_each(|port| _ = lookup.look(address("93.184.216.34"), port, 6));
        let asked = || asked.load(Ordering::Relaxed);
        eventually(|| {
            look();
            asked() >= 20_000
        });
        look();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(asked(), 20_000);
    }

    #[test]
    fn files_that_the_setting_names_are_read_while_somebody_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.mmdb");
        let record = serde_json::json!({ "country": { "iso_code": "US" } });
        std::fs::write(&path, geoip::tests::database("Country", &[("2606:2800:220::/48", record)])).unwrap();
        let mut lookup = Lookup::new();
        lookup.set(&Settings { geoip: Some(vec![path.display().to_string()]), ..Settings::default() });
        let outside = address("2606:2800:220::1");
        eventually(|| {
            let before = lookup.knowledge();
            lookup.look(outside, 0, 6).country.as_deref() == Some("US") && lookup.knowledge() == before
        });
        let Sources { queries: _, files, places } = lookup.sources();
        assert_eq!(files, [GeoFile { path: path.display().to_string(), problem: None }]);
        assert!(places.iter().any(|place| place == "/usr/share/GeoIP"), "{places:?}");
        lookup.rest();
        assert_eq!(lookup.look(outside, 0, 6).country, None);
    }
}
