//! placeholder
use crate::settings::Unit;
pub fn rate(r: f64, _u: Unit) -> String {
    format!("{r:.0} B/s")
}
pub fn bytes(b: u64) -> String {
    format!("{b} B")
}
