//! Parses and writes `traceparent` (W3C Trace Context).

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The only version. As the standard requires, other versions are parsed as if they were this one.
const VERSION: &str = "00";

/// Parses a value; none: it is not well-formed.
pub(super) fn read(text: &str) -> Option<SpanContext> {
    let mut parts = text.splitn(4, '-');
    let mut next = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let version = next(2).filter(|version| *version != "ff")?;
    let trace = TraceId::from_hex(next(32)?).ok()?;
    let span = SpanId::from_hex(next(16)?).ok()?;
    let rest = parts.next()?;
    let (flags, more) = (rest.get(..2)?, rest.get(2..)?);
    if !more.is_empty() && (version == VERSION || !more.starts_with('-')) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Writes a value.
pub(super) fn written(context: &SpanContext) -> String {
    format!(
        "{VERSION}-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn written_values_are_read_back() {
        let context = read(SAMPLED).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(written(&context), SAMPLED);
        assert!(!read(&SAMPLED.replace("-01", "-00")).unwrap().is_sampled());
        assert!(read(&format!("cc{}-what-the-future-brings", &SAMPLED[2..])).is_some());
    }

    #[test]
    fn invalid_trace_contexts_are_ignored() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
