//! The same figures for Prometheus: what was counted of each unit, as counters that only grow.
//!
//! A look gives the counters, [`series`] says which series they belong to, [`text`] writes them down, and [`exporter`] joins the
//! three. [`server`] and [`textfile`] hand them out. Nothing is recorded here: that is Prometheus' part.

pub mod exporter;
pub mod series;
pub mod server;
pub mod text;
pub mod textfile;
