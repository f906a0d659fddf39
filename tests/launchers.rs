//! Programs that the menu starts so that they can be counted: real files, and what real shells and launchers make of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use netglance::{
    look::programs::{entries, exec},
    program::launchers::{Folders, Undone, sentence},
};
use tempfile::TempDir;

/// A person's folder of entries, the system's, and one of programs.
struct Desk {
    folder: TempDir,
    folders: Folders,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["own", "system/sub", "bin"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let netglance = env!("CARGO_BIN_EXE_netglance");
        let folders = Folders::new(folder.path().join("own"), vec![folder.path().join("system")], netglance);
        Self { folder, folders }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// A program that says what it was given, and which process it is.
    fn program(&self, name: &str) -> PathBuf {
        let path = self.at("bin").join(name);
        fs::write(&path, "#!/bin/sh\necho \"$$\"\nfor a; do echo \"<$a>\"; done\nexit 7\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

/// Starts what an entry says, with these in the place of its field codes, and without a systemd to ask.
fn start(text: &str, codes: &[(&str, &str)]) -> (u32, Output) {
    let arguments = exec::arguments(entries::value(text, "Exec").unwrap());
    let arguments = arguments.into_iter().map(|argument| {
        codes.iter().find(|(code, _)| *code == argument).map_or(argument, |(_, value)| (*value).to_owned())
    });
    let arguments: Vec<String> = arguments.collect();
    let mut command = Command::new(&arguments[0]);
    command
        .args(&arguments[1..])
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
        .env_remove("XDG_RUNTIME_DIR");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    (child.id(), child.wait_with_output().unwrap())
}

#[test]
fn an_entry_of_the_systems_is_copied_started_and_undone() {
    let desk = Desk::new();
    let program = desk.program("my $program");
    let text = format!(
        "[Desktop Entry]\nName=Mine\nName[de]=Meins\n# kept\nExec={} %U --name %c\nTryExec=sh\nDBusActivatable=true\n\
         Actions=new;\n\n[Desktop Action new]\nName=New\nExec={} --new \"a b\"\n",
        exec::quoted(program.to_str().unwrap()),
        exec::quoted(program.to_str().unwrap()),
    );
    desk.write("system/sub/my app.desktop", &text);
    desk.folders.set("sub-my app").unwrap();
    let copy = desk.read("own/sub/my app.desktop");
    for kept in ["Name[de]=Meins\n", "# kept\n", "TryExec=sh\n", "DBusActivatable=false\n", "Actions=new;\n"] {
        assert!(copy.contains(kept), "{kept} in {copy}");
    }
    let listed = desk.folders.list();
    assert_eq!(
        listed.iter().map(|l| (l.id.as_str(), l.name.as_str(), l.is_own)).collect::<Vec<_>>(),
        [("sub-my app", "Mine", false)]
    );
    // It is the program itself that runs in the end, in the first process, with its exit status and nothing of netglance's but
    // one line, as there is no systemd here.
    let (pid, output) = start(&copy, &[("%U", "file:///x y"), ("%c", "Mein \"Name\" $HOME")]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("{pid}\n<file:///x y>\n<--name>\n<Mein \"Name\" $HOME>\n"));
    assert_eq!(output.status.code(), Some(7));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().count() == 1 && stderr.contains("sub-my app is not counted on its own"), "{stderr}");
    // Without netglance it starts as ever, and silently.
    let (pid, output) = start(&copy.replace(env!("CARGO_BIN_EXE_netglance"), "/gone/netglance"), &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid}\n<%U>\n<--name>\n<%c>\n"));
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(7), &b""[..]));
    assert_eq!(desk.folders.undo("sub-my app").unwrap(), Undone::Removed);
    assert!(!desk.at("own/sub").exists(), "the folder that was made for it is gone");
    assert_eq!((desk.folders.list().len(), desk.read("system/sub/my app.desktop")), (0, text));
    for (id, on) in [("sub-my app", false), ("unknown", true), ("unknown", false)] {
        let outcome = if on { desk.folders.set(id).map(|()| None) } else { desk.folders.undo(id).map(Some) };
        assert_eq!(
            sentence("It", &outcome),
            "Error: the way in which It starts was not changed: there is no desktop entry that starts it."
        );
    }
}

#[test]
fn a_persons_own_entry_comes_back_as_it_was() {
    let desk = Desk::new();
    desk.write("system/x.desktop", "[Desktop Entry]\nName=System\nExec=x\n");
    let own = "# mine\n[Desktop Entry]\nExec = env A=b x  %F \r\nName=Own";
    desk.write("elsewhere", own);
    std::os::unix::fs::symlink(desk.at("elsewhere"), desk.at("own/x.desktop")).unwrap();
    desk.folders.set("x").unwrap();
    assert!(desk.folders.set("x").is_err(), "twice");
    assert!(desk.folders.list()[0].is_own);
    assert!(desk.read("elsewhere").contains("start --app"), "the link is followed");
    desk.folders.refresh();
    assert_eq!(desk.folders.undo("x").unwrap(), Undone::Restored);
    assert_eq!(desk.read("elsewhere"), own);
    assert!(fs::symlink_metadata(desk.at("own/x.desktop")).unwrap().is_symlink());
}

#[test]
fn a_copy_follows_its_original_until_a_person_edits_it() {
    let desk = Desk::new();
    let entry = |name: &str| format!("[Desktop Entry]\nName={name}\nExec=x\n");
    for id in ["a", "b", "c"] {
        desk.write(&format!("system/{id}.desktop"), &entry("Old"));
        desk.folders.set(id).unwrap();
    }
    let edited = desk.read("own/b.desktop").replace("Name=Old", "Name=Edited");
    desk.write("own/b.desktop", &edited);
    desk.write("system/a.desktop", &entry("New"));
    desk.write("system/b.desktop", &entry("New"));
    fs::remove_file(desk.at("system/c.desktop")).unwrap();
    desk.folders.refresh();
    let listed: Vec<_> = desk.folders.list().into_iter().map(|launcher| (launcher.id, launcher.name)).collect();
    assert_eq!(listed, [("b".to_owned(), "Edited".to_owned()), ("a".to_owned(), "New".to_owned())]);
    assert_eq!(desk.folders.undo("a").unwrap(), Undone::Removed);
    assert_eq!(desk.folders.undo("b").unwrap(), Undone::Kept);
    assert_eq!(desk.read("own/b.desktop"), entry("Edited"));
    assert!(sentence("B", &Ok(Some(Undone::Kept))).contains("the file stays, without netglance's part"));
}

/// What desktops use themselves takes such an entry as any other.
#[test]
fn glib_and_the_validator_accept_the_entry() {
    let desk = Desk::new();
    let program = desk.program("app");
    let text = format!(
        "[Desktop Entry]\nType=Application\nName=It's \"mine\"\nExec={} %U \"two words\" %c\nDBusActivatable=true\n",
        program.display()
    );
    desk.write("system/org.example.App.desktop", &text);
    desk.folders.set("org.example.App").unwrap();
    let entry = desk.at("own/org.example.App.desktop");
    let tool = |program: &str, arguments: &[&str], directory: &Path| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        command.output().unwrap_or_else(|error| panic!("{program} ({error}): run tests/support/install.sh"))
    };
    let checked = tool("desktop-file-validate", &[entry.to_str().unwrap()], desk.folder.path());
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    // `gio launch` hands its own output on.
    let launched = tool("gio", &["launch", entry.to_str().unwrap(), "https://example.org/a b"], desk.folder.path());
    let said = || String::from_utf8_lossy(&launched.stdout).lines().skip(1).collect::<Vec<_>>().join(" ");
    assert_eq!(said(), "<https://example.org/a b> <two words> <It's \"mine\">", "{launched:?}");
}

/// A user's real systemd on a bus of its own, in namespaces of its own; what is given runs there.
const WITH_SYSTEMD: &str = r#"
mount -t tmpfs run /run
mkdir -p /run/systemd/system /run/user/0
umount -l "$0" && if [ "$0" = /sys/fs/cgroup/unified ]; then umount -l /sys/fs/cgroup; fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo $$ > /sys/fs/cgroup/user.slice/user-0.slice/user@0.service/cgroup.procs
export XDG_RUNTIME_DIR=/run/user/0 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/0/bus
dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nofork --nopidfile >&2 &
/usr/lib/systemd/systemd --user >&2 &
owner() { dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetNameOwner string:"$1"; }
until owner org.freedesktop.systemd1 >&2; do sleep 0.1; done
sh -c 'echo $$; exec "$@"' sh "$@"
echo "status $?"
"#;

struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        fn remove(path: &Path) {
            for below in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
                remove(&below.path());
            }
            // The kernel lets go of a cgroup a moment after its last process has ended.
            let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while path.exists() && fs::remove_dir(path).is_err() && std::time::Instant::now() < end {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        remove(&self.0);
    }
}

/// What is started is the program, in the process that the menu has started, in a scope by which netglance knows the app.
#[test]
fn a_real_systemd_gives_the_program_a_cgroup_of_its_own() {
    let mount = netglance_dbus::cgroup::Tree::open().unwrap().mount().to_owned();
    let top = Cgroup(mount.join(format!("nglaunch-{}", std::process::id())));
    fs::create_dir_all(top.0.join("user.slice/user-0.slice/user@0.service")).expect("needs root: tests/all does that");
    let desk = Desk::new();
    let program = desk.program("app");
    fs::write(&program, "#!/bin/sh\necho \"$$\"\ngrep ^0:: /proc/self/cgroup\nexit 7\n").unwrap();
    desk.write("system/my-app.desktop", &format!("[Desktop Entry]\nName=X\nExec={} %U\n", program.display()));
    desk.folders.set("my-app").unwrap();
    let entry = desk.read("own/my-app.desktop");
    let outer =
        r#"echo $$ > "$0/cgroup.procs" && exec unshare --mount --cgroup --pid --fork --kill-child --mount-proc "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", outer]).arg(&top.0).args(["sh", "-c", WITH_SYSTEMD]).arg(&mount);
    command.args(exec::arguments(entries::value(&entry, "Exec").unwrap()));
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = stdout.lines().collect();
    let [first, pid, cgroup, status] = lines.as_slice() else { panic!("{stdout}\n{stderr}") };
    assert_eq!((first, *status), (pid, "status 7"), "{stdout}\n{stderr}");
    let path = cgroup.strip_prefix("0::").unwrap();
    assert_eq!(path.rsplit('/').next().unwrap(), format!(r"app-netglance-my\x2dapp-{pid}.scope"), "{stderr}");
    assert!(path.contains("/app.slice/"), "{path}");
    assert_eq!(netglance::look::target::app_of(path).unwrap().id, "my-app");
    assert!(!stderr.contains("not counted on its own"), "{stderr}");
}
