//! The rules that are loaded at a boot, as far as this user may read their files: is netglance's table among them?

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

use crate::advise::doctor::facts::{KEPT, Saved, SavedRules};

/// Where distributions have the file that nftables.service loads.
const FILES: [&str; 2] = ["etc/nftables.conf", "etc/sysconfig/nftables.conf"];
/// More than anybody has, so that no file costs a look more than it should.
const MOST_FILES: usize = 64;
const MOST_BYTES: u64 = 4 << 20;
/// As glob(3) has them.
const WILDCARDS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files below `root` that hold netglance's table, and those that can't be read.
pub fn saved(root: &Path) -> Vec<SavedRules> {
    let root = &fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let (mut found, mut patterns) = (Vec::new(), Vec::new());
    let mut known = HashSet::new();
    let mut next: Vec<PathBuf> = FILES.iter().rev().map(|file| root.join(file)).collect();
    while let Some(path) = next.pop() {
        // A link's target is what has to be mended.
        let path = fs::canonicalize(&path).unwrap_or(path);
        if known.len() == MOST_FILES || !known.insert(path.clone()) {
            continue;
        }
        let saved = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(Saved::Unreadable),
            Ok(text) => {
                let first = patterns.len();
                patterns.extend(includes(&text).filter_map(|pattern| whole(root, pattern)));
                next.extend(patterns.iter().skip(first).flat_map(files));
                held(&text)
            }
        };
        found.extend(saved.map(|saved| SavedRules { file: path.to_string_lossy().into_owned(), saved }));
    }
    for rules in found.iter_mut().filter(|rules| rules.saved == Saved::Listed) {
        let copy = format!("{}{KEPT}", rules.file);
        if patterns.iter().any(|pattern| pattern.matches_with(&copy, WILDCARDS)) {
            rules.saved = Saved::Otherwise;
        }
    }
    found
}

fn read(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// Lines without comments; a number sign may stand in a quoted text.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| {
        let mut quoted = false;
        let comment = line.char_indices().find(|(_, c)| {
            quoted ^= *c == '"';
            *c == '#' && !quoted
        });
        comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line)
    })
}

/// How a file holds the table, if it does.
fn held(text: &str) -> Option<Saved> {
    let mut held = None;
    let mut lines = lines(text).peekable();
    while let Some(line) = lines.next() {
        if is_listed(line) && lines.any(|line| line.starts_with('}')) {
            held = held.or(Some(Saved::Listed));
        } else if line.split(';').any(makes_it) {
            held = Some(Saved::Otherwise);
        }
    }
    held
}

/// Whether the table begins here as `nft list ruleset` prints it: in its kernel's name is a space more. One that also ends on
/// this line is not: what is taken out reaches to a line that ends a table.
fn is_listed(line: &str) -> bool {
    line.strip_prefix("table inet netglance")
        .is_some_and(|rest| rest.trim_start_matches(' ').trim_end_matches(' ') == "{")
}

/// Whether a statement makes the table; others delete or flush it.
fn makes_it(statement: &str) -> bool {
    let words = statement.split(|c: char| c.is_whitespace() || c == '{').filter(|word| !word.is_empty());
    let mut words = words.skip_while(|word| ["add", "create"].contains(word));
    ["table", "inet", "netglance"].iter().all(|wanted| words.next() == Some(*wanted))
}

/// What a file includes, as it says it.
fn includes(text: &str) -> impl Iterator<Item = &str> {
    lines(text).filter_map(|line| {
        let quoted = line.trim_start().strip_prefix("include")?.trim_start();
        let mark = quoted.chars().next().filter(|c| ['"', '\''].contains(c))?;
        quoted.split(mark).nth(1)
    })
}

/// An include as nft takes it: relative names are in /etc.
fn whole(root: &Path, pattern: &str) -> Option<Pattern> {
    let etc = Path::new("/etc").join(pattern);
    Pattern::new(root.join(etc.strip_prefix("/").unwrap_or(&etc)).to_str()?).ok()
}

fn files(pattern: &Pattern) -> Vec<PathBuf> {
    let Ok(found) = glob::glob_with(pattern.as_str(), WILDCARDS) else { return Vec::new() };
    // A folder that can't be read is passed on as itself, and not read either.
    let path = |found: glob::GlobResult| found.unwrap_or_else(|error| error.path().to_owned());
    found.take(MOST_FILES).map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_found_where_a_file_makes_it() {
        let check = |text: &str, expected| assert_eq!(held(text), expected, "{text}");
        check("table inet netglance { # progname netglance-helpe\n\tflags owner\n}\n", Some(Saved::Listed));
        check("table inet mine {\n}\ntable inet netglance  {\n\tset x {\n\t}\n}\n", Some(Saved::Listed));
        check("table inet netglance {\n\tset x {\n", Some(Saved::Otherwise));
        check("  table  inet netglance{\n}\n", Some(Saved::Otherwise));
        check("flush ruleset; add table inet netglance; add table inet x", Some(Saved::Otherwise));
        check("table inet netglance {}\ntable inet mine {\n}\n", Some(Saved::Otherwise));
        check("table inet netglance { chain a {\n\t}\n}\n", Some(Saved::Otherwise));
        check("table inet netglance {\n}\nadd table inet netglance\n", Some(Saved::Otherwise));
        for text in [
            "",
            "# table inet netglance {\n",
            "table inet x { # table inet netglance {\n}\n",
            "delete table inet netglance\n",
            "table inet netglance2 {\n}\n",
            "table ip netglance {\n}\n",
        ] {
            check(text, None);
        }
        check("log prefix \"#\"; table inet netglance {}\n", Some(Saved::Otherwise));
    }

    #[test]
    fn included_files_are_read_once_and_those_that_cannot_be_are_named() {
        let root = tempfile::tempdir().unwrap();
        let at = |file: &str| root.path().join(file);
        let write = |file: &str, text: &str| {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), text).unwrap();
        };
        assert_eq!(saved(root.path()), []);
        let block = "table inet netglance {\n}\n";
        write("etc/nftables.conf", "include \"/etc/nftables.d/*\"\ninclude 'more.*nft'\ninclude \"nftables.conf\"\n");
        // A copy beside this one would be included too.
        write("etc/nftables.d/a.nft", block);
        write("etc/nftables.d/.hidden", block);
        write("etc/nftables.d/b.nft", "table inet mine {\n}\n");
        write("etc/more.nft", &format!("include \"/etc/nftables.d/a.nft\"\ninclude \"/etc/absent.nft\"\n{block}"));
        write("etc/never.nft", block);
        // What is no file is not read: it might never end.
        fs::create_dir(at("etc/nftables.d/c.nft")).unwrap();
        std::os::unix::fs::symlink(at("etc/far/away.conf"), at("etc/nftables.d/d.nft")).unwrap();
        write("etc/far/away.conf", &format!("add {block}"));
        let mut found = saved(root.path());
        found.sort_unstable_by(|a, b| a.file.cmp(&b.file));
        let found: Vec<_> = found.into_iter().map(|rules| (PathBuf::from(rules.file), rules.saved)).collect();
        let expected = [
            ("etc/far/away.conf", Saved::Otherwise),
            ("etc/more.nft", Saved::Listed),
            ("etc/nftables.d/a.nft", Saved::Otherwise),
            ("etc/nftables.d/c.nft", Saved::Unreadable),
        ];
        let root = fs::canonicalize(root.path()).unwrap();
        assert_eq!(found, expected.map(|(file, saved)| (root.join(file), saved)));
    }
}
