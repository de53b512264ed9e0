//! The breaches that a campaign's figures show, as text. Pure.

use std::fmt::Display;

use super::figures::Figures;
use crate::parts::store::CampaignCounters;

/// One line for each breach.
#[derive(Debug, Default)]
struct Breaches(Vec<String>);

impl Breaches {
    fn check(&mut self, holds: bool, breach: impl FnOnce() -> String) {
        if !holds {
            self.0.push(breach());
        }
    }
}

/// Whether the campaign's own counters equal the sums over its rows. If not, stored sums among them may be wrong.
pub(super) fn adds_up(counters: &CampaignCounters, figures: &Figures) -> bool {
    figures.units == counters.committed_units
        && figures.participations == counters.participation_count
        && figures.purged == counters.purged_events
        && figures.has_its_events()
        && figures.events == counters.event_sequence
        && figures.waiting_of_participations() <= figures.events_there()
}

/// The breaches that the store alone shows.
pub(super) fn breaches(counters: &CampaignCounters, figures: &Figures) -> Vec<String> {
    let mut breaches = Breaches::default();
    check_counters(&mut breaches, counters, figures);
    let (users, named) = &figures.over_limit;
    breaches.check(*users == 0, || {
        let limit = counters.per_user_limit;
        let named = list(
            named
                .iter()
                .map(|(user, units)| format!("user {user}: {units}")),
        );
        format!("I2 {users} users hold more than {limit} units{named}")
    });
    changes(&mut breaches, figures);
    stream(&mut breaches, counters, figures);
    waiting(&mut breaches, figures);
    breaches.0
}

fn check_counters(breaches: &mut Breaches, counters: &CampaignCounters, figures: &Figures) {
    let (units, participations) = (figures.units, figures.participations);
    let stock = counters.total_stock.unwrap_or(u64::MAX);
    breaches.check(units <= stock, || {
        format!("I1 oversold: participations hold {units} units of {stock}")
    });
    let committed = counters.committed_units;
    breaches.check(committed <= stock, || {
        format!("I1 oversold: the campaign counts {committed} units of {stock}")
    });
    breaches.check(units == committed, || {
        format!("I1 the campaign counts {committed} units, its participations hold {units}")
    });
    let counted = counters.participation_count;
    breaches.check(participations == counted, || {
        format!("I1 the campaign counts {counted} participations, there are {participations}")
    });
}

fn changes(breaches: &mut Breaches, figures: &Figures) {
    breaches.check(figures.has_its_events(), || {
        let (changes, events, purged) = (figures.changes, figures.events, figures.purged);
        let without = list(figures.without_event.iter());
        let foreign = list(figures.without_change.iter());
        let mut text = vec![format!("I3 {changes} changes, {events} events")];
        if purged > 0 {
            text.push(format!(" ({purged} of them purged)"));
        }
        if !without.is_empty() {
            let what = "participations with a change that has no event";
            text.push(format!("; {what}{without}"));
        }
        if !foreign.is_empty() {
            text.push(format!("; events without a change{foreign}"));
        }
        if without.is_empty() && foreign.is_empty() {
            let what = "; the purged events are not the missing ones";
            text.push(what.to_owned());
        }
        text.concat()
    });
}

/// Sequences have no gap, and a position is within its stream.
fn stream(breaches: &mut Breaches, counters: &CampaignCounters, figures: &Figures) {
    let (events, counted) = (figures.events, counters.event_sequence);
    breaches.check(events == counted, || {
        format!("I3 the campaign counts {counted} events, its stream has {events}")
    });
    let published = counters.published;
    breaches.check(published <= counted, || {
        format!("I4 the position is {published}, but there are only {counted} events")
    });
    let (events, counted) = (figures.campaign_stream(), counters.campaign_events);
    breaches.check(events == counted, || {
        format!("I3 the campaign counts {counted} events about itself, its stream has {events}")
    });
    let published = counters.campaign_published;
    breaches.check(published <= counted, || {
        format!("I4 the position of events about the campaign is {published}, but there are only {counted}")
    });
    let (events, counted) = (figures.order_stream(), counters.order_events);
    breaches.check(events == counted, || {
        format!("I3 the campaign counts {counted} events about orders, its stream has {events}")
    });
    let published = counters.order_published;
    breaches.check(published <= counted, || {
        format!(
            "I4 the position of events about orders is {published}, but there are only {counted}"
        )
    });
}

fn waiting(breaches: &mut Breaches, figures: &Figures) {
    let waiting = figures.waiting;
    breaches.check(figures.purged == figures.purged_counted, || {
        format!(
            "I4 the campaign counts {} purged events, its segments {}",
            figures.purged_counted, figures.purged
        )
    });
    breaches.check(waiting.astray == 0, || {
        let named = list(figures.astray.iter());
        format!("I4 {} parked rows have no event{named}", waiting.astray)
    });
    let of_participations = figures.waiting_of_participations();
    let there = figures.events_there();
    breaches.check(of_participations <= there, || {
        format!("I4 {of_participations} waiting, but there are only {there} events")
    });
    breaches.check(figures.overtaking == 0, || {
        let named = figures.overtaken.iter();
        let named = list(named.map(|(later, earlier)| format!("{later} before {earlier}")));
        format!(
            "I8 {} events were published while an earlier one of their participation waits{named}",
            figures.overtaking
        )
    });
}

/// A few examples, if there are any.
fn list<T: Display>(named: impl Iterator<Item = T>) -> String {
    let named: Vec<String> = named.map(|one| one.to_string()).collect();
    if named.is_empty() {
        String::new()
    } else {
        format!(": {}", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate;
    use super::*;
    use crate::parts::store::Waiting;

    fn counters() -> CampaignCounters {
        CampaignCounters {
            published: 3,
            ..gate::tests::counters(4)
        }
    }

    fn sound() -> Figures {
        Figures {
            participations: 4,
            changes: 4,
            units: 4,
            events: 4,
            waiting: Waiting {
                pending: 1,
                ..Waiting::default()
            },
            ..Figures::default()
        }
    }

    #[test]
    fn a_correct_campaign_has_no_violation() {
        assert_eq!(breaches(&counters(), &sound()), Vec::<String>::new());
        assert!(adds_up(&counters(), &sound()));
    }

    #[test]
    fn purged_events_count_as_published() {
        let figures = Figures {
            purged: 3,
            purged_counted: 3,
            ..sound()
        };
        assert_eq!(breaches(&counters(), &figures), Vec::<String>::new());
        assert_eq!((figures.events, figures.published()), (4, 3));
    }

    #[test]
    fn an_event_purged_before_publication_is_a_violation() {
        let mut figures = Figures {
            purged: 3,
            purged_counted: 3,
            ..sound()
        };
        figures.waiting.pending = 2;
        assert_eq!(
            breaches(&counters(), &figures),
            ["I4 2 waiting, but there are only 1 events"]
        );
        assert!(!adds_up(&counters(), &figures));
    }

    #[test]
    fn each_violation_is_named() {
        let figures = Figures {
            units: 11,
            participations: 5,
            changes: 6,
            over_limit: (1, vec![(crate::domain::UserId(7), 9)]),
            waiting: Waiting {
                astray: 1,
                ..Waiting::default()
            },
            overtaking: 1,
            ..sound()
        };
        assert_eq!(
            breaches(&counters(), &figures),
            [
                "I1 oversold: participations hold 11 units of 10",
                "I1 the campaign counts 4 units, its participations hold 11",
                "I1 the campaign counts 4 participations, there are 5",
                "I2 1 users hold more than 1 units: user 7: 9",
                "I3 6 changes, 4 events; the purged events are not the missing ones",
                "I4 1 parked rows have no event",
                "I8 1 events were published while an earlier one of their participation waits",
            ]
        );
    }
}
