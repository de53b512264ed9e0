//! Path and query parameters, checked against the OpenAPI document before the operation runs: every fault is named at
//! once. The document is made from the operations, so there is one definition. This module must not know the meaning of
//! a parameter.

mod kind;

use std::borrow::Cow;

use serde_json::Value;

pub use self::kind::canonical;
use self::kind::{Fault, Kind};
use super::faults::Faults;
use super::problem::Problem;

/// Most parameters of a query. No operation has nearly as many.
const QUERY_PARAMETERS_MAX: usize = 32;

/// The parameters of one operation.
#[derive(Debug, Default)]
pub struct Parameters {
    /// In the order of the template.
    path: Vec<Parameter>,
    query: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    is_required: bool,
    kind: Kind,
}

impl Parameters {
    /// The parameters of an operation of the document, except those in headers.
    pub fn of(document: &Value, operation: &Value) -> Self {
        let mut parameters = Self::default();
        let listed = operation.get("parameters").and_then(Value::as_array);
        for listed in listed.into_iter().flatten() {
            let text = |key| listed.get(key).and_then(Value::as_str);
            let place = match text("in") {
                Some("path") => &mut parameters.path,
                Some("query") => &mut parameters.query,
                _ => continue,
            };
            place.push(Parameter {
                name: text("name").unwrap_or_default().to_owned(),
                is_required: listed.get("required").and_then(Value::as_bool) == Some(true),
                kind: Kind::of(document, listed.get("schema").unwrap_or(&Value::Null)),
            });
        }
        parameters
    }

    /// Checks a path that matches the template, and a query.
    pub fn check(&self, template: &str, path: &str, query: Option<&str>) -> Result<(), Problem> {
        let mut faults = Faults::default();
        let parts = template.split('/').zip(path.split('/'));
        let values = parts.filter(|(part, _)| part.starts_with('{'));
        for (parameter, (_, raw)) in self.path.iter().zip(values) {
            match parameter.kind.check_segment(raw) {
                Ok(()) => {}
                Err(Fault::Address) => return Err(nothing_here()),
                Err(Fault::Value(problem)) => faults.add(&parameter.name, problem),
            }
        }
        self.check_query(query.unwrap_or_default(), &mut faults);
        faults.into_problem().map_or(Ok(()), Err)
    }

    fn check_query(&self, query: &str, faults: &mut Faults) {
        let given = url::form_urlencoded::parse(query.as_bytes());
        let given: Vec<_> = given.take(QUERY_PARAMETERS_MAX + 1).collect();
        if given.len() > QUERY_PARAMETERS_MAX {
            let most = format!("must have at most {QUERY_PARAMETERS_MAX} parameters");
            return faults.add("query", most);
        }
        for parameter in &self.query {
            let mut values = given.iter().filter(|(name, _)| *name == parameter.name);
            let problem = match (values.next(), values.next()) {
                (None, _) if parameter.is_required => Some("is missing".to_owned()),
                (None, _) => None,
                (Some(_), Some(_)) => Some("is given more than once".to_owned()),
                (Some((_, value)), None) => parameter.kind.check(value).err(),
            };
            if let Some(problem) = problem {
                faults.add(&parameter.name, problem);
            }
        }
        let mut unknown: Vec<&Cow<'_, str>> = Vec::new();
        for (name, _) in &given {
            let is_known = self.query.iter().any(|parameter| *name == parameter.name);
            if !is_known && !unknown.contains(&name) {
                unknown.push(name);
            }
        }
        for name in unknown {
            faults.add(name, "is not a parameter of this operation");
        }
    }
}

fn nothing_here() -> Problem {
    Problem::not_found("There is no such path.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(schema: &Value, text: &str) -> Result<(), String> {
        Kind::of(&json!({}), schema).check(text)
    }

    #[test]
    fn numbers_are_within_the_bounds_of_their_schema() {
        let limit =
            json!({"type": "integer", "format": "uint32", "minimum": 1.0, "maximum": 100.0});
        assert_eq!(checked(&limit, "100"), Ok(()));
        for text in [
            "0",
            "101",
            "-1",
            "99999999999999999999999999999999999999999",
        ] {
            let problem = checked(&limit, text).unwrap_err();
            assert_eq!(problem, "must be between 1 and 100", "{text}");
        }
        for text in ["", "ten", "1.0", "1e1", " 1"] {
            assert_eq!(
                checked(&limit, text).unwrap_err(),
                "must be an integer",
                "{text}"
            );
        }
        let id = json!({"type": "integer", "format": "int64"});
        let problem = checked(&id, "9223372036854775808").unwrap_err();
        assert_eq!(
            problem,
            "must be between -9223372036854775808 and 9223372036854775807"
        );
    }

    #[test]
    fn a_query_has_a_bound_on_its_parameters() {
        let parameters = Parameters::default();
        let errors = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("p{number}=%41")).collect();
            let checked = parameters.check("/", "/", Some(&names.join("&")));
            checked.unwrap_err().errors
        };
        assert_eq!(errors(19).len(), 19);
        assert_eq!(errors(QUERY_PARAMETERS_MAX).len(), 20);
        let [refused] = &errors(QUERY_PARAMETERS_MAX + 1)[..] else {
            panic!("there is more than one fault");
        };
        assert_eq!(refused.field, "query");
        assert_eq!(refused.problem, "must have at most 32 parameters");
    }

    #[test]
    fn enum_words_are_found_behind_a_reference() {
        let document = json!({"components": {"schemas": {"Kind": {"enum": ["a", "b_c"]}}}});
        let kind = Kind::of(&document, &json!({"$ref": "#/components/schemas/Kind"}));
        assert_eq!(kind.check("b_c"), Ok(()));
        assert_eq!(kind.check("b-c").unwrap_err(), "must be one of a, b_c");
    }

    #[test]
    fn a_value_has_one_canonical_form() {
        assert_eq!(canonical::<i64>("-7"), Some(-7));
        for text in ["+7", "07", "-0", "7 ", "", "%37"] {
            assert_eq!(canonical::<i64>(text), None, "{text}");
        }
    }
}
