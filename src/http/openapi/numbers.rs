//! Numbers in the words that generators of clients know. The framework writes the formats of Rust (`uint64`), which
//! OpenAPI does not define, so that a client in Java would have 32 bits for each; and it writes bounds as floats.

use serde_json::{Number, Value};

use super::node::Node;

/// The largest whole number up to which each float is exact: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Completes the numbers of a part of the document.
pub fn complete(part: &mut Node) {
    if let Node::Leaf(Value::Number(number)) = part
        && let Some(whole) = whole(number)
    {
        *number = whole;
    }
    for value in part.values_mut() {
        complete(value);
    }
    if let Some(format) = part.text_of("format").and_then(signed) {
        let is_wide = format == "int64" || maximum(part).is_some_and(|most| most > i32::MAX as u64);
        part.set("format", if is_wide { "int64" } else { "int32" });
        if part.get("minimum").is_none() {
            part.set("minimum", 0_u64);
        }
    }
}

/// The format of OpenAPI for an unsigned one of Rust.
fn signed(format: &str) -> Option<&'static str> {
    match format {
        "uint64" => Some("int64"),
        "uint8" | "uint16" | "uint32" => Some("int32"),
        _ => None,
    }
}

/// The same number without a fraction; none: it has one, or is whole already.
fn whole(number: &Number) -> Option<Number> {
    let value = number.as_f64().filter(|_| number.is_f64())?;
    let is_exact = value.fract() == 0.0 && value.abs() <= EXACT_MAX;
    let digits = is_exact.then(|| format!("{value:.0}"))?;
    digits.parse::<i64>().ok().map(Number::from)
}

fn maximum(part: &Node) -> Option<u64> {
    match part.get("maximum")? {
        Node::Leaf(Value::Number(number)) => number.as_u64(),
        Node::Leaf(_) | Node::Object(_) | Node::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn completed(part: &Value) -> Value {
        let mut node = Node::parse(&part.to_string()).unwrap();
        complete(&mut node);
        serde_json::from_str(&serde_json::to_string(&node).unwrap()).unwrap()
    }

    #[test]
    fn unsigned_formats_become_those_of_openapi_with_a_minimum() {
        for (written, expected) in [
            (
                json!({"format": "uint64"}),
                json!({"format": "int64", "minimum": 0}),
            ),
            (
                json!({"format": "uint16"}),
                json!({"format": "int32", "minimum": 0}),
            ),
            (
                json!({"format": "uint32", "minimum": 1.0, "maximum": 4_294_967_295.0}),
                json!({"format": "int64", "minimum": 1, "maximum": 4_294_967_295_u64}),
            ),
            (json!({"format": "int64"}), json!({"format": "int64"})),
            (json!({"format": "date"}), json!({"format": "date"})),
        ] {
            assert_eq!(completed(&json!([written])), json!([expected]));
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        let made = completed(&json!({"maximum": 9_007_199_254_740_991.0_f64, "multipleOf": 0.5}));
        assert_eq!(made["maximum"].to_string(), "9007199254740991");
        assert_eq!(made["multipleOf"], 0.5);
    }
}
