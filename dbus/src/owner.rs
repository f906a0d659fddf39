//! Whose a cgroup is. This is decided only here, for the rows that the helper returns and for those that the app expects. Pure.
//!
//! systemd-logind makes `/user.slice/user-UID.slice` for each user. The directories of that slice and of
//! the login sessions in it belong to root, but they are there for the user: everything in the slice is the user's. Anywhere
//! else a name proves nothing, because a container on this host may have a `user-1000.slice` of its own. There the directories
//! decide: the first one on the way down from the root that isn't root's was given away, with everything below it, to the uid
//! that owns it. Only root can give a cgroup away, and an owner can't give away anything above it.

use std::ops::RangeInclusive;

/// Rows of root's directories are nobody's.
const ROOT: u32 = 0;
/// systemd gives these to services with `DynamicUser=`, to others in each boot.
const DYNAMIC: RangeInclusive<u32> = 61_184..=65_519;
/// What the kernel shows for an owner that this user namespace doesn't know (`overflowuid`). It may be anybody.
const UNKNOWN: u32 = 65_534;

/// The user whose slice, made by systemd-logind, a cgroup is in.
pub fn of_slice(path: &str) -> Option<u32> {
    let name = path.strip_prefix("/user.slice/user-")?.split('/').next()?.strip_suffix(".slice")?;
    name.parse().ok().filter(|uid: &u32| uid.to_string() == name)
}

/// The user whose cgroup it is; `None`: root's, or unknown. `directory_owner` returns the uid of a cgroup's directory. It is
/// called from the root's children downwards, as far as necessary.
pub fn of(path: &str, directory_owner: impl FnMut(&str) -> Option<u32>) -> Option<u32> {
    of_slice(path).or_else(|| {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        let mut owners = ends.filter_map(|end| path.get(..end)).filter_map(directory_owner);
        owners.find_map(given)
    })
}

/// The user to whom a directory with this owner was given.
pub fn given(directory_owner: u32) -> Option<u32> {
    Some(directory_owner).filter(|uid| ![ROOT, UNKNOWN].contains(uid))
}

/// Whether a uid will still be the same user's after the next boot.
pub fn lasts(uid: u32) -> bool {
    !DYNAMIC.contains(&uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_its_slice_s_or_of_whom_it_was_given_to() {
        let nested = "/machine.slice/a.scope/payload/user.slice/user-1000.slice";
        let given = |path: &str| match path {
            "/machine.slice/lost.scope" => Some(UNKNOWN),
            "/system.slice/b.service" => Some(33),
            "/gone" => None,
            path if path == format!("{nested}/user@1000.service") => Some(1000),
            // Not asked, as what is above decides.
            "/system.slice/b.service/c" | "/user.slice/user-1000.slice/d" => Some(5),
            _ => Some(ROOT),
        };
        let check = |path: &str, expected: Option<u32>| assert_eq!(of(path, given), expected, "{path}");
        check("/user.slice/user-1000.slice", Some(1000));
        check("/user.slice/user-1000.slice/session-2.scope", Some(1000));
        check("/user.slice/user-1000.slice/d", Some(1000));
        check("/user.slice/user-0.slice/a", Some(0));
        check("/user.slice", None);
        check("/", None);
        check("", None);
        check("/user.slice/user-01000.slice/a", None);
        check("/user.slice/user-+1000.slice/a", None);
        check("/user.slice/user-1000.slicer/a", None);
        check("/user-1000.slice/a", None);
        check(&format!("{nested}/session-2.scope"), None);
        check(&format!("{nested}/user@1000.service/app.slice/x"), Some(1000));
        check("/system.slice/b.service/c", Some(33));
        check("/system.slice/ssh.service", None);
        check("/machine.slice/lost.scope/x", None);
        check("/gone/x", None);
    }
}
