//! Completes the OpenAPI document, which the framework makes of the operations: codes and examples of problems, bounds
//! of lists, responses that are shared, and what the framework cannot express. This module must not know a single operation.

mod node;
mod numbers;
mod problems;
mod responses;
mod schemas;

use self::node::Node;

/// The complete document, as pretty JSON.
pub fn complete(document: &str) -> serde_json::Result<String> {
    // The framework writes the name of its Rust type; the format of RFC 3339 (full-date) is `date`.
    let mut document = Node::parse(&document.replace("\"naive-date\"", "\"date\""))?;
    schemas::complete(&mut document);
    numbers::complete(&mut document);
    problems::complete(&mut document)?;
    responses::share(&mut document);
    serde_json::to_string_pretty(&document)
}

/// All operations of the document.
fn operations(document: &mut Node) -> impl Iterator<Item = &mut Node> {
    let paths = document.get_mut("paths").into_iter();
    paths.flat_map(Node::values_mut).flat_map(Node::values_mut)
}
