//! Start at login: the file by which desktops start programs (XDG autostart). The file is the setting.

use std::{env, fs, io, path::PathBuf};

use crate::base::file;

const FILE: &str = "autostart/org.netglance.Netglance.desktop";

/// Whether netglance is started, hidden, at login.
pub fn is_on() -> bool {
    let text = path().and_then(|path| fs::read_to_string(path).ok());
    // A desktop's own list of autostarts switches one off by this line.
    text.is_some_and(|text| !text.lines().any(|line| line.replace(' ', "") == "Hidden=true"))
}

/// Has this program started at login, or not any more.
pub fn set(on: bool) -> io::Result<()> {
    let path = path().ok_or_else(|| io::Error::other("neither HOME nor XDG_CONFIG_HOME is set"))?;
    if !on {
        return fs::remove_file(&path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) });
    }
    let program = env::current_exe()?;
    let program = program.to_string_lossy();
    // So the kernel calls the file of a program that an upgrade has replaced.
    file::replace(&path, &entry(program.strip_suffix(" (deleted)").unwrap_or(&program)))
}

fn path() -> Option<PathBuf> {
    xdg::BaseDirectories::new().get_config_file(FILE)
}

fn entry(program: &str) -> String {
    format!(
        "[Desktop Entry]\nType=Application\nName=netglance\nComment=How much an application talks to the outside world\n\
         Icon=org.netglance.Netglance\nExec={} --hidden\nTerminal=false\n",
        quoted(program)
    )
}

/// An argument as the Desktop Entry Specification has it in `Exec` ("The Exec key"): quoted, and escaped once more as a value.
fn quoted(argument: &str) -> String {
    let mut text = String::from("\"");
    for letter in argument.chars() {
        match letter {
            '"' | '`' | '$' => text.extend(["\\\\", letter.encode_utf8(&mut [0; 4])]),
            '\\' => text.push_str("\\\\\\\\"),
            '%' => text.push_str("%%"),
            letter => text.push(letter),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_entry() {
        for (path, expected) in [
            ("/usr/bin/netglance", r#""/usr/bin/netglance""#),
            ("/home/a b/netglance", r#""/home/a b/netglance""#),
            (r#"/x/$5 "q" 100% \n"#, r#""/x/\\$5 \\"q\\" 100%% \\\\n""#),
        ] {
            assert_eq!(quoted(path), expected);
        }
    }
}
