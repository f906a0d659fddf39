//! Nothing is lost: whatever happens to the helper, its bus, the host's firewall and the watched service, every byte is in
//! the totals once, and where counting had to start again the epoch says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::fs;

use futures_lite::StreamExt as _;
use lab::{Application, LAN_SINK, Lab, OUTSIDE, OUTSIDE_SINK, eventually};
use netglance_dbus::{
    helper1::{Error, Helper1Proxy},
    sample::{Row, Sample},
};
use netglance_helper::nft::Nft;
use rustix::process::Signal;
use system::{Bus, Cgroups, Daemon};

const SLICE: &str = "user.slice/user-1.slice/user@1.service/app.slice";

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// A lab with an installed helper.
struct Counted {
    helper: Helper1Proxy<'static>,
    daemon: Daemon,
    bus: Bus,
    lab: Lab,
}

impl Counted {
    async fn new() -> Self {
        let (lab, bus) = (Lab::default(), Bus::new());
        let daemon = Daemon::new(&lab, &bus).await;
        let helper = bus.helper_of(0).await;
        helper.install().await.unwrap();
        Self { helper, daemon, bus, lab }
    }

    async fn sample(&self) -> Sample {
        self.helper.read_all().await.unwrap().into()
    }

    /// Received and sent outside, received and sent inside, as `truth` has them.
    async fn row(&self, path: &str) -> [u64; 4] {
        bytes(&self.sample().await, path)
    }

    /// Waits until a row says what the peer has counted, for the last packets are on their way.
    async fn settled(&self, path: &str) -> [u64; 4] {
        let (mut row, mut truth) = ([0; 4], [1; 4]);
        for _ in 0..1000 {
            (row, truth) = (self.row(path).await, self.lab.truth());
            if row == truth {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let rows = self.sample().await.rows;
        assert_eq!(row, truth, "booked, and what the peer has counted; {}\nall rows: {rows:#?}", self.daemon.said());
        row
    }

    fn application(&self, name: &str) -> Application {
        self.lab.application(&format!("{SLICE}/{name}"))
    }

    /// As systemd does when a service's last process is gone.
    fn remove(&self, name: &str) {
        let directory = self.lab.cgroup.join(SLICE).join(name);
        eventually("the cgroup is removed", || fs::remove_dir(&directory).map_err(|e| e.to_string()));
    }
}

fn bytes(sample: &Sample, path: &str) -> [u64; 4] {
    let row = sample.rows.iter().find(|row| row.cgroup == path).cloned().unwrap_or_default();
    let Row { rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes, .. } = row;
    [rx_bytes, tx_bytes, internal_rx_bytes, internal_tx_bytes]
}

#[tokio::test]
async fn killed_a_hundred_times_under_load_it_loses_nothing() {
    let mut counted = Counted::new().await;
    let path = format!("/{SLICE}/a.service");
    let mut application = counted.application("a.service");
    let before = counted.sample().await;
    let mut last = [0; 4];
    for i in 0..100 {
        application.begin(&format!("flood {OUTSIDE_SINK} 4000 200"));
        counted.daemon.kill();
        counted.daemon.start(&counted.bus).await;
        let sample = counted.sample().await;
        assert_eq!(sample.epoch, before.epoch, "start {i}: {}", counted.daemon.said());
        let now = bytes(&sample, &path);
        assert!(now.iter().zip(last).all(|(now, last)| *now >= last), "start {i}: {last:?}, then {now:?}");
        last = now;
        application.finish("flood");
    }
    let [_, sent, ..] = counted.settled(&path).await;
    assert_eq!(sent, 100 * 4000 * 228);
    println!("killed 100 times: {sent} bytes sent, {sent} booked, 0 lost, 0 doubled");
}

/// The kills fall anywhere into the pruning of some hundred cgroups, each of which has its own counter.
#[tokio::test]
async fn killed_while_it_prunes_it_loses_nothing() {
    let mut counted = Counted::new().await;
    let mut application = counted.application("home.service");
    let path = format!("/{SLICE}/b.service");
    let mut sent = 0;
    for round in 0..40 {
        for bytes in 0..300 {
            // A socket belongs to the cgroup that its process was in when it was made.
            application.enter(&counted.lab, &format!("{SLICE}/b.service"));
            application.run(&format!("flood {OUTSIDE_SINK} 1 {bytes}"));
            application.enter(&counted.lab, &format!("{SLICE}/home.service"));
            counted.remove("b.service");
            sent += bytes + 28;
        }
        let reading = counted.helper.clone();
        let reading = tokio::spawn(async move { reading.read_all().await });
        tokio::time::sleep(std::time::Duration::from_micros(round * 250)).await;
        counted.daemon.kill();
        drop(reading.await);
        counted.daemon.start(&counted.bus).await;
    }
    let rows = counted.sample().await.rows;
    let booked: u64 = rows.iter().map(|row| row.tx_bytes).sum();
    assert_eq!((booked, counted.lab.truth()[1]), (sent, sent), "{rows:#?}");
    // A cgroup that is gone after two milliseconds, and the helper killed before it could note its name: no longer known
    // whose bytes these were, they are the root's.
    let named = rows.iter().find(|row| row.cgroup == path).unwrap().tx_bytes;
    let left = table_elements(&counted.lab);
    assert!(left < 1000, "{left} counters of removed cgroups are still in the table");
    println!(
        "killed 40 times in the pruning of 12000 cgroups: {sent} bytes sent, {booked} booked, {named} to the service"
    );
}

fn table_elements(lab: &Lab) -> usize {
    lab.host.part_of_ours("set tx_external").matches("counter packets").count()
}

#[tokio::test]
async fn a_service_restarted_a_hundred_times_goes_on_where_it_was() {
    let counted = Counted::new().await;
    let path = format!("/{SLICE}/c.service");
    for life in 0..100 {
        let mut application = counted.application("c.service");
        application.run(&format!("udp {} 5 100", OUTSIDE[0]));
        application.run(&format!("udp {} 5 1000", OUTSIDE[1]));
        drop(application);
        counted.remove("c.service");
        // Only every fourth life has a read in it: the others come and go between two.
        if life % 4 == 0 {
            counted.settled(&path).await;
        }
    }
    counted.settled(&path).await;
    let elements = table_elements(&counted.lab);
    assert!(elements > 0);
    for _ in 0..200 {
        counted.application("c.service").run(&format!("udp {} 1 100", OUTSIDE[0]));
        counted.remove("c.service");
    }
    counted.settled(&path).await;
    let elements = table_elements(&counted.lab);
    assert!(elements < 300, "{elements} counters of removed cgroups are still in the table");
}

#[tokio::test]
async fn a_firewall_that_flushes_and_reloads_in_a_loop_loses_nothing() {
    let counted = Counted::new().await;
    let mut application = counted.application("d.service");
    application.begin(&format!("flood {OUTSIDE_SINK} 100000 200"));
    let mut flushes = 0;
    while counted.lab.truth_so_far()[1] < 80_000 * 228 {
        // What `systemctl reload nftables` does, and docker in its way.
        let filter = "table ip filter {\nchain input {\ntype filter hook input priority 0\n}\n}";
        counted.lab.host.nft(&format!("flush ruleset\n{filter}")).unwrap();
        flushes += 1;
    }
    application.finish("flood");
    let [_, sent, ..] = counted.settled(&format!("/{SLICE}/d.service")).await;
    assert_eq!(sent, 100_000 * 228);
    println!("flushed {flushes} times under load: {sent} bytes sent, {sent} booked, 0 lost");
}

/// Whoever has the right to read the counters may set them back, whosever table it is.
#[tokio::test]
async fn counters_that_another_program_sets_back_go_on_where_they_were() {
    let mut counted = Counted::new().await;
    let path = format!("/{SLICE}/r.service");
    let mut application = counted.application("r.service");
    let mut other = counted.lab.host.inside(Nft::open).unwrap();
    let mut is_known = true;
    for round in 0..5 {
        application.run(&format!("tcp {} {} 20000", OUTSIDE[0], 100_000 >> round));
        counted.settled(&path).await;
        // Once while the helper is not there: it had written down what was lost before.
        is_known = other.reset_counters().unwrap();
        if round == 2 {
            counted.settled(&path).await;
            counted.daemon.kill();
            counted.daemon.start(&counted.bus).await;
            counted.helper = counted.bus.helper_of(0).await;
        }
        counted.settled(&path).await;
    }
    let warning = counted.helper.warning().await.unwrap();
    assert_eq!(warning.contains("reset counters of netglance's table"), is_known, "{warning}");
    println!("the kernel {} counters", if is_known { "sets back" } else { "can't set back" });
    // What ends with a counter that was set back is added up all the same.
    drop(application);
    counted.remove("r.service");
    for _ in 0..300 {
        counted.application("s.service").run(&format!("udp {} 1 100", OUTSIDE[0]));
        counted.remove("s.service");
    }
    let before = counted.row(&path).await;
    let rest = counted.row(&format!("/{SLICE}/s.service")).await;
    assert_eq!(std::array::from_fn(|i| before[i] + rest[i]), counted.lab.truth());
}

#[tokio::test]
async fn a_bus_that_restarts_ends_the_helper_and_not_the_counting() {
    let mut counted = Counted::new().await;
    let mut application = counted.application("e.service");
    application.run(&format!("udp {} 10 100", OUTSIDE[0]));
    let before = counted.sample().await;
    counted.bus.restart();
    assert!(!counted.daemon.ended().success(), "systemd must start it again");
    application.run(&format!("udp {} 10 100", OUTSIDE[0]));
    counted.daemon.start(&counted.bus).await;
    counted.helper = counted.bus.helper_of(0).await;
    assert_eq!(counted.sample().await.epoch, before.epoch);
    counted.settled(&format!("/{SLICE}/e.service")).await;
}

/// systemd tells a service to end whose name has gone from the bus. Only after a failure does it start the helper again, and keep
/// its socket.
#[tokio::test]
async fn told_to_end_it_fails_only_where_the_bus_has_gone() {
    for is_bus_gone in [true, false] {
        let mut counted = Counted::new().await;
        counted.daemon.signal(Signal::STOP);
        if is_bus_gone {
            counted.bus.restart();
        }
        counted.daemon.signal(Signal::TERM);
        counted.daemon.signal(Signal::CONT);
        let status = counted.daemon.ended();
        assert_eq!(status.success(), !is_bus_gone, "{status}: {}", counted.daemon.said());
    }
}

#[tokio::test]
async fn without_its_socket_counting_starts_again_in_another_epoch() {
    let mut counted = Counted::new().await;
    let mut application = counted.application("f.service");
    application.run(&format!("udp {} 10 100", OUTSIDE[0]));
    let first = counted.sample().await;
    counted.daemon.kill();
    counted.daemon.drop_kept();
    counted.daemon.start(&counted.bus).await;
    let second = counted.sample().await;
    assert!(second.epoch > first.epoch);
    assert_eq!(bytes(&second, &format!("/{SLICE}/f.service")), [0; 4]);
    // Damaged files are no reason to stay away.
    counted.daemon.kill();
    fs::write(counted.daemon.runtime().join("books.json"), "{").unwrap();
    counted.daemon.start(&counted.bus).await;
    let third = counted.sample().await;
    assert!(third.epoch != second.epoch);
    counted.daemon.kill();
    fs::write(counted.daemon.state().join("setup.json"), "[]").unwrap();
    counted.daemon.start(&counted.bus).await;
    assert!(!counted.helper.installed().await.unwrap());
    assert_eq!(counted.lab.host.nft("list ruleset").unwrap(), "");
    counted.helper.install().await.unwrap();
    let said = counted.daemon.said();
    assert!(said.contains("cannot understand") && said.contains("counting starts again"), "{said}");
}

#[tokio::test]
async fn a_deeper_cgroup_gets_a_level_of_its_own() {
    let counted = Counted::new().await;
    let deep = "1/2/3/4/5/6/7/8";
    drop(counted.application(deep));
    // The helper has followed once it has answered.
    counted.sample().await;
    counted.application(deep).run(&format!("udp {} 10 100", OUTSIDE[0]));
    counted.settled(&format!("/{SLICE}/{deep}")).await;
}

#[tokio::test]
async fn the_internal_prefixes_follow_the_routing_table() {
    let counted = Counted::new().await;
    let watching = Helper1Proxy::new(&counted.bus.connect(1).await).await.unwrap();
    let mut changes = watching.receive_internal_prefixes_changed().await;
    changes.next().await.unwrap();
    let mut application = counted.application("g.service");
    let outside = OUTSIDE_SINK.parse::<std::net::SocketAddr>().unwrap().ip();
    application.run(&format!("flood {OUTSIDE_SINK} 10 100"));
    application.run(&format!("flood {LAN_SINK} 10 100"));
    let path = format!("/{SLICE}/g.service");
    assert_eq!(counted.row(&path).await, [0, 1280, 0, 1280]);

    // The outside becomes a neighbour, and goes away again.
    counted.lab.host.ip(&format!("route add {outside}/32 dev up0"));
    counted.lab.host.ip(&format!("neigh add {outside} lladdr {} dev up0", counted.lab.peer_hardware_address()));
    let changed = changes.next().await.unwrap().get().await.unwrap();
    assert!(changed.contains(&(vec![93, 184, 216, 34], 32)), "{changed:?}");
    application.run(&format!("flood {OUTSIDE_SINK} 10 100"));
    assert_eq!(counted.row(&path).await, [0, 1280, 0, 2560]);
    counted.lab.host.ip(&format!("route del {outside}/32 dev up0"));
    changes.next().await.unwrap();
    application.run(&format!("flood {OUTSIDE_SINK} 10 100"));
    assert_eq!(counted.row(&path).await, [0, 2560, 0, 2560]);
}

/// On such a host nothing can be counted, and whoever asks is told so, not left with a helper that dies and dies.
#[tokio::test]
async fn a_host_without_cgroups_is_told() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::with_cgroups(&lab, &bus, Cgroups::Absent).await;
    let helper = bus.helper_of(0).await;
    for refusal in [helper.install().await, helper.uninstall().await, helper.read_all().await.map(drop)] {
        let error = refusal.unwrap_err();
        assert!(
            matches!(&error, Error::Unsupported(text) if text.contains("no cgroup v2 hierarchy is mounted")),
            "{error}"
        );
    }
    assert!(!helper.installed().await.unwrap());
    assert!(helper.warning().await.unwrap().contains("no cgroup v2 hierarchy is mounted"));
    assert!(daemon.ended().success(), "it leaves, and the next call tries again");
}

#[tokio::test]
async fn the_journal_says_when_counting_begins_goes_on_and_ends() {
    let mut counted = Counted::new().await;
    let epoch = counted.sample().await.epoch;
    counted.daemon.kill();
    counted.daemon.start(&counted.bus).await;
    counted.helper.uninstall().await.unwrap();
    let lines = [
        format!("counting begins, epoch {epoch}"),
        format!("counting goes on in the table that was kept, epoch {epoch}"),
        format!("counting ends, epoch {epoch}"),
    ];
    eventually("the journal has all of it", || {
        let said = counted.daemon.said();
        let at: Vec<_> = lines.iter().map(|line| said.find(line)).collect();
        if at.is_sorted() && at.iter().all(Option::is_some) { Ok(()) } else { Err(said) }
    });
}

#[tokio::test]
async fn a_helper_that_nobody_needs_leaves() {
    let (lab, bus) = (Lab::default(), Bus::new());
    let mut daemon = Daemon::new(&lab, &bus).await;
    assert!(daemon.ended().success(), "systemd must let it rest");
}
