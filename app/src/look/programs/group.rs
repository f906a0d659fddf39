//! Which program a process is part of. Pure.

use std::collections::HashMap;

/// A parent's parent's parent, and so on, is looked at up to here.
const DEEPEST: usize = 64;

/// A process, as far as that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its parent's number.
    pub parent: u32,
    /// What it runs is called so.
    pub name: String,
    /// The id of the desktop entry of what it runs.
    pub entry: Option<String>,
    /// That entry is an app of the menu: what it starts is part of it.
    pub is_app: bool,
    /// A person types into it: what it starts is no part of anything.
    pub is_shell: bool,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// That of the desktop entry with this id.
    Entry(String),
    /// One without an entry, as it is called.
    Name(String),
}

/// The program of a process among those of its app: by its own desktop entry, or by that of the nearest process above it that is
/// an app of the menu and has no shell below it on the way here.
pub fn program_of(pid: u32, members: &HashMap<u32, Member>) -> Option<Key> {
    let own = members.get(&pid)?;
    if let Some(entry) = &own.entry {
        return Some(Key::Entry(entry.clone()));
    }
    let mut above = own.parent;
    for _ in 0..DEEPEST {
        let Some(member) = members.get(&above) else { break };
        match &member.entry {
            _ if member.is_shell => break,
            Some(entry) if member.is_app => return Some(Key::Entry(entry.clone())),
            _ => above = member.parent,
        }
    }
    Some(Key::Name(own.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_part_of_their_program_unless_a_shell_has_started_them() {
        let member = |parent, name: &str, entry: Option<&str>, is_app, is_shell| Member {
            parent,
            name: name.into(),
            entry: entry.map(str::to_owned),
            is_app,
            is_shell,
        };
        let members: HashMap<u32, Member> = [
            (10, member(1, "xfce4-session", None, false, false)),
            (11, member(10, "plasmashell", Some("org.kde.plasmashell"), false, false)),
            (12, member(11, "conky", None, false, false)),
            (20, member(11, "firefox-esr", Some("firefox-esr"), true, false)),
            (21, member(20, "firefox-esr", Some("firefox-esr"), true, false)),
            (22, member(21, "crashhelper", None, false, false)),
            (30, member(10, "xfce4-terminal", Some("xfce4-terminal"), true, false)),
            (31, member(30, "bash", None, false, true)),
            (32, member(31, "curl", None, false, false)),
            (33, member(31, "vim", Some("vim"), true, false)),
            (34, member(33, "dash", None, false, false)),
            (35, member(34, "git", None, false, false)),
            (40, member(41, "loop", None, false, false)),
            (41, member(40, "loop", None, false, false)),
        ]
        .into();
        let check = |pid, expected: &str| {
            let key = match program_of(pid, &members) {
                Some(Key::Entry(id)) => format!("entry {id}"),
                Some(Key::Name(name)) => name,
                None => "none".to_owned(),
            };
            assert_eq!(key, expected, "{pid}");
        };
        check(10, "xfce4-session");
        check(12, "conky");
        check(11, "entry org.kde.plasmashell");
        check(20, "entry firefox-esr");
        check(22, "entry firefox-esr");
        check(31, "entry xfce4-terminal");
        check(32, "curl");
        check(33, "entry vim");
        check(35, "entry vim");
        check(40, "loop");
        check(99, "none");
    }
}
