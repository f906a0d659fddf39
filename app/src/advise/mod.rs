//! Advises: what this computer is like for netglance, and whether the figures are right here.

pub mod doctor;
pub mod verify;
