//! The codes of each error response, and an example of each code. The codes are those that the description of the
//! response names, so they are written once. They are no `enum`: a client that was generated from one could not read
//! a code that is newer than itself (docs/decisions/0024-open-codes.md).

use std::collections::BTreeSet;

use super::node::Node;
use super::operations;
use crate::http::problem::{PROBLEM_JSON, example};

/// The codes of a response, for programs.
const CODES: &str = "x-codes";

/// The place of the examples.
const EXAMPLES: &str = "#/components/examples/";

/// The request id in the examples.
const REQUEST_ID: &str = "0c8e5d1f7a3b4926b1d0e4f25a6c7983";

/// Lists the codes of each error response, and adds the examples.
pub fn complete(document: &mut Node) -> serde_json::Result<()> {
    let mut all = BTreeSet::new();
    for operation in operations(document) {
        let Some(responses) = operation.get_mut("responses") else {
            continue;
        };
        for response in responses.values_mut() {
            let description = response.text_of("description").unwrap_or_default();
            let codes: Vec<String> = codes(description).into_iter().map(str::to_owned).collect();
            let content = response.get_mut("content");
            let content = content.and_then(|content| content.get_mut(PROBLEM_JSON));
            if let Some(content) = content.filter(|_| !codes.is_empty()) {
                content.set("examples", references(&codes));
                response.set(CODES, list(&codes));
                all.extend(codes);
            }
        }
    }
    let mut examples = Vec::new();
    for code in all {
        if let Some(example) = example_of(&code)? {
            examples.push((code, example));
        }
    }
    if let Some(components) = document.get_mut("components") {
        components.set("examples", Node::Object(examples));
    }
    Ok(())
}

/// The codes that a description names: words in upper case, in parentheses.
fn codes(description: &str) -> Vec<&str> {
    let groups = description.split('(').skip(1);
    let groups = groups.filter_map(|rest| rest.split_once(')'));
    let mut codes = Vec::new();
    for code in groups.flat_map(|(group, _)| group.split(", ")) {
        if is_code(code) && !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

fn is_code(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn list(codes: &[String]) -> Node {
    let codes = codes.iter().map(|code| code.as_str().into());
    codes.collect::<Vec<Node>>().into()
}

/// References to the examples of these codes.
fn references(codes: &[String]) -> Node {
    let references = codes.iter().map(|code| {
        let path = format!("{EXAMPLES}{code}");
        (code.clone(), Node::object([("$ref", path.as_str().into())]))
    });
    Node::Object(references.collect())
}

/// The example of a code; none: no problem has it.
fn example_of(code: &str) -> serde_json::Result<Option<Node>> {
    let Some(problem) = example(code) else {
        return Ok(None);
    };
    let value = serde_json::to_string(&problem.document(REQUEST_ID))?;
    Ok(Some(Node::object([
        ("summary", problem.title.into()),
        ("value", Node::parse(&value)?),
    ])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_description_are_the_upper_case_words_in_parentheses() {
        for (description, expected) in [
            ("The body is not JSON (MALFORMED).", "MALFORMED"),
            (
                "Rejected (SOLD_OUT, ENDED); or later (ENDED, BUSY).",
                "SOLD_OUT ENDED BUSY",
            ),
            ("Not JSON, see Retry-After (see the page), or NOT_THIS.", ""),
            ("It never ends (MALFORMED", ""),
            ("Nothing ().", ""),
        ] {
            assert_eq!(codes(description).join(" "), expected, "{description}");
        }
    }

    #[test]
    fn an_example_is_the_whole_problem() {
        let example = example_of("SOLD_OUT").unwrap().unwrap();
        let value = example.get("value").unwrap();
        assert_eq!(
            value.text_of("type"),
            Some("urn:firstcome:problem:sold-out")
        );
        assert_eq!(value.text_of("instance"), Some(REQUEST_ID));
        assert_eq!(example.text_of("summary"), value.text_of("title"));
        assert!(example_of("NO_SUCH_CODE").unwrap().is_none());
    }

    #[test]
    fn an_error_response_has_its_codes_and_their_examples() {
        let text = r#"{"paths":{"/a":{"get":{"responses":{
            "200":{"description":"Done (YES).","content":{"application/json":{"schema":{}}}},
            "409":{"description":"No (ENDED).","content":{"application/problem+json":{"schema":{}}}}
        }}}},"components":{}}"#;
        let mut document = Node::parse(text).unwrap();
        complete(&mut document).unwrap();
        let made: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        let responses = &made["paths"]["/a"]["get"]["responses"];
        assert_eq!(
            responses["200"]["content"]["application/json"]["schema"],
            serde_json::json!({})
        );
        let content = &responses["409"]["content"]["application/problem+json"];
        assert_eq!(responses["409"]["x-codes"], serde_json::json!(["ENDED"]));
        assert_eq!(content["schema"], serde_json::json!({}));
        let example = &content["examples"]["ENDED"]["$ref"];
        assert_eq!(example, "#/components/examples/ENDED");
        assert_eq!(
            made["components"]["examples"]["ENDED"]["value"]["status"],
            409
        );
    }
}
