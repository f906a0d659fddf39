//! Where the helper's programs are installed. It looks at no file.
//!
//! The unit, the polkit actions, the package's file list and a man page name the same paths; a test compares them.

/// The helper, where a package installs it.
pub const HELPER: &str = "/usr/libexec/netglance-helper";
/// The helper, where `netglance-helper set-up` installs it without a package.
pub const OWN_HELPER: &str = "/usr/local/libexec/netglance-helper";
/// The program behind `netglance verify`, where a package installs it: polkit's action `org.netglance.verify` names it.
pub const VERIFY: &str = "/usr/libexec/netglance-verify";
