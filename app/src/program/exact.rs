//! Exact counting on and off, and the prefixes handed over: what a person is asked a password for. It counts nothing.
//!
//! Each wish goes over a connection of its own, which waits as long as the person takes, and says in one sentence how it ended.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use ipnet::IpNet;
use netglance_dbus::{
    helper1::{Error as HelperError, Helper1Proxy, NO_AGENT, to_wire},
    kernel::{self, Judgement},
    place::OWN_HELPER,
};
use zbus::connection::Builder;

use crate::{
    base::format,
    look::sampler::helper::{helper, is_unknown, sentence},
};

/// What is wanted of the helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To count, after a set-up where there is none.
    Count {
        /// What it gets then, where there is any.
        internal: Vec<IpNet>,
        /// See `internal`.
        external: Vec<IpNet>,
        /// Although the kernel has a bug that costs memory.
        anyway: bool,
    },
    /// To stop and to leave the system.
    Remove,
    /// To judge by these prefixes from now on: (internal, external).
    Prefixes(Vec<IpNet>, Vec<IpNet>),
}

/// Why a wish was not granted. The text is for the person who had it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The dialog was closed, or the password was wrong.
    #[error("Not authorised: {0}")]
    NotAuthorised(&'static str),
    /// There was nobody to open the dialog.
    #[error(
        "No polkit agent is running in this session, so the password cannot be asked for: {0} \
         Start your desktop's polkit agent and try again."
    )]
    NoAgent(&'static str),
    /// There is no helper, and none to set up.
    #[error(
        "netglance-helper is not installed, and {} does not exist. Install the package netglance-helper, \
         or build it with `cargo build --release --workspace`.", .0.display()
    )]
    NoHelper(PathBuf),
    /// pkexec doesn't start.
    #[error(
        "Cannot ask for the password, because pkexec does not start ({0}). Install the package pkexec (or policykit-1)."
    )]
    NoPkexec(io::Error),
    /// A person has to agree first to what counting does on this kernel.
    #[error("{0}")]
    NeedsConfirmation(String),
    /// All else, in the words of whoever failed.
    #[error("{0}")]
    Failed(String),
}

/// Grants a wish: nothing to say if it went as wanted.
pub async fn fulfil(wish: &Wish) -> Result<(), Error> {
    match wish {
        Wish::Count { internal, external, anyway } => {
            let refused = "the estimate continues.";
            match count(*anyway).await {
                Err(HelperError::Bus(error)) if is_unknown(&error) => set_up(*anyway, refused).await?,
                outcome => outcome.map_err(|error| in_words(&error, refused))?,
            }
            if internal.is_empty() && external.is_empty() { Ok(()) } else { hand_over(internal, external).await }
        }
        Wish::Remove => {
            let refused = "exact counting continues.";
            if Path::new(OWN_HELPER).exists() {
                return pkexec(Path::new(OWN_HELPER), &["take-out"], refused).await;
            }
            let outcome = async { connect().await?.uninstall().await };
            outcome.await.map_err(|error| in_words(&error, refused))
        }
        Wish::Prefixes(internal, external) => hand_over(internal, external).await,
    }
}

async fn count(anyway: bool) -> Result<(), HelperError> {
    let helper = connect().await?;
    if anyway { helper.install_anyway().await } else { helper.install().await }
}

/// Sets the helper up. What it would say of this kernel afterwards is said before a password is asked for.
async fn set_up(anyway: bool, refused: &'static str) -> Result<(), Error> {
    let kernel = kernel::running();
    let (judgement, trouble) = (kernel.judge(), kernel.trouble().unwrap_or_default());
    match judgement.to_be_accepted() {
        _ if matches!(judgement, Judgement::Crashes(_)) => Err(Error::Failed(format::sentence(&trouble))),
        Some(_) if !anyway => Err(Error::NeedsConfirmation(trouble)),
        Some(_) => pkexec(&beside(), &["set-up", "--accept-kernel-bug"], refused).await,
        None => pkexec(&beside(), &["set-up"], refused).await,
    }
}

async fn hand_over(internal: &[IpNet], external: &[IpNet]) -> Result<(), Error> {
    let wire = |prefixes: &[IpNet]| prefixes.iter().copied().map(to_wire).collect();
    let outcome = async { connect().await?.set_prefixes(wire(internal), wire(external)).await };
    outcome.await.map_err(|error| in_words(&error, "the prefixes were not changed."))
}

/// A connection without a limit of time: a person may take long over a password.
async fn connect() -> zbus::Result<Helper1Proxy<'static>> {
    helper(&Builder::system().build().await?).await
}

fn in_words(error: &HelperError, refused: &'static str) -> Error {
    match error {
        HelperError::NotAuthorized(why) if why.contains(NO_AGENT) => Error::NoAgent(refused),
        HelperError::NotAuthorized(_) => Error::NotAuthorised(refused),
        HelperError::NeedsConfirmation(why) => Error::NeedsConfirmation(why.clone()),
        error => Error::Failed(sentence(error)),
    }
}

/// The helper of the same build or archive.
fn beside() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.with_file_name("netglance-helper")
}

/// Runs the helper's own program as root, once the person has given a password.
async fn pkexec(program: &Path, arguments: &[&str], refused: &'static str) -> Result<(), Error> {
    if !program.is_file() {
        return Err(Error::NoHelper(program.to_owned()));
    }
    let mut command = tokio::process::Command::new("pkexec");
    // Without it pkexec would ask in the terminal from which netglance was started.
    command.arg("--disable-internal-agent").arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().await.map_err(Error::NoPkexec)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    // pkexec(1): 126 the dialog was closed, 127 not authorised or a failure of its own, which it words.
    Err(match output.status.code() {
        Some(126) => Error::NotAuthorised(refused),
        Some(127) if said.contains("Not authorized") => Error::NotAuthorised(refused),
        Some(127) => Error::Failed(format!("Cannot ask for the password: {said}")),
        _ => Error::Failed(said),
    })
}
