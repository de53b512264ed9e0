//! Error responses that several operations share, written once: an operation refers to them.

use super::node::Node;
use super::operations;
use poem::http::StatusCode;

/// Moves each error response that occurs more than once to the components, and refers to it.
pub fn share(document: &mut Node) {
    let mut shared = Shared::default();
    for operation in operations(document) {
        for (status, response) in errors(operation) {
            shared.count(status, response);
        }
    }
    shared.known.retain(|known| known.count > 1);
    for operation in operations(document) {
        for (status, response) in errors(operation) {
            if let Some(name) = shared.name(status, response) {
                let path = format!("#/components/responses/{name}");
                *response = Node::object([("$ref", path.as_str().into())]);
            }
        }
    }
    let named = shared.known.into_iter();
    let responses = named.map(|known| (known.name, known.response)).collect();
    if let Some(components) = document.get_mut("components") {
        components.set("responses", Node::Object(responses));
    }
}

/// The error responses of an operation, with their statuses.
fn errors(operation: &mut Node) -> impl Iterator<Item = (&str, &mut Node)> {
    let responses = operation.get_mut("responses").into_iter();
    let all = responses.flat_map(Node::entries_mut);
    all.filter(|(status, _)| status.starts_with(['4', '5']))
}

#[derive(Default)]
struct Shared {
    /// In the order of the document.
    known: Vec<Known>,
}

struct Known {
    status: String,
    response: Node,
    count: usize,
    /// Empty until the response is referred to.
    name: String,
}

impl Shared {
    fn find(&mut self, status: &str, response: &Node) -> Option<&mut Known> {
        let mut known = self.known.iter_mut();
        known.find(|known| known.status == status && known.response == *response)
    }

    fn count(&mut self, status: &str, response: &Node) {
        if let Some(known) = self.find(status, response) {
            known.count += 1;
        } else {
            self.known.push(Known {
                status: status.to_owned(),
                response: response.clone(),
                count: 1,
                name: String::new(),
            });
        }
    }

    /// The name of a shared response: the words of its status, and a number where several have that status.
    fn name(&mut self, status: &str, response: &Node) -> Option<String> {
        let of_status = self.known.iter().filter(|known| known.status == status);
        let named = of_status.filter(|known| !known.name.is_empty()).count();
        let known = self.find(status, response)?;
        if known.name.is_empty() {
            known.name = match named {
                0 => words(status),
                _ => format!("{}{}", words(status), named + 1),
            };
        }
        Some(known.name.clone())
    }
}

/// `NotFound` for 404.
fn words(status: &str) -> String {
    let status = status
        .parse()
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok());
    let reason = status.and_then(|status| status.canonical_reason());
    let reason = reason.unwrap_or("Error");
    reason.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_error_response_of_several_operations_is_written_once() {
        let response = |text: &str| json!({ "description": text });
        let operation = |not_found: &str| {
            json!({"responses": {
                "200": response("done"), "404": response(not_found), "409": response("a"),
            }})
        };
        let mut document = Node::parse(
            &json!({
                "paths": {
                    "/a": {"get": operation("a"), "put": operation("b")},
                    "/b": {"get": operation("a"), "put": operation("c"), "post": operation("c")},
                },
                "components": {},
            })
            .to_string(),
        )
        .unwrap();
        share(&mut document);
        let made: Value = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        let of = |path: &str, method: &str, status: &str| {
            made["paths"][path][method]["responses"][status].clone()
        };
        let reference = |name: &str| json!({"$ref": format!("#/components/responses/{name}")});
        assert_eq!(of("/a", "get", "404"), reference("NotFound"));
        assert_eq!(of("/b", "get", "404"), reference("NotFound"));
        assert_eq!(of("/b", "put", "404"), reference("NotFound2"));
        assert_eq!(of("/a", "put", "404"), response("b"));
        assert_eq!(of("/a", "put", "409"), reference("Conflict"));
        assert_eq!(of("/a", "get", "200"), response("done"));
        assert_eq!(made["components"]["responses"]["NotFound2"], response("c"));
    }
}
