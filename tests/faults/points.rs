//! The fail points of the service: the only module that knows whether they are compiled in, and their names.

use rand::RngExt;
use rand::rngs::StdRng;

/// Whether the service was built with fail points.
pub const COMPILED: bool = cfg!(feature = "failpoints");

/// Where it can be made to abort. No record is copied to the dead letters here, and only some seeds have orders that
/// are paid for.
pub fn crash_points(has_paid_orders: bool) -> Vec<&'static str> {
    #[cfg(feature = "failpoints")]
    {
        use firstcome::runtime::failpoint::{
            CONSUMER_POINTS, ORDER_POINTS, POINTS, REVOCATION_POINTS,
        };
        let mut points = [
            &POINTS[..],
            &REVOCATION_POINTS,
            &CONSUMER_POINTS,
            &ORDER_POINTS,
        ]
        .concat();
        points.sort_unstable();
        points.dedup();
        points.retain(|point| *point != "consumer.copied");
        points.retain(|point| has_paid_orders || *point != "order.authorised");
        points
    }
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = has_paid_orders;
        Vec::new()
    }
}

/// `FAILPOINTS` for a wrong clock, and its final deviation in milliseconds.
pub fn clock(random: &mut StdRng) -> (String, i64) {
    let shifts = [
        32_400_000,
        -32_400_000,
        3_600_000,
        -3_600_000,
        600_000,
        -600_000,
        2_000,
        -2_000,
    ];
    let shift = shifts[random.random_range(0..shifts.len())];
    let value = if random.random_ratio(1, 2) {
        format!("clock.system=return({shift})")
    } else {
        // It jumps while the service runs, which reads the machine's clock about once a second.
        let calls = random.random_range(2..4);
        format!("clock.system={calls}*off->return({shift})")
    };
    (value, shift)
}

/// `FAILPOINTS` for an abort after a few passes.
pub fn crash(random: &mut StdRng, has_paid_orders: bool) -> String {
    let points = crash_points(has_paid_orders);
    let point = points[random.random_range(0..points.len())];
    // Repairs and returned units are rare, so the first pass counts.
    let rare = [
        "rebuild.",
        "sweep.",
        "replicas.",
        "writer.releas",
        "revocation.",
    ];
    let is_rare = rare.iter().any(|stem| point.starts_with(stem));
    let passes = if is_rare {
        0
    } else {
        random.random_range(0..3)
    };
    if passes == 0 {
        format!("{point}=return")
    } else {
        format!("{point}={passes}*off->return")
    }
}
