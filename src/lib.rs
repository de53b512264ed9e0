//! First come, first served. The modules below in reading order are the map; `docs/architecture.md`
//! walks along one participation.

pub mod domain;

pub mod participate;

pub mod admission;
pub mod direct;
pub mod writer;

pub mod accounts;
pub mod aggregate;
pub mod allow_list;
pub mod audit;
pub mod catalogue;
pub mod challenge;
pub mod changes;
pub mod consumers;
pub mod export;
pub mod guesses;
pub mod health;
pub mod lifecycle;
pub mod limits;
pub mod meter;
pub mod order;
pub mod payment;
pub mod reconcile;
pub mod simulate;
pub mod status;
pub mod system;

pub mod broker;
pub mod gate;
pub mod skew;
pub mod store;

pub mod alert;
pub mod asyncapi;
pub mod clock;
pub mod command;
pub mod config;
pub mod crash;
pub mod doctor;
pub mod http;
pub mod identity;
pub mod lane;
pub mod relay;

pub mod pubsub;
pub mod reading;
pub mod retry;
pub mod security;
pub mod supervisor;
pub mod telemetry;
pub mod trace;
pub mod wake;
pub mod web;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
