//! The ways in which clients handle a reservation: they pay, cancel, do both at once, change their mind later,
//! or let it expire.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use crate::buyer::Order;
use crate::ledger::{Change, DECLINED};
use crate::world::HOLD;

/// A planned action on an order, at a given time; several changes may be requested at once.
#[derive(Debug)]
pub struct Errand {
    pub due: Instant,
    pub order: Order,
    pub changes: Vec<Change>,
}

/// Chooses an action on an order at random. `name` is unique.
pub fn plan(order: Order, name: &str, random: &mut StdRng) -> Vec<Errand> {
    let errand = |after_ms: u64, changes: Vec<Change>| Errand {
        due: order.yes_at + Duration::from_millis(after_ms),
        order,
        changes,
    };
    let confirm = |how: &str| Change::Confirm {
        reference: format!("{how}-{name}"),
    };
    let hold_ms = u64::try_from(HOLD.as_millis()).unwrap();
    // Most act at once, some wait until it is nearly too late.
    let at = match random.random_range(0..4) {
        0 => random.random_range(0..hold_ms),
        1 => random.random_range(hold_ms - 400..hold_ms + 100),
        _ => 0,
    };
    let later = at + random.random_range(100..hold_ms);
    match random.random_range(0..21) {
        0..5 => vec![errand(at, vec![confirm("pay")])],
        5 => {
            let slow = format!("slow-{}", random.random_range(50..900));
            vec![errand(at, vec![confirm(&slow)])]
        }
        6..8 => vec![
            errand(at, vec![confirm(DECLINED)]),
            errand(later, vec![confirm("again")]),
        ],
        8 => vec![errand(at, vec![confirm(DECLINED)])],
        9..11 => vec![errand(at, vec![Change::Cancel])],
        11..14 => vec![errand(at, vec![confirm("pay"), Change::Cancel])],
        14 => vec![errand(at, vec![confirm("one"), confirm("other")])],
        15..18 => vec![
            errand(at, vec![confirm("pay")]),
            errand(later, vec![Change::Cancel]),
        ],
        18 => vec![errand(hold_ms + 400, vec![confirm("late")])],
        19 => vec![errand(hold_ms + 700, vec![Change::Cancel])],
        _ => Vec::new(),
    }
}
