//! First come, first served. The modules in reading order are the map; `docs/architecture.md` walks along one
//! participation.
//!
//! Start at [`sale::participate`]: it is one participation from the request to its commit, top to bottom.
//!
//! | module | owns |
//! |---|---|
//! | [`domain`] | what the words mean: ids, campaign, participation, event |
//! | [`sale`] | everything between a request and its commit |
//! | [`events`] | everything after the commit: relay, consumers |
//! | [`parts`] | store, gate, broker: the real parts and their embedded twins |
//! | [`access`] | who is asking, and how often they may |
//! | [`operate`] | everything for those who run the service |
//! | [`http`] | the edge: routes, requests, responses, problems |
//! | [`config`] | reads the environment |
//! | [`command`] | one file for each command: wiring only |
//! | [`runtime`] | what any service needs; knows no business word |

pub mod domain;

pub mod sale;

pub mod events;

pub mod parts;

pub mod access;

pub mod operate;

pub mod http;

pub mod config;

pub mod command;

pub mod runtime;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
