//! First come, first served. The modules below in reading order are the map; `docs/architecture.md`
//! walks along one participation.

pub mod domain;

pub mod participate;

pub mod admission;
pub mod writer;

pub mod catalogue;
pub mod lifecycle;
pub mod meter;
pub mod reconcile;

pub mod broker;
pub mod gate;
pub mod store;

pub mod clock;
pub mod lane;
pub mod retry;
pub mod supervisor;
