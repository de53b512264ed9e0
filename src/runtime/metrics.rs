//! Registers metrics by their declarations.

use prometheus_client::registry::{self, Registry, Unit};

use crate::domain::metric::{Metric, MetricKind};

/// The labels of a metric: names and values.
pub type Labels<const COUNT: usize> = [(&'static str, &'static str); COUNT];

/// A registry of metrics, by their declarations.
pub trait RegisterMetric {
    /// Registers the collector of a metric.
    fn add(&mut self, metric: &Metric, collector: impl registry::Metric);
}

impl RegisterMetric for Registry {
    fn add(&mut self, metric: &Metric, collector: impl registry::Metric) {
        // The registry appends the suffixes of units and counters.
        let name = match metric.kind {
            MetricKind::Counter => metric.name.strip_suffix("_total"),
            MetricKind::Gauge | MetricKind::Histogram => None,
        };
        let name = name.unwrap_or(metric.name);
        let help = metric.help.replace('`', "");
        if let Some(name) = name.strip_suffix("_seconds") {
            self.register_with_unit(name, help, Unit::Seconds, collector);
        } else if let Some(name) = name.strip_suffix("_bytes") {
            self.register_with_unit(name, help, Unit::Bytes, collector);
        } else {
            self.register(name, help, collector);
        }
    }
}

/// Lets an owner register its metrics: each field, by its declaration in `domain::metric`.
macro_rules! registers {
    ($vis:vis $owner:ident: $($field:tt = $metric:ident),+ $(,)?) => {
        impl $owner {
            /// Registers the metrics.
            $vis fn register(&self, registry: &mut prometheus_client::registry::Registry) {
                use $crate::runtime::metrics::RegisterMetric;

                $(registry.add(&$crate::domain::metric::$metric, self.$field.clone());)+
            }
        }
    };
}
pub(crate) use registers;
