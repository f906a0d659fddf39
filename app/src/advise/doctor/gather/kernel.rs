//! What the kernel's configuration and modules say of nf_tables.

use std::{fs, io::Read as _, path::Path, process::Command};

use flate2::read::GzDecoder;

use super::{Part, text};
use crate::advise::doctor::facts::Nft;

/// Each part: its option, and the module that it may be.
const PARTS: [(Part, &str, Option<&str>); 5] = [
    (Part::Tables, "CONFIG_NF_TABLES", Some("nf_tables")),
    (Part::Inet, "CONFIG_NF_TABLES_INET", None),
    (Part::Socket, "CONFIG_NFT_SOCKET", Some("nft_socket")),
    (Part::Hash, "CONFIG_NFT_HASH", Some("nft_hash")),
    (Part::Cgroup, "CONFIG_SOCK_CGROUP_DATA", None),
];

/// What the files of this kernel say.
pub fn nft(release: &str) -> Nft {
    let mut source = Vec::new();
    let config = config(release, &mut source);
    let modules = modules(release, &mut source);
    let parts = parts(config.as_deref(), modules.as_deref(), &text("/proc/modules"));
    Nft { parts, source }
}

/// What the program says of its version: "nftables v1.0.6 (Lester Gooch #5)".
pub fn nft_program() -> Option<String> {
    let programs = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
    let program = programs.into_iter().find(|program| Path::new(program).exists())?;
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

fn config(release: &str, source: &mut Vec<String>) -> Option<String> {
    let packed = || {
        let mut config = String::new();
        GzDecoder::new(fs::File::open("/proc/config.gz").ok()?).read_to_string(&mut config).ok()?;
        Some(("its configuration".to_owned(), config))
    };
    let file = || Some(("its configuration".to_owned(), fs::read_to_string(format!("/boot/config-{release}")).ok()?));
    let (name, config) = packed().or_else(file)?;
    source.push(name);
    Some(config)
}

fn modules(release: &str, source: &mut Vec<String>) -> Option<String> {
    let directory = Path::new("/lib/modules").join(release);
    let dep = fs::read_to_string(directory.join("modules.dep")).ok()?;
    source.push("its modules".to_owned());
    Some(dep + &text(directory.join("modules.builtin")))
}

/// Which parts are there. `modules`: modules.dep(5) and modules.builtin; `loaded`: /proc/modules.
fn parts(config: Option<&str>, modules: Option<&str>, loaded: &str) -> Vec<(Part, Option<bool>)> {
    let part = |option: &str, module: Option<&str>| {
        let is_loaded = module.is_some_and(|module| loaded.lines().any(|line| line.split(' ').next() == Some(module)));
        let on_disk = module.zip(modules).map(|(module, modules)| modules.contains(&format!("/{module}.ko")));
        let value = config.map(|config| config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('=')));
        match value {
            _ if is_loaded => Some(true),
            // A module that is configured may have gone from the disk with a kernel's upgrade.
            Some(Some("m")) => on_disk,
            Some(value) => Some(value == Some("y")),
            None => on_disk,
        }
    };
    PARTS.into_iter().map(|(name, option, module)| (name, part(option, module))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_and_modules_together_say_what_is_there() {
        let check = |config: Option<&str>, modules: Option<&str>, loaded: &str, expected: [Option<bool>; 5]| {
            let found: Vec<_> = parts(config, modules, loaded).into_iter().map(|(_, has)| has).collect();
            assert_eq!(found, expected, "{config:?} {modules:?} {loaded:?}");
        };
        let debian = "CONFIG_NF_TABLES=m\nCONFIG_NF_TABLES_INET=y\nCONFIG_NFT_SOCKET=m\nCONFIG_NFT_HASH=m\nCONFIG_SOCK_CGROUP_DATA=y\n";
        let built_in = debian.replace("=m", "=y");
        let disk = "kernel/net/netfilter/nf_tables.ko: x.ko\nkernel/net/netfilter/nft_socket.ko: kernel/net/netfilter/nf_tables.ko\nkernel/net/netfilter/nft_hash.ko: kernel/net/netfilter/nf_tables.ko\n";
        let (yes, no) = (Some(true), Some(false));
        check(Some(debian), Some(disk), "", [yes; 5]);
        check(Some(&built_in), None, "", [yes; 5]);
        check(Some(debian), Some("kernel/net/netfilter/nf_tables.ko:\n"), "", [yes, yes, no, no, yes]);
        check(
            Some(debian),
            Some("kernel/x.ko:\n"),
            "nf_tables 1 2 - Live\nnft_socket 1 2 - Live\nnft_hash 1 2 - Live\n",
            [yes; 5],
        );
        check(Some(debian), None, "", [None, yes, None, None, yes]);
        check(Some("# CONFIG_NF_TABLES is not set\n"), None, "", [no; 5]);
        check(None, Some(disk), "", [yes, None, yes, yes, None]);
        check(None, None, "", [None; 5]);
    }
}
