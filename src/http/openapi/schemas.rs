//! What the framework leaves out of schemas: members that are always there and may be null, the type beside `nullable`,
//! the bounds of lists and of user ids.

use std::collections::{BTreeMap, BTreeSet};

use super::node::Node;
use super::operations;
use crate::access::identity::Scope;
use crate::domain::ORDER_LINES_MAX;
use crate::http::faults::FAULTS_MAX;
use crate::http::fields::INTEGER_MAX;
use crate::http::page::LIMIT_MAX;

const SCHEMAS: &str = "#/components/schemas/";

/// Most items of lists that are no pages: schema, property and bound.
const LISTS: [(&str, &str, usize); 7] = [
    ("Cart", "lines", ORDER_LINES_MAX),
    ("ChangeAccount", "scopes", Scope::ALL.len()),
    ("CreateAccount", "scopes", Scope::ALL.len()),
    ("Granted", "coupons", 100),
    ("Order", "lines", ORDER_LINES_MAX),
    ("Problem", "errors", FAULTS_MAX),
    ("AggregationRun", "failures", 100),
];

/// Completes all schemas and parameters.
pub fn complete(document: &mut Node) {
    let requests = schemas_of_requests(document);
    let pages = schemas_of_pages(document);
    if let Some(schemas) = schemas(document) {
        let types = types(schemas);
        add_types(schemas, &types);
        if let Node::Object(schemas) = schemas {
            for (name, schema) in schemas {
                let name = name.as_str();
                if !requests.contains(name) && name != "Problem" {
                    require_nullable(schema);
                }
                if pages.contains(name) {
                    bound(schema, "items", u64::from(LIMIT_MAX));
                }
            }
        }
        for (schema, property, most) in LISTS {
            if let Some(schema) = schemas.get_mut(schema) {
                bound(schema, property, most as u64);
            }
        }
    }
    bound_user_ids(document);
}

fn schemas(document: &mut Node) -> Option<&mut Node> {
    document.get_mut("components")?.get_mut("schemas")
}

/// The schemas of requests, with those that they refer to. Their readers define which fields they need.
fn schemas_of_requests(document: &mut Node) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for operation in operations(document) {
        if let Some(body) = operation.get("requestBody") {
            add_references(body, &mut names);
        }
    }
    let mut unread: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = unread.pop() {
        let mut further = BTreeSet::new();
        if let Some(schema) = schemas(document).and_then(|schemas| schemas.get_mut(&name)) {
            add_references(schema, &mut further);
        }
        unread.extend(further.difference(&names).cloned());
        names.extend(further);
    }
    names
}

/// The schemas of the responses of operations with a `limit`.
fn schemas_of_pages(document: &mut Node) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for operation in operations(document) {
        let parameters = operation.get("parameters");
        let parameters = parameters.map(Node::items).unwrap_or_default();
        let has_limit = parameters
            .iter()
            .any(|parameter| parameter.text_of("name") == Some("limit"));
        let responses = operation.get("responses").filter(|_| has_limit);
        if let Some(response) = responses.and_then(|responses| responses.get("200")) {
            add_references(response, &mut names);
        }
    }
    names
}

/// Adds the names of the schemas that a part of the document refers to.
fn add_references(part: &Node, names: &mut BTreeSet<String>) {
    let name = part.text_of("$ref");
    names.extend(
        name.and_then(|path| path.strip_prefix(SCHEMAS))
            .map(str::to_owned),
    );
    for (_, value) in part.entries() {
        add_references(value, names);
    }
    for item in part.items() {
        add_references(item, names);
    }
}

/// The type of each schema.
fn types(schemas: &Node) -> BTreeMap<String, String> {
    let typed = schemas.entries().iter().filter_map(|(name, schema)| {
        let path = format!("{SCHEMAS}{name}");
        Some((path, schema.text_of("type")?.to_owned()))
    });
    typed.collect()
}

/// Removes repetitions beside references, and adds the type that `nullable` needs.
fn add_types(part: &mut Node, types: &BTreeMap<String, String>) {
    let reference = simplify(part);
    if let Some(of) = reference.and_then(|path| types.get(&path))
        && part.get("nullable").is_some()
        && part.get("type").is_none()
        && let Node::Object(entries) = part
    {
        entries.insert(0, ("type".to_owned(), of.as_str().into()));
    }
    for value in part.values_mut() {
        add_types(value, types);
    }
}

/// The framework writes a reference with a description as `allOf`, and the description twice. Returns the reference.
fn simplify(part: &mut Node) -> Option<String> {
    let [reference, own] = part.get("allOf")?.items() else {
        return None;
    };
    let path = reference.text_of("$ref")?.to_owned();
    let own = own.entries();
    if own.is_empty() || own.iter().any(|(key, value)| part.get(key) != Some(value)) {
        return None;
    }
    let reference = reference.clone();
    part.set("allOf", vec![reference]);
    Some(path)
}

/// Responses always have the members that may be null.
fn require_nullable(schema: &mut Node) {
    let is_required = |name: &str, property: &Node| {
        let required = schema.get("required").map(Node::items).unwrap_or_default();
        property.get("nullable").is_some() || required.iter().any(|one| one.text() == Some(name))
    };
    let properties = schema
        .get("properties")
        .map(Node::entries)
        .unwrap_or_default();
    let required = properties.iter();
    let required = required.filter(|(name, property)| is_required(name, property));
    let required: Vec<Node> = required.map(|(name, _)| name.as_str().into()).collect();
    if !required.is_empty() {
        schema.set("required", required);
    }
}

fn bound(schema: &mut Node, property: &str, most: u64) {
    let properties = schema.get_mut("properties");
    let list = properties.and_then(|properties| properties.get_mut(property));
    if let Some(list) = list.filter(|list| list.text_of("type") == Some("array")) {
        list.set("maxItems", most);
    }
}

/// The ids of users that the service accepts, in paths and queries.
fn bound_user_ids(document: &mut Node) {
    for operation in operations(document) {
        let Some(parameters) = operation.get_mut("parameters") else {
            continue;
        };
        for parameter in parameters.values_mut() {
            if parameter.text_of("name") != Some("userId") {
                continue;
            }
            if let Some(schema) = parameter.get_mut("schema") {
                schema.set("minimum", 1_u64);
                schema.set("maximum", INTEGER_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn completed(document: &Value) -> Value {
        let mut node = Node::parse(&document.to_string()).unwrap();
        complete(&mut node);
        serde_json::from_str(&serde_json::to_string(&node).unwrap()).unwrap()
    }

    /// A document with these schemas; `Body` is the body of a request.
    fn with(schemas: &Value) -> Value {
        let body = json!({"schema": {"$ref": "#/components/schemas/Body"}});
        completed(&json!({
            "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": body}}}}},
            "components": {"schemas": schemas},
        }))
    }

    #[test]
    fn a_response_always_has_the_members_that_may_be_null() {
        let object = json!({"required": ["a"], "properties": {
            "b": {"type": "string", "nullable": true},
            "a": {"type": "string"},
            "c": {"type": "string"},
        }});
        let made = with(
            &json!({"Body": {"items": {"$ref": "#/components/schemas/Inner"}},
            "Inner": object, "View": object, "Problem": object}),
        );
        let required = |name: &str| made["components"]["schemas"][name]["required"].clone();
        assert_eq!(required("View"), json!(["a", "b"]));
        assert_eq!(required("Inner"), json!(["a"]));
        assert_eq!(required("Problem"), json!(["a"]));
    }

    #[test]
    fn a_nullable_reference_has_the_type_of_its_schema() {
        let reference = json!({"$ref": "#/components/schemas/Kind"});
        let made = with(&json!({
            "Kind": {"type": "string"},
            "View": {"properties": {"kind": {"description": "Its kind.", "nullable": true, "allOf": [
                reference, {"description": "Its kind.", "nullable": true}
            ]}}},
        }));
        let kind = &made["components"]["schemas"]["View"]["properties"]["kind"];
        let expected = json!({"type": "string", "description": "Its kind.", "nullable": true,
            "allOf": [reference]});
        assert_eq!(kind, &expected);
    }

    #[test]
    fn lists_and_user_ids_have_their_bounds() {
        let list = json!({"properties": {"items": {"type": "array"}}});
        let get = json!({
            "parameters": [
                {"name": "limit", "schema": {}},
                {"name": "userId", "schema": {"type": "integer"}},
            ],
            "responses": {"200": {"schema": {"$ref": "#/components/schemas/List"}}},
        });
        let made = completed(&json!({
            "paths": {"/a": {"get": get}},
            "components": {"schemas": {"List": list, "Other": list}},
        }));
        let schemas = &made["components"]["schemas"];
        assert_eq!(schemas["List"]["properties"]["items"]["maxItems"], 100);
        assert_eq!(schemas["Other"], list);
        let user = &made["paths"]["/a"]["get"]["parameters"][1]["schema"];
        assert_eq!(user["minimum"], 1);
        assert_eq!(user["maximum"], INTEGER_MAX);
    }
}
