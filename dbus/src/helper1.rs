//! The interface between app and helper, defined once: `org.netglance.Helper1` on the system bus.
//!
//! [`Helper1`] serves it, [`Helper1Proxy`] calls it, and a [`Counters`] does the work. It does not decide who may do what. `../org.netglance.Helper1.xml` is this interface as others see it; a test compares the two.

use std::net::IpAddr;

use ipnet::IpNet;
use zbus::message::Header;

use crate::{
    forwarded::{ForwardedSample, WireForwarded},
    remote::{Remotes, WireRemote},
    sample::{Last, Row, Sample},
};

/// The helper's name on the system bus.
pub const BUS_NAME: &str = "org.netglance.Helper1";
/// Where the one object is.
pub const OBJECT_PATH: &str = "/org/netglance/Helper1";
/// Part of the text of [`Error::NotAuthorized`] if there was nobody to open the password dialog.
pub const NO_AGENT: &str = "no polkit agent runs in this session";

/// What a call fails with. Each carries a sentence for a person: what happened, why, and what to do.
#[derive(Clone, Debug, PartialEq, zbus::DBusError)]
#[zbus(prefix = "org.netglance.Helper1.Error")]
pub enum Error {
    /// polkit refused, nobody could be asked, or the user cancelled.
    NotAuthorized(String),
    /// Nothing is counted: `Install` comes first.
    NotInstalled(String),
    /// This kernel lacks something that the table needs; the sentence names it.
    Unsupported(String),
    /// This kernel has a bug that counting triggers, and nobody has agreed to that yet: `InstallAnyway` does. The sentence says
    /// what happens.
    NeedsConfirmation(String),
    /// The kernel refused, or the state directory can't be written.
    Kernel(String),
    /// An invalid prefix, or too many of them.
    InvalidPrefix(String),
    /// The caller's user has too many calls under way or questions for a password open, or the answer would be too large.
    LimitsExceeded(String),
    /// Everything else: the bus failed, there is no helper, or the reply makes no sense.
    #[zbus(error)]
    Bus(zbus::Error),
}

/// Additions or exceptions that one host may have. `SetPrefixes` with more of either fails with [`Error::InvalidPrefix`].
pub const MOST_PREFIXES: usize = 1024;

/// A prefix on the bus: address in network byte order (4 or 16 bytes), prefix length in bits.
pub type WirePrefix = (Vec<u8>, u8);

/// A sample on the bus: epoch, `CLOCK_BOOTTIME` in nanoseconds, rows.
pub type WireSample = (u64, u64, Vec<Row>);

impl From<WireSample> for Sample {
    fn from((epoch, boottime_ns, rows): WireSample) -> Self {
        Self { epoch, boottime_ns, rows }
    }
}

/// The last totals of the previous boot on the bus: its id, `CLOCK_BOOTTIME` in nanoseconds, rows.
pub type WireLast = (String, u64, Vec<Row>);

impl From<WireLast> for Last {
    fn from((boot_id, boottime_ns, rows): WireLast) -> Self {
        Self { boot_id, boottime_ns, rows }
    }
}

/// A prefix as it goes over the bus.
pub fn to_wire(prefix: IpNet) -> WirePrefix {
    let bytes = match prefix.network() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    (bytes, prefix.prefix_len())
}

/// A prefix that came over the bus: bits behind its length must be 0. The error says what is wrong with it.
pub fn from_wire((bytes, length): &WirePrefix) -> Result<IpNet, Error> {
    let invalid = |what: String| Error::InvalidPrefix(format!("{what}; nothing was changed"));
    let address = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
        _ => None,
    };
    let address = address.ok_or_else(|| {
        invalid(format!("an address of {} bytes is neither IPv4 (4 bytes) nor IPv6 (16 bytes)", bytes.len()))
    })?;
    let prefix =
        IpNet::new(address, *length).map_err(|_| invalid(format!("{address} can't have a prefix of {length} bits")))?;
    if prefix.addr() == prefix.network() {
        Ok(prefix)
    } else {
        Err(invalid(format!("{prefix} has bits set beyond its length; did you mean {}?", prefix.trunc())))
    }
}

/// What the helper does. Each call gets the header of its message, which says who calls; the implementation checks whether
/// the caller may before it touches anything.
pub trait Counters: Send + Sync + 'static {
    /// Counts from now on and after every boot.
    fn install(&self, call: &Header<'_>) -> impl Future<Output = Result<(), Error>> + Send;
    /// As [`Self::install`], although the kernel has a bug that costs memory.
    fn install_anyway(&self, call: &Header<'_>) -> impl Future<Output = Result<(), Error>> + Send;
    /// Stops counting and forgets.
    fn uninstall(&self, call: &Header<'_>) -> impl Future<Output = Result<(), Error>> + Send;
    /// The rows of the caller's own cgroups: see [`crate::owner`].
    fn read(&self, call: &Header<'_>) -> impl Future<Output = Result<Sample, Error>> + Send;
    /// All rows.
    fn read_all(&self, call: &Header<'_>) -> impl Future<Output = Result<Sample, Error>> + Send;
    /// The last totals of the previous boot: the rows of cgroups that were the caller's then; root's are all.
    fn read_last(&self, call: &Header<'_>) -> impl Future<Output = Result<Last, Error>> + Send;
    /// What these cgroups, as far as they are the caller's own, and those below them have moved with each remote; root's are all.
    /// Counting by remote begins with the first call and ends ten seconds after the last one.
    fn read_remotes(
        &self,
        call: &Header<'_>,
        cgroups: &[String],
    ) -> impl Future<Output = Result<Remotes, Error>> + Send;
    /// What containers and virtual machines have moved, by address.
    fn read_forwarded(&self, call: &Header<'_>) -> impl Future<Output = Result<ForwardedSample, Error>> + Send;
    /// Replaces the host's own additions and exceptions. More than [`MOST_PREFIXES`] of either are cut off one after the limit.
    fn set_prefixes(
        &self,
        call: &Header<'_>,
        internal: &[WirePrefix],
        external: &[WirePrefix],
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// Whether it counts.
    fn installed(&self) -> impl Future<Output = bool> + Send;
    /// What is wrong with the counting; empty while nothing is.
    fn warning(&self) -> impl Future<Output = String> + Send;
    /// The prefixes that are internal now, each address family sorted.
    fn internal_prefixes(&self) -> impl Future<Output = Vec<WirePrefix>> + Send;
}

/// Keeps just enough to see that there are too many, because they are held in memory while a person is asked for a password.
fn bounded(mut prefixes: Vec<WirePrefix>) -> Vec<WirePrefix> {
    prefixes.truncate(MOST_PREFIXES + 1);
    prefixes.shrink_to_fit();
    prefixes
}

/// The object on the bus.
#[derive(Debug)]
pub struct Helper1<C>(pub C);

/// Counts the bytes of every cgroup's IP packets, external and internal apart, for as long as it is installed.
#[zbus::interface(
    name = "org.netglance.Helper1",
    proxy(default_service = "org.netglance.Helper1", default_path = "/org/netglance/Helper1", visibility = "pub")
)]
impl<C: Counters> Helper1<C> {
    /// Starts counting, now and after every boot. polkit: `org.netglance.install`.
    #[zbus(proxy(allow_interactive_auth))]
    async fn install(&self, #[zbus(header)] call: Header<'_>) -> Result<(), Error> {
        self.0.install(&call).await
    }

    /// As Install, also where that fails with NeedsConfirmation: it agrees to the bug of this kernel that counting triggers. It is
    /// remembered for every kernel that has the same bug, until Uninstall. polkit: `org.netglance.install`.
    #[zbus(proxy(allow_interactive_auth))]
    async fn install_anyway(&self, #[zbus(header)] call: Header<'_>) -> Result<(), Error> {
        self.0.install_anyway(&call).await
    }

    /// Stops counting and forgets all counters and prefixes. polkit: `org.netglance.install`.
    #[zbus(proxy(allow_interactive_auth))]
    async fn uninstall(&self, #[zbus(header)] call: Header<'_>) -> Result<(), Error> {
        self.0.uninstall(&call).await
    }

    /// The rows of the caller's own cgroups, those in `/user.slice/user-UID.slice` and those whose directories were given to
    /// the caller: cgroup path, external bytes received and sent, internal bytes received and sent, since counting began in
    /// this epoch.
    #[zbus(out_args("epoch", "boottime_ns", "rows"))]
    async fn read(&self, #[zbus(header)] call: Header<'_>) -> Result<(u64, u64, Vec<Row>), Error> {
        self.0.read(&call).await.map(|sample| (sample.epoch, sample.boottime_ns, sample.rows))
    }

    /// The rows of every cgroup. polkit: `org.netglance.read-all`.
    #[zbus(out_args("epoch", "boottime_ns", "rows"), proxy(allow_interactive_auth))]
    async fn read_all(&self, #[zbus(header)] call: Header<'_>) -> Result<(u64, u64, Vec<Row>), Error> {
        self.0.read_all(&call).await.map(|sample| (sample.epoch, sample.boottime_ns, sample.rows))
    }

    /// The last totals of the previous boot, as far as they were saved: that boot's id, its CLOCK_BOOTTIME when they were read,
    /// and rows as in Read, since counting began in the last epoch of that boot. Only the rows of cgroups that were the
    /// caller's then; root gets all. Nothing saved: an empty id, 0 and no rows. NotInstalled where nothing is to be counted.
    #[zbus(out_args("boot_id", "boottime_ns", "rows"))]
    async fn read_last(&self, #[zbus(header)] call: Header<'_>) -> Result<(String, u64, Vec<Row>), Error> {
        self.0.read_last(&call).await.map(|last| (last.boot_id, last.boottime_ns, last.rows))
    }

    /// What these cgroups and those below them have moved with each remote, external and internal ones alike: cgroup path, the
    /// remote's address in network byte order (4 or 16 bytes), its port (0 where the protocol has none), the IP protocol, bytes
    /// received and sent. Cgroups that are not the caller's own are left out; all are root's. Counting by remote begins with the
    /// first call that names a cgroup, and ends ten seconds after the last one. The epoch changes whenever all of it starts again.
    /// If complete is false, there were more remotes than can be told apart; the rest is only in the cgroup's own counter (see Read).
    #[zbus(out_args("epoch", "boottime_ns", "complete", "rows"))]
    async fn read_remotes(
        &self,
        #[zbus(header)] call: Header<'_>,
        cgroups: Vec<String>,
    ) -> Result<(u64, u64, bool, Vec<WireRemote>), Error> {
        self.0.read_remotes(&call, &cgroups).await.map(Into::into)
    }

    /// What passed through this host from and to containers and virtual machines: the address of each in network byte order (4 or 16
    /// bytes), behind network address translation; external bytes received and sent, internal bytes received and sent, since counting
    /// began in this epoch, which is that of Read. What Read and ReadAll tell is not among it. polkit:
    /// `org.netglance.read-forwarded`.
    #[zbus(out_args("epoch", "boottime_ns", "rows"))]
    async fn read_forwarded(&self, #[zbus(header)] call: Header<'_>) -> Result<(u64, u64, Vec<WireForwarded>), Error> {
        self.0.read_forwarded(&call).await.map(Into::into)
    }

    /// Replaces the host's own additions to the internal prefixes and exceptions from them: address bytes and prefix length.
    /// polkit: `org.netglance.configure`.
    #[zbus(proxy(allow_interactive_auth))]
    async fn set_prefixes(
        &self,
        #[zbus(header)] call: Header<'_>,
        internal: Vec<WirePrefix>,
        external: Vec<WirePrefix>,
    ) -> Result<(), Error> {
        let (internal, external) = (bounded(internal), bounded(external));
        self.0.set_prefixes(&call, &internal, &external).await
    }

    /// Whether it counts.
    #[zbus(property)]
    async fn installed(&self) -> bool {
        self.0.installed().await
    }

    /// The helper's version.
    #[zbus(property(emits_changed_signal = "const"))]
    async fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// What is wrong with the counting now, as a sentence for a person; empty while all is well.
    #[zbus(property)]
    async fn warning(&self) -> String {
        self.0.warning().await
    }

    /// What is internal now: built in, on-link, and added by the host's administrator.
    #[zbus(property)]
    async fn internal_prefixes(&self) -> Vec<WirePrefix> {
        self.0.internal_prefixes().await
    }
}
