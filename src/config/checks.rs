//! The checks of the whole configuration: bounds of single settings, and rules between settings.

use std::net::SocketAddr;

use figment::Figment;
use figment::value::Dict;

use super::{Config, Mode, encryption};
use crate::runtime::settings::out_of_bounds;

impl Config {
    /// Reports sections that do not exist.
    pub(super) fn check_names(&self, figment: &Figment, mistakes: &mut Vec<String>) {
        let known: Vec<&str> = self
            .sections()
            .iter()
            .map(|section| section.name())
            .collect();
        match figment.extract::<Dict>() {
            Ok(sections) => {
                let unknown = sections
                    .keys()
                    .filter(|name| !known.contains(&name.as_str()));
                mistakes.extend(unknown.map(|name| format!("{name}: there is no such section")));
            }
            Err(error) => mistakes.push(error.to_string()),
        }
    }

    /// Reports all mistakes of the settings.
    pub(super) fn check(&self, mistakes: &mut Vec<String>) {
        for section in self.sections() {
            let broken = out_of_bounds(section).into_iter();
            mistakes.extend(broken.map(|mistake| format!("{}.{mistake}", section.name())));
        }
        let mut require = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(mistake.to_owned());
            }
        };
        self.check_listeners(&mut require);
        self.check_origins(&mut require);
        self.http.check(&mut require);
        self.auth.check(&mut require);
        self.admin.check(self.auth.mode, &mut require);
        self.accounts.check(&mut require);
        self.challenge.check(&mut require);
        encryption::check_redis(&self.redis, &mut require);
        encryption::check_kafka(&self.kafka, &mut require);
        self.gate.check(&mut require);
        self.relay.check(self.kafka.message_timeout, &mut require);
        require(
            self.retention.sweep_interval >= self.retention.interval,
            "retention.sweep_interval: must be at least retention.interval",
        );
        let attempt_max = self.http.request_timeout.saturating_add(self.gate.lease);
        self.idempotency.check(attempt_max, &mut require);
        self.consumers.check(&mut require);
        self.aggregation.check(&mut require);
        self.alerts.check(&mut require);
        self.traces.check(&mut require);
    }

    /// Anyone between a browser and a page without TLS can make that page send requests with the cookies of its user.
    fn check_origins(&self, require: &mut impl FnMut(bool, &str)) {
        let has_secure_cookies = self.auth.mode == Mode::Sessions && self.is_cookie_secure();
        require(
            !has_secure_cookies || self.http.cors_origins.are_encrypted(),
            "http.cors_origins: with auth.mode=sessions and cookies over TLS, each origin must begin with https://",
        );
    }

    /// Participants are not authenticated in the mode `trusted`, so others must not reach the API.
    fn check_listeners(&self, require: &mut impl FnMut(bool, &str)) {
        let is_safe = |address: SocketAddr| {
            address.ip().is_loopback() || self.http.allow_trusted || self.auth.mode != Mode::Trusted
        };
        require(
            self.http.management_listen.is_none_or(is_safe),
            "http.management_listen: it serves the API as well; on an address that others can reach it needs the same \
             settings as http.listen",
        );
        require(
            is_safe(self.http.listen),
            "http.listen: on an address that others can reach, participants would not be authenticated; listen on a \
             loopback address, set auth.mode=jwt or auth.mode=sessions, or set http.allow_trusted=true behind a gateway \
             that authenticates",
        );
    }
}
