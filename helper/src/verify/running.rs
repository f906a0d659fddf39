//! Whether the table that counts on this host now is the one that was tried. It reads the host's table and changes nothing.

use std::{collections::BTreeSet, fs, io, path::Path};

use netglance_dbus::{
    onlink::Onlink,
    scope::Prefixes,
    verify::{Case, Outcome},
};

use super::{Error, namespace::Namespace};
use crate::{
    nft::{
        Nft,
        message::Rule,
        ruleset::{self, Counter, FORWARD, Internal, Redirected, SET_SIZE},
    },
    redirects,
    table::Setup,
};

/// What the helper keeps of an administrator's own prefixes.
pub const SETUP: &str = "/var/lib/netglance/setup.json";

/// The last row of the report: of the network namespace of the calling thread. `setup`: see [`SETUP`].
pub fn compare(setup: &Path) -> Result<Case, Error> {
    let mut running = Nft::open()?;
    let rules = running.rules()?;
    let (verdict, meaning) = if rules.is_empty() {
        let why = "Exact counting is off on this host, so there is no table to compare. What was tested above is the one \
                   that it would load.";
        (Outcome::Skipped, Some(why.to_owned()))
    } else {
        let why = difference(&mut running, &rules, setup)?;
        (if why.is_none() { Outcome::Pass } else { Outcome::Fail }, why)
    };
    Ok(Case::without_figures("The table in use is the one tested here", "netglance's helper", verdict, meaning))
}

/// Makes the same table in a scratch namespace and compares what the kernel says of both.
fn difference(running: &mut Nft, rules: &[Rule], setup: &Path) -> Result<Option<String>, Error> {
    let setup = match fs::read(setup) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Setup::default()),
        Err(error) => Err(error),
    };
    let setup = setup.map_err(Error::doing("read the helper's own prefixes"))?;
    let failed = Error::network("read the routing table");
    let mut onlink = Onlink::open().map_err(&failed)?;
    let host = onlink.changed().map_err(&failed)?.unwrap_or_default();
    let redirected = redirects::look(onlink.policy_routes()).map_err(Error::network("find out what is redirected"))?;
    let prefixes = Prefixes::new(&host, &setup.internal, &setup.external);
    let (v4, v6) = (prefixes.internal_v4(), prefixes.internal_v6());
    let levels = rules.iter().filter(|rule| ruleset::is_level_rule(Counter::TxExternal, rule)).count();
    let levels = ruleset::levels_of(levels);
    // What somebody's control groups have made it count as a whole is no fault, nor that somebody looks at remotes now.
    let is_added = |rule: &&Rule| {
        ruleset::is_by_remote(&rule.chain)
            || rule.is_noted && Counter::ALL.into_iter().any(|c| ruleset::is_level(c, &rule.chain))
    };
    let rules: Vec<_> = rules.iter().filter(|rule| !is_added(rule)).cloned().collect();
    let mut expected = Namespace::new()?.inside(Nft::open)??;
    expected.create(levels, SET_SIZE, Internal { v4: &v4, v6: &v6 })?;
    if redirected != Redirected::default() {
        expected.redirect(&redirected)?;
    }
    forward_like(&mut expected, &rules)?;
    let expected_rules = expected.rules()?;
    // Chain by chain: in a table that has grown they stand in another order.
    let chains: BTreeSet<_> = rules.iter().chain(&expected_rules).map(|rule| &rule.chain).collect();
    for chain in chains {
        let of = |rule: &&Rule| rule.chain == *chain;
        let what = |rule: &Rule| (rule.is_noted, rule.expressions.clone());
        let running = rules.iter().filter(of).map(what);
        if !running.eq(expected_rules.iter().filter(of).map(what)) {
            return Ok(Some(format!(
                "The chain {chain} of the running table has other rules than netglance's, so what was proved above does \
                 not hold for the figures you see. Turn exact counting off and on again in netglance's settings."
            )));
        }
    }
    for set in ["internal4", "internal6", "near4", "near6"] {
        if running.keys(set)? != expected.keys(set)? {
            return Ok(Some(format!(
                "The set {set} of the running table has other prefixes than this host's routing table and settings, so some \
                 traffic is on the wrong side. Restart the helper: systemctl restart netglance-helper"
            )));
        }
    }
    Ok(None)
}

/// Has the expected table count what is forwarded, as far as this kernel can. One that was made without looking at routes is as good:
/// the kernel may have lacked that.
fn forward_like(expected: &mut Nft, running: &[Rule]) -> Result<(), Error> {
    let is_of = |rule: &&Rule| rule.chain == FORWARD;
    let asks_routes = running.iter().any(|rule| is_of(&rule) && rule.mentions("fib"));
    let is_there = running.iter().any(|rule| is_of(&rule));
    let made = if is_there && !asks_routes { expected.count_forwarded_as(false) } else { expected.count_forwarded() };
    match made {
        Err(error) if error.is_unsupported() || error.is_absent() => Ok(()),
        made => Ok(made?),
    }
}
