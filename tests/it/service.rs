//! The service as a process, used over HTTP: on embedded parts and on the real ones.

mod access;
mod allow_list;
mod archive;
mod asking;
mod asyncapi;
mod attempts;
mod audit;
mod away;
mod browsers;
#[cfg(feature = "failpoints")]
mod campaign_events;
mod challenge;
#[cfg(feature = "failpoints")]
mod clocks;
mod cluster;
mod connections;
mod consumer_letters;
mod cors;
#[cfg(feature = "failpoints")]
mod crashes;
mod dashboard;
mod data_folder;
mod dead_letters;
mod doctor;
mod embedded;
mod export;
mod greedy;
mod guessing;
mod host_lines;
mod keys;
mod limits;
mod lines;
mod management;
mod metrics;
mod opening;
mod orders;
mod overload;
mod partitions;
mod payments;
mod privacy;
pub mod process;
pub mod real;
mod records;
mod republish;
mod restored;
mod roles;
mod sale;
mod same_key;
mod schedule;
mod scopes;
mod security;
mod sessions;
mod simulation;
pub mod tokens;
mod topic;
mod traces;
