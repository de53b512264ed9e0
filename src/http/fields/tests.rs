use serde_json::json;

use super::*;
use crate::domain::State;

#[derive(Debug, PartialEq)]
struct Sample {
    count: u32,
    name: Option<String>,
    at: Field<Timestamp>,
}

impl RequestObject for Sample {
    const NAME: &'static str = "Sample";
    const DESCRIPTION: &'static str = "A sample.";

    fn define(fields: &mut Fields) -> Self {
        Self {
            count: fields.integer32(("count", "A count."), 1..=10).required(),
            name: fields.text(("name", "A name."), 1..=5).optional(),
            at: fields.instant(("at", "A time.")).nullable(),
        }
    }
}

fn wrong(value: Value) -> Vec<(String, String)> {
    let problem = read::<Sample>(value).unwrap_err();
    problem
        .errors
        .into_iter()
        .map(|error| (error.field, error.problem))
        .collect()
}

fn names(value: Value) -> Vec<String> {
    wrong(value).into_iter().map(|(field, _)| field).collect()
}

#[test]
fn all_errors_are_named_at_once() {
    assert_eq!(
        names(json!({"count": 0, "name": "too long", "at": "2030-02-30T00:00:00Z", "x": 1})),
        ["count", "name", "at", "x"]
    );
}

#[test]
fn unknown_fields_are_named_up_to_a_bound() {
    let value = (0..600).map(|number| (format!("f{number}"), json!(0)));
    let problem = read::<Sample>(Value::Object(value.collect())).unwrap_err();
    assert_eq!(problem.errors.len(), 20);
    assert_eq!(problem.errors[0].field, "count");
    assert!(problem.detail.ends_with("named."), "{}", problem.detail);
}

#[test]
fn fractions_and_non_numbers_are_rejected() {
    for value in [
        json!(1.5),
        json!("1"),
        json!(true),
        json!(-1),
        json!(11),
        json!(1e30),
    ] {
        assert_eq!(names(json!({ "count": value })), ["count"]);
    }
}

#[test]
fn a_missing_field_and_a_null_field_are_distinguished() {
    assert_eq!(
        wrong(json!({})),
        [("count".to_owned(), "is missing".to_owned())]
    );
    assert_eq!(
        wrong(json!({"count": 1, "name": null})),
        [("name".to_owned(), "must not be null".to_owned())]
    );
    let cleared: Sample = read(json!({"count": 1, "at": null})).unwrap();
    assert_eq!(cleared.at, Field::Null);
}

#[test]
fn a_body_that_is_no_object_is_rejected() {
    for value in [json!(null), json!([]), json!("x")] {
        assert!(names(value).contains(&"body".to_owned()));
    }
}

#[test]
fn times_are_truncated_to_the_databases_precision() {
    let sample: Sample =
        read(json!({"count": 1, "at": "2030-01-01T00:00:00.123456789+09:00"})).unwrap();
    let Field::Value(at) = sample.at else {
        panic!("no time was read");
    };
    assert_eq!(at.to_rfc3339(), "2029-12-31T15:00:00.123456+00:00");
}

#[derive(Debug, PartialEq)]
struct Listed(Vec<State>);

impl RequestObject for Listed {
    const NAME: &'static str = "Listed";
    const DESCRIPTION: &'static str = "A list.";

    fn define(fields: &mut Fields) -> Self {
        Self(fields.words(("states", "States.")).required())
    }
}

/// The document limits the length of a list of words, so a longer one is an error of its field.
#[test]
fn a_list_of_words_is_not_longer_than_the_vocabulary() {
    let listed = |states: &[&str]| read::<Listed>(json!({ "states": states }));
    let all = State::WORDS;
    assert_eq!(listed(all).unwrap().0.len(), all.len());
    assert_eq!(listed(&["open", "open"]).unwrap().0.len(), 2);
    let longer: Vec<&str> = all.iter().copied().chain(["open"]).collect();
    for wrong in [&longer[..], &["shut"]] {
        let problem = listed(wrong).unwrap_err();
        assert_eq!(problem.errors[0].field, "states");
        let most = format!("at most {}", all.len());
        assert!(problem.errors[0].problem.contains(&most), "{wrong:?}");
    }
}
