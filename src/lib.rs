//! First come, first served. The modules below in reading order are the map; `docs/architecture.md`
//! walks along one participation.

pub mod domain;

pub mod clock;

pub mod gate;

pub mod broker;

pub mod retry;

pub mod supervisor;

pub mod store;

pub mod relay;
