//! First come, first served. The table lists the modules in reading order; `docs/architecture.md` follows one
//! participation through them.
//!
//! Start at [`sale::participate`]: one participation from the request to its commit, top to bottom.
//!
//! | module | owns |
//! |---|---|
//! | [`domain`] | the business types: ids, campaign, participation, event |
//! | [`sale`] | everything between a request and its commit |
//! | [`events`] | everything after the commit: relay, consumers |
//! | [`parts`] | store, gate, broker: the real parts and their embedded replacements |
//! | [`access`] | authentication of callers, and rate limits |
//! | [`operate`] | everything for operators and admins |
//! | [`http`] | the edge: routes, requests, responses, problems |
//! | [`config`] | reads the environment |
//! | [`command`] | one file for each command: wiring only |
//! | [`runtime`] | what any service needs, without business types |

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
