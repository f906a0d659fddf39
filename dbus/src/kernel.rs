//! Which kernels can be trusted to count: the one table of what is wrong with some of them. Pure; [`running`] alone reads files.
//!
//! A fix is told by the kernel's *stable level*, the number that its stable releases carry (6.1.128). Many distributions hide it
//! behind a number of their own (6.1.0-31-amd64), some say it elsewhere, and some add fixes without raising it. What can't be
//! known is said to be unknown, never guessed.

use std::fmt;

mod running;

pub use running::running;

/// The first version with `socket cgroupv2` and sets of cgroups, which exact counting needs.
pub const OLDEST: Version = Version(5, 13, 0);

/// Everything that is wrong with some kernel's `socket cgroupv2`. A stable series that isn't named in `fixed` never got the fix.
pub const FLAWS: [Flaw; 3] = [CRASH, LEAK, LEVELS];

/// A socket is looked up through a device that a sent packet doesn't have.
pub const CRASH: Flaw = Flaw {
    commit: "743b83f15d40",
    cve: None,
    harm: Harm::Crash,
    what: "the computer can crash",
    fixed: &[Version(5, 15, 38), Version(5, 17, 6), Version(5, 18, 0)],
};

/// A socket that was looked up and has no cgroup at the rule's level is never let go of.
pub const LEAK: Flaw = Flaw {
    commit: "8b26ff7af8c3",
    cve: Some("CVE-2024-46855"),
    harm: Harm::Leak,
    what: "memory is lost until the computer restarts, for each UDP socket that receives without being connected and for \
           each connection over loopback",
    fixed: &[Version(5, 15, 168), Version(6, 1, 111), Version(6, 6, 52), Version(6, 10, 11), Version(6, 11, 0)],
};

/// A rule's level counts from the real root of the cgroup tree, even where whoever adds it sees another root. Only a container's
/// helper could be misled, and it asks the kernel whether it is so.
pub const LEVELS: Flaw = Flaw {
    commit: "7f3287db6543",
    cve: None,
    harm: Harm::Levels,
    what: "levels of control groups are counted from a root that a container can't see",
    fixed: &[Version(6, 1, 112), Version(6, 6, 53), Version(6, 10, 12), Version(6, 11, 0)],
};

/// A kernel's version as its stable releases carry it: 6.1.128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// Reads the version at the beginning of a text, and what is behind it.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let (major, rest) = number(text)?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let (patch, rest) = rest.strip_prefix('.').and_then(number).unwrap_or((0, rest));
        Some((Self(major, minor, patch), rest))
    }

    fn series(self) -> (u16, u16) {
        (self.0, self.1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        if *patch == 0 { write!(f, "{major}.{minor}") } else { write!(f, "{major}.{minor}.{patch}") }
    }
}

/// What a flaw does to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It can crash: nothing may be counted.
    Crash,
    /// It loses memory: an administrator has to agree.
    Leak,
    /// A container's helper would count for the wrong cgroup.
    Levels,
}

/// Something that is wrong with some kernels.
#[derive(Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The upstream commit that fixes it.
    pub commit: &'static str,
    /// Its number in the list of vulnerabilities, where it has one.
    pub cve: Option<&'static str>,
    /// What kind of harm it does.
    pub harm: Harm,
    /// What happens, for a person.
    pub what: &'static str,
    /// The first fixed version of each stable series, in order. The last one is the first release of all that has the fix.
    pub fixed: &'static [Version],
}

impl Flaw {
    /// All versions in which it is fixed, in words.
    pub fn fixed_in(&self) -> String {
        listed(self.fixed.iter().map(ToString::to_string).collect(), "and")
    }

    /// The commit, and the number of the vulnerability.
    pub fn names(&self) -> String {
        self.cve.map_or_else(|| format!("commit {}", self.commit), |cve| format!("commit {}, {cve}", self.commit))
    }
}

/// What a kernel says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    release: String,
    /// The version that the release begins with.
    base: Option<Version>,
    /// The stable level; `None`: it can't be known.
    level: Option<Version>,
    /// It is a candidate for a release, so that the release's fixes may be missing.
    is_candidate: bool,
    /// Its distribution adds fixes without raising the level.
    is_patched: bool,
}

/// What that means for counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It lacks what exact counting needs.
    TooOld,
    /// Counting can crash the host.
    Crashes(&'static Flaw),
    /// Counting loses memory.
    Leaks(&'static Flaw),
    /// Whether it has these flaws can't be known.
    Unknown(Vec<&'static Flaw>),
    /// Nothing is wrong with it that is known.
    Sound,
}

impl Judgement {
    /// The bug to which an administrator has to agree before it may count: one that costs memory, or a crash that can't be ruled
    /// out. `None`: there is none, or agreeing doesn't help.
    pub fn to_be_accepted(&self) -> Option<&'static Flaw> {
        match self {
            Self::Leaks(flaw) => Some(flaw),
            Self::Unknown(flaws) => flaws.iter().copied().find(|flaw| flaw.harm == Harm::Crash),
            Self::TooOld | Self::Crashes(_) | Self::Sound => None,
        }
    }
}

impl Kernel {
    /// Out of `uname -r`, `uname -v`, and Ubuntu's `/proc/version_signature` where there is one.
    pub fn new(release: &str, version: &str, signature: &str) -> Self {
        let release = release.trim();
        let is_candidate = names_candidate(release)
            || version.split_once("Debian ").is_some_and(|(_, package)| names_candidate(package));
        let parsed = Version::parse(release);
        let base = parsed.map(|(version, _)| version);
        let (is_patched, level) = if let Some(last) = signature.split_whitespace().last() {
            (true, Version::parse(last).map(|(level, _)| level))
        } else if let Some((_, package)) = version.split_once("Debian ") {
            let upstream = package.split_once(':').map_or(package, |(_epoch, rest)| rest);
            (false, Version::parse(upstream).map(|(level, _)| level))
        } else {
            let level = parsed.filter(|(version, rest)| !is_hidden(*version, rest)).map(|(version, _)| version);
            // Proxmox's kernels are Ubuntu's.
            (version.contains("PMX"), level)
        };
        let level = level.filter(|_| !is_candidate);
        Self { release: release.to_owned(), base, level, is_candidate, is_patched }
    }

    /// `uname -r`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The version that the release begins with.
    pub fn base(&self) -> Option<Version> {
        self.base
    }

    /// Whether it has a flaw; `None`: that can't be known.
    pub fn has(&self, flaw: &Flaw) -> Option<bool> {
        let (base, first) = (self.base?, flaw.fixed.last()?);
        // A candidate of the first fixed version may have come before the fix.
        if base.series() > first.series() || (base.series() == first.series() && !self.is_candidate) {
            return Some(false);
        }
        let level = self.level?;
        match flaw.fixed.iter().find(|fixed| fixed.series() == level.series()) {
            Some(fixed) => Some(level < *fixed),
            // The stable series ended without the fix, but a distribution may go on with it.
            None => (!self.is_patched).then_some(true),
        }
    }

    /// Whether it can be trusted to count.
    pub fn judge(&self) -> Judgement {
        if self.level.is_some_and(|level| level < OLDEST) {
            return Judgement::TooOld;
        }
        if self.has(&CRASH) == Some(true) {
            return Judgement::Crashes(&CRASH);
        }
        if self.has(&LEAK) == Some(true) {
            return Judgement::Leaks(&LEAK);
        }
        let unknown: Vec<_> = [&CRASH, &LEAK].into_iter().filter(|flaw| self.has(flaw).is_none()).collect();
        if unknown.is_empty() { Judgement::Sound } else { Judgement::Unknown(unknown) }
    }

    /// The versions in which this kernel's user finds a flaw fixed: of the same stable series, and of all.
    pub fn fixed_in(&self, flaw: &Flaw) -> String {
        let series = self.level.or(self.base).map(Version::series);
        let [same, first] = [flaw.fixed.iter().find(|fixed| Some(fixed.series()) == series), flaw.fixed.last()];
        let versions = same.into_iter().chain(first).map(ToString::to_string);
        format!("Linux {}", listed(versions.collect(), "or"))
    }

    /// Why nothing may be counted on this kernel, for a person; `None`: it may.
    pub fn refusal(&self) -> Option<String> {
        let Judgement::Crashes(flaw) = self.judge() else { return None };
        Some(format!("{}. Nothing is counted on this kernel: update it", self.sentence(flaw)))
    }

    /// What counting does on this kernel, or may do, for a person; `None`: nothing that is known.
    pub fn trouble(&self) -> Option<String> {
        match self.judge() {
            Judgement::Crashes(flaw) | Judgement::Leaks(flaw) => Some(self.sentence(flaw)),
            Judgement::Unknown(flaws) => Some(self.doubt(&flaws)),
            Judgement::TooOld | Judgement::Sound => None,
        }
    }

    /// What a flaw that it has means, for a person, with the version that mends it.
    pub fn sentence(&self, flaw: &Flaw) -> String {
        let (fixed, names) = (self.fixed_in(flaw), flaw.names());
        format!("{self} has a bug that exact counting triggers: {}. It is fixed in {fixed} ({names})", flaw.what)
    }

    /// That it can't be known whether it has flaws, for a person.
    pub fn doubt(&self, flaws: &[&Flaw]) -> String {
        let all = flaws.iter().map(|flaw| format!("{} ({})", flaw.what, flaw.names())).collect();
        format!(
            "the version of {self} does not tell whether it still has a bug that exact counting triggers: {}. \
             `netglance verify` tests whether memory is lost",
            listed(all, "or"),
        )
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = if self.release.is_empty() { "of unknown version" } else { &self.release };
        match self.level.filter(|level| Some(*level) != self.base) {
            Some(level) => write!(f, "Linux {release} (stable level {level})"),
            None => write!(f, "Linux {release}"),
        }
    }
}

fn number(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

/// Whether what stands behind the version says that the number isn't the stable level.
fn is_hidden(version: Version, rest: &str) -> bool {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    // RHEL and its rebuilds, Oracle's own kernel. ELRepo's are the stable releases.
    let is_enterprise =
        !rest.contains(".elrepo") && rest.split(".el").skip(1).any(|behind| digits(behind) > 0) || rest.contains("uek");
    // SLES and Leap: the product's number, and a dot.
    let is_suse = rest.strip_prefix('-').is_some_and(|rest| digits(rest) == 6 && rest.get(6..7) == Some("."));
    // 6.8.0-45-generic: the number of a package, whose first stable release would be very old.
    let is_package = version.2 == 0
        && rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        && !rest.contains(".fc")
        && !rest.contains(".elrepo");
    is_enterprise || is_suse || is_package
}

/// Whether a version is that of a candidate: 6.11.0-rc7, 6.11~rc7, 6.11.0-0.rc7.56.fc42.
fn names_candidate(version: &str) -> bool {
    version.match_indices("rc").any(|(at, rc)| {
        let (before, behind) = (version.get(..at), version.get(at + rc.len()..));
        before.is_some_and(|before| before.ends_with(['-', '.', '~']))
            && behind.is_some_and(|behind| behind.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn listed(mut words: Vec<String>, last: &str) -> String {
    match words.pop() {
        Some(word) if words.is_empty() => word,
        Some(word) => format!("{} {last} {word}", words.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Judgement::*, *};

    fn kernel(release: &str, version: &str, signature: &str) -> Kernel {
        Kernel::new(release, version, signature)
    }

    #[test]
    fn each_flaw_is_fixed_where_its_table_says_and_nowhere_before() {
        for flaw in &FLAWS {
            assert!(flaw.fixed.is_sorted() && flaw.fixed.last().is_some_and(|first| first.2 == 0), "{flaw:?}");
            for fixed in flaw.fixed {
                let at = |version: Version| kernel(&version.to_string(), "", "").has(flaw);
                assert_eq!(at(*fixed), Some(false), "{fixed}");
                let before = match *fixed {
                    Version(major, minor, 0) => Version(major, minor - 1, 0),
                    Version(major, minor, patch) => Version(major, minor, patch - 1),
                };
                assert_eq!(at(before), Some(true), "{before}");
            }
            // A series that ended without it.
            assert_eq!(kernel("5.16.20", "", "").has(flaw), Some(true));
            assert_eq!(kernel("6.18.3", "", "").has(flaw), Some(false));
            assert_eq!(kernel("7.0", "", "").has(flaw), Some(false));
        }
    }

    /// Strings as the distributions' own kernels say them.
    #[test]
    #[rustfmt::skip]
    fn the_stable_level_is_found_where_it_is_said() {
        let level = |release, version, signature, expected: Option<Version>| {
            assert_eq!(kernel(release, version, signature).level, expected, "{release} {version} {signature}");
        };
        // Debian, its backports and its newer scheme, Raspberry Pi OS.
        level("6.1.0-31-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.128-1 (2025-02-07)", "", Some(Version(6, 1, 128)));
        level("5.10.0-8-amd64", "#1 SMP Debian 5.10.46-4 (2021-08-03)", "", Some(Version(5, 10, 46)));
        level("6.9.7+bpo-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.9.7-1~bpo12+1 (2024-07-03)", "", Some(Version(6, 9, 7)));
        level("6.12.38+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.38-1 (2025-07-16)", "", Some(Version(6, 12, 38)));
        level("6.6.51+rpt-rpi-v8", "#1 SMP PREEMPT Debian 1:6.6.51-1+rpt3 (2024-10-08)", "", Some(Version(6, 6, 51)));
        level("6.1.21-v8+", "#1642 SMP PREEMPT Mon Apr  3 17:24:16 BST 2023", "", Some(Version(6, 1, 21)));
        // Ubuntu, its hardware enablement and cloud kernels, Mint. Without the signature: unknown.
        level("5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023", "Ubuntu 5.15.0-91.101-generic 5.15.131\n", Some(Version(5, 15, 131)));
        level("6.8.0-40-generic", "#40~22.04.3-Ubuntu SMP PREEMPT_DYNAMIC Tue Jul 30 17:30:19 UTC 2", "Ubuntu 6.8.0-40.40~22.04.3-generic 6.8.12", Some(Version(6, 8, 12)));
        level("6.8.0-1018-aws", "#19-Ubuntu SMP Wed Oct  9 16:48:22 UTC 2024", "Ubuntu 6.8.0-1018.19-aws 6.8.12", Some(Version(6, 8, 12)));
        level("5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023", "", None);
        // Fedora, Arch, openSUSE Tumbleweed, Manjaro, Alpine, Amazon, Gentoo, Pop!_OS, WSL, Proxmox, NixOS, vanilla.
        level("6.11.4-301.fc41.x86_64", "#1 SMP PREEMPT_DYNAMIC Sun Oct 20 15:02:33 UTC 2024", "", Some(Version(6, 11, 4)));
        level("5.15.30-1.el8.elrepo.x86_64", "#1 SMP PREEMPT Sat Mar 19 13:14:51 EDT 2022", "", Some(Version(5, 15, 30)));
        level("5.17.0-arch1-1", "#1 SMP PREEMPT_DYNAMIC Sun, 20 Mar 2022 12:34:56 +0000", "", Some(Version(5, 17, 0)));
        level("6.10.0-gentoo", "#1 SMP PREEMPT_DYNAMIC Mon Jul 15 12:00:00 -00 2024", "", Some(Version(6, 10, 0)));
        level("6.11.0-63.fc41.x86_64", "#1 SMP PREEMPT_DYNAMIC Sun Sep 15 17:09:02 UTC 2024", "", Some(Version(6, 11, 0)));
        level("6.12.1-arch1-1", "#1 SMP PREEMPT_DYNAMIC Fri, 22 Nov 2024 16:04:27 +0000", "", Some(Version(6, 12, 1)));
        level("6.10.11-1-default", "#1 SMP PREEMPT_DYNAMIC Wed Sep 18 12:36:44 UTC 2024 (12ab34c)", "", Some(Version(6, 10, 11)));
        level("6.6.52-1-MANJARO", "#1 SMP PREEMPT_DYNAMIC Wed Sep 18 18:10:55 UTC 2024", "", Some(Version(6, 6, 52)));
        level("6.6.49-0-lts", "#1-Alpine SMP PREEMPT_DYNAMIC 2024-09-04 15:17:43", "", Some(Version(6, 6, 49)));
        level("6.1.112-122.189.amzn2023.x86_64", "#1 SMP PREEMPT_DYNAMIC Tue Oct  8 17:02:11 UTC 2024", "", Some(Version(6, 1, 112)));
        level("6.6.47-gentoo-dist", "#1 SMP PREEMPT_DYNAMIC Mon Aug 19 12:00:00 -00 2024", "", Some(Version(6, 6, 47)));
        level("6.9.3-76060903-generic", "#202405300957~1726766035~22.04~4092a0e SMP PREEMPT_DYNAMIC Thu S", "", Some(Version(6, 9, 3)));
        level("5.15.167.4-microsoft-standard-WSL2", "#1 SMP Tue Nov 5 00:21:55 UTC 2024", "", Some(Version(5, 15, 167)));
        level("6.8.12-4-pve", "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z)", "", Some(Version(6, 8, 12)));
        level("6.6.52", "#1-NixOS SMP PREEMPT_DYNAMIC Wed Sep 18 17:24:10 UTC 2024", "", Some(Version(6, 6, 52)));
        level("6.18.44-fc-v657", "#1 SMP PREEMPT_DYNAMIC @0", "", Some(Version(6, 18, 44)));
        // RHEL and its rebuilds, Oracle, SLES and Leap, candidates, and what nobody can read.
        level("5.14.0-427.13.1.el9_4.x86_64", "#1 SMP PREEMPT_DYNAMIC Wed Apr 10 10:29:16 EDT 2024", "", None);
        level("4.18.0-553.16.1.el8_10.x86_64", "#1 SMP Thu Aug 1 04:16:12 EDT 2024", "", None);
        level("5.15.0-209.161.7.el9uek.x86_64", "#2 SMP Fri Jul 26 16:17:23 PDT 2024", "", None);
        level("5.14.21-150500.55.83-default", "#1 SMP PREEMPT_DYNAMIC Wed Sep 25 08:08:54 UTC 2024 (0e8bdb8)", "", None);
        level("6.4.0-150600.23.22-default", "#1 SMP PREEMPT_DYNAMIC Wed Aug 28 13:13:18 UTC 2024 (1b0ca2e)", "", None);
        level("6.11.0-0.rc7.56.fc42.x86_64", "#1 SMP PREEMPT_DYNAMIC Mon Sep  9 00:00:00 UTC 2024", "", None);
        level("6.11-rc7-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.11~rc7-1~exp1 (2024-09-09)", "", None);
        level("6.11.0-rc7", "#1 SMP PREEMPT_DYNAMIC Mon Sep  9 00:00:00 UTC 2024", "", None);
        level("", "", "", None);
        level("x.y", "#1", "", None);
        level("99999999.1", "", "", None);
    }

    #[test]
    #[rustfmt::skip]
    fn kernels_are_judged_by_what_is_known_of_them() {
        let debian = |release, package: &str| kernel(release, &format!("#1 SMP PREEMPT_DYNAMIC Debian {package} (2024-01-01)"), "").judge();
        let ubuntu = |release, level: &str| kernel(release, "#1-Ubuntu SMP", &format!("Ubuntu {release} {level}")).judge();
        let other = |release| kernel(release, "#1 SMP PREEMPT_DYNAMIC Mon Jan  1 00:00:00 UTC 2024", "").judge();
        assert_eq!(debian("6.1.0-31-amd64", "6.1.128-1"), Sound);
        assert_eq!(debian("6.1.0-25-amd64", "6.1.106-3"), Leaks(&LEAK));
        assert_eq!(debian("5.15.0-0.bpo.3-amd64", "5.15.15-2~bpo11+1"), Crashes(&CRASH));
        assert_eq!(debian("5.10.0-8-amd64", "5.10.46-4"), TooOld);
        assert_eq!(debian("6.6.51+rpt-rpi-v8", "1:6.6.51-1+rpt3"), Leaks(&LEAK));
        assert_eq!(ubuntu("5.15.0-25-generic", "5.15.30"), Crashes(&CRASH));
        assert_eq!(ubuntu("5.15.0-91-generic", "5.15.131"), Leaks(&LEAK));
        assert_eq!(ubuntu("5.15.0-130-generic", "5.15.173"), Sound);
        // Ubuntu goes on with series whose stable releases have ended.
        assert_eq!(ubuntu("6.8.0-45-generic", "6.8.12"), Unknown(vec![&LEAK]));
        assert_eq!(ubuntu("5.13.0-52-generic", "5.13.19"), Unknown(vec![&CRASH, &LEAK]));
        assert_eq!(ubuntu("6.11.0-9-generic", "6.11.0"), Sound);
        assert_eq!(other("6.11.0-9-generic"), Sound);
        assert_eq!(other("5.15.0-91-generic"), Unknown(vec![&CRASH, &LEAK]));
        assert_eq!(other("5.14.0-427.13.1.el9_4.x86_64"), Unknown(vec![&CRASH, &LEAK]));
        assert_eq!(other("6.12.0-55.9.1.el10_0.x86_64"), Sound);
        assert_eq!(other("6.4.0-150600.23.22-default"), Unknown(vec![&LEAK]));
        assert_eq!(other("6.8.5-301.fc40.x86_64"), Leaks(&LEAK));
        assert_eq!(other("6.11.0-63.fc41.x86_64"), Sound);
        assert_eq!(other("6.12.1-arch1-1"), Sound);
        assert_eq!(other("6.11.0-rc7"), Unknown(vec![&LEAK]));
        assert_eq!(other("6.12.0-rc1"), Sound);
        assert_eq!(other("5.15.167.4-microsoft-standard-WSL2"), Leaks(&LEAK));
        assert_eq!(other("6.6.87.2-microsoft-standard-WSL2"), Sound);
        assert_eq!(kernel("6.8.12-4-pve", "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z)", "").judge(), Unknown(vec![&LEAK]));
        assert_eq!(other("5.15.30-1.el8.elrepo.x86_64"), Crashes(&CRASH));
        assert_eq!(other("6.10.5-1.el9.elrepo.x86_64"), Leaks(&LEAK));
        assert_eq!(other("5.17.0-arch1-1"), Crashes(&CRASH));
        assert_eq!(other("6.11.0-0.rc7.56.fc42.x86_64"), Unknown(vec![&LEAK]));
        assert_eq!(debian("6.11-rc7-amd64", "6.11~rc7-1~exp1"), Unknown(vec![&LEAK]));
        assert_eq!(other("5.13.1"), Crashes(&CRASH));
        assert_eq!(other("5.12.19"), TooOld);
        assert_eq!(other(""), Unknown(vec![&CRASH, &LEAK]));
    }

    #[test]
    fn a_leak_and_a_possible_crash_have_to_be_accepted() {
        for (judgement, expected) in [
            (Sound, None),
            (TooOld, None),
            (Crashes(&CRASH), None),
            (Leaks(&LEAK), Some(&LEAK)),
            (Unknown(vec![&LEAK]), None),
            (Unknown(vec![&CRASH, &LEAK]), Some(&CRASH)),
        ] {
            assert_eq!(judgement.to_be_accepted(), expected, "{judgement:?}");
        }
    }

    #[test]
    fn the_sentences_name_the_kernel_the_harm_and_the_fix() {
        let ubuntu = kernel("5.15.0-25-generic", "#25-Ubuntu SMP", "Ubuntu 5.15.0-25.25-generic 5.15.30");
        assert_eq!(
            ubuntu.sentence(&CRASH),
            "Linux 5.15.0-25-generic (stable level 5.15.30) has a bug that exact counting triggers: the computer can crash. \
             It is fixed in Linux 5.15.38 or 5.18 (commit 743b83f15d40)"
        );
        let ended = kernel("6.9.3", "", "");
        assert_eq!(ended.fixed_in(&LEAK), "Linux 6.11");
        assert!(ended.sentence(&LEAK).contains("(commit 8b26ff7af8c3, CVE-2024-46855)"));
        let rhel = kernel("5.14.0-427.13.1.el9_4.x86_64", "", "");
        let doubt = rhel.doubt(&[&CRASH, &LEAK]);
        for words in ["Linux 5.14.0-427.13.1.el9_4.x86_64 does not tell", CRASH.what, LEAK.what, "netglance verify"] {
            assert!(doubt.contains(words), "{doubt}");
        }
        assert_eq!(LEVELS.fixed_in(), "6.1.112, 6.6.53, 6.10.12 and 6.11");
    }
}
