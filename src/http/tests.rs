//! The OpenAPI document: stable, complete, and true to how bodies are read.

use serde_json::{Map, Value, json};

use super::admin::account_requests::AccountDraft;
use super::admin::campaign_requests::{Change, Draft};
use super::admin::coupons::Redemption;
use super::admin::dead_letter_selection::Selection;
use super::admin::simulation_requests::{Bulk, Load};
use super::fields::{INTEGER_MAX, RequestObject, read};
use super::participations::ParticipationRequest;
use super::routes::{Routes, Target};
use super::sessions::LogIn;
use super::{openapi_document, pages};
use crate::access::accounts;
use crate::domain::CampaignId;
use crate::parts::store::Order;
use crate::runtime::telemetry::Telemetry;
use crate::sale::changes::Payment;

fn document() -> Value {
    serde_json::from_str(&openapi_document()).unwrap()
}

/// What a part of the document refers to, or the part.
pub(super) fn resolved<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    let path = part["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix('#'));
    path.map_or(part, |path| document.pointer(path).unwrap())
}

#[test]
fn the_document_is_the_same_in_every_run() {
    assert_eq!(openapi_document(), openapi_document());
}

#[test]
fn the_document_names_no_machine() {
    let document = document();
    assert_eq!(document["servers"], json!([{"url": "/"}]));
    let text = document.to_string();
    for place in ["/home/", "/tmp/", "/root/", "localhost", "127.0.0.1"] {
        assert!(!text.contains(place), "{place}");
    }
}

#[test]
fn every_operation_is_there_with_its_problems() {
    let document = document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["operationId"].is_string(), "{method} {path}");
            assert!(operation["responses"]["503"].is_object(), "{method} {path}");
            if has_checked_parameters(operation) {
                assert!(operation["responses"]["422"].is_object(), "{method} {path}");
            }
            operations.push(format!("{method} {path}"));
        }
    }
    for expected in [
        "get /api/campaigns",
        "get /api/campaigns/{id}",
        "get /api/campaigns/{id}/stock",
        "get /api/campaigns/{id}/status",
        "get /api/campaigns/{id}/stream",
        "post /api/campaigns/{id}/participation",
        "post /api/campaigns/{id}/participation-sync",
        "get /api/participations/{id}",
        "get /api/users/{userId}/participations",
        "get /api/time",
        "post /api/admin/campaigns",
        "get /api/admin/campaigns",
        "get /api/admin/campaigns/{id}",
        "patch /api/admin/campaigns/{id}",
        "post /api/admin/campaigns/{id}/open",
        "post /api/admin/campaigns/{id}/pause",
        "post /api/admin/campaigns/{id}/close",
        "post /api/admin/campaigns/{id}/archive",
        "post /api/admin/campaigns/{id}/rebuild-gate",
        "get /api/admin/campaigns/{id}/participations",
        "get /api/admin/campaigns/{id}/participations.csv",
        "get /api/admin/participations/{id}/events",
        "get /api/admin/audit",
        "post /api/admin/accounts",
        "get /api/admin/accounts",
        "get /api/admin/accounts/{id}",
        "patch /api/admin/accounts/{id}",
        "post /api/session",
        "post /api/session/resume",
        "get /api/session",
        "delete /api/session",
        "get /api/admin/system",
        "get /api/admin/kafka/partitions",
        "post /api/admin/test/participate-bulk",
        "post /api/admin/test/load/async",
        "post /api/admin/test/load/sync",
        "get /api/admin/test/load/{jobId}",
        "post /api/admin/test/load/{jobId}/cancel",
        "get /api/admin/stats/raw",
        "get /api/admin/stats/daily",
        "get /api/admin/stats/campaign/{id}",
        "get /api/admin/stats/refusals/{id}",
        "get /api/admin/stats/order-analysis/{id}",
        "get /api/admin/stats/order-violations/{id}",
        "post /api/admin/batch/aggregate",
        "get /api/admin/batch/status/{jobExecutionId}",
        "get /api/admin/batch/history",
        "get /livez",
        "get /readyz",
    ] {
        assert!(operations.contains(&expected.to_owned()), "{expected}");
    }
}

/// Whether a parameter, beside headers, takes less than each text.
fn has_checked_parameters(operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let mut checked = parameters.filter(|parameter| parameter["in"] != "header");
    checked.any(|parameter| parameter["schema"] != json!({"type": "string"}))
}

#[test]
fn every_error_response_names_codes_of_its_status_that_have_examples() {
    let document = document();
    let examples = &document["components"]["examples"];
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status.as_str() < "400" {
                    continue;
                }
                let response = resolved(&document, response);
                let description = &response["description"];
                let content = &response["content"]["application/problem+json"];
                assert_eq!(
                    content["schema"]["$ref"], "#/components/schemas/Problem",
                    "{path}: {description}"
                );
                let codes = response["x-codes"].as_array();
                let codes = codes.unwrap_or_else(|| panic!("{path}: {description} names no code"));
                for code in codes {
                    let name = code.as_str().unwrap();
                    let example = &examples[name]["value"];
                    assert_eq!(&example["code"], code, "{path}: {description}");
                    assert_eq!(&example["status"].to_string(), status, "{path}: {name}");
                    assert!(content["examples"][name].is_object(), "{path}: {name}");
                }
            }
        }
    }
}

#[test]
fn the_schema_of_problems_has_the_members_of_all_examples() {
    let document = document();
    let schema = &document["components"]["schemas"]["Problem"];
    for (code, example) in document["components"]["examples"].as_object().unwrap() {
        for member in example["value"].as_object().unwrap().keys() {
            assert!(schema["properties"][member].is_object(), "{code}: {member}");
        }
        for member in schema["required"].as_array().unwrap() {
            let member = member.as_str().unwrap();
            assert!(!example["value"][member].is_null(), "{code}: {member}");
        }
    }
}

#[test]
fn every_operation_has_a_description_and_a_described_tag() {
    let document = document();
    let tags = document["tags"].as_array().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["description"].is_string(), "{method} {path}");
            let [tag] = &operation["tags"].as_array().unwrap()[..] else {
                panic!("{method} {path} has no tag, or several");
            };
            let known = tags.iter().find(|known| known["name"] == *tag);
            assert!(known.unwrap()["description"].is_string(), "{tag}");
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id), "{method} {path}");
        }
    }
}

#[test]
fn only_admin_operations_accept_the_admin_token() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let only_admin = operation["security"] == json!([{"admin": []}, {"session": []}]);
            assert_eq!(only_admin, path.starts_with("/api/admin/"), "{path}");
        }
    }
}

/// Reads bodies made from the schema and answers with the rejected fields.
fn refused<T: RequestObject>(body: Value) -> Vec<String> {
    match read::<T>(body) {
        Ok(_) => Vec::new(),
        Err(problem) => problem
            .errors
            .into_iter()
            .map(|error| error.field)
            .collect(),
    }
}

/// A bound as an integer; the largest one loses its last bit when it is read from the document.
#[allow(
    clippy::cast_possible_truncation,
    reason = "bounds are whole numbers within i64"
)]
fn whole(bound: f64) -> i64 {
    let largest = i64::try_from(INTEGER_MAX).unwrap();
    let bound = bound as i64;
    if largest - bound <= 1 { largest } else { bound }
}

/// Compares a body's schema with its reader: the same fields, required ones, bounds, nulls and a working example.
fn agree<T: RequestObject>() {
    let name = T::NAME;
    let document = document();
    let schema = &document["components"]["schemas"][name];
    let example = schema["example"].as_object().unwrap().clone();
    assert_eq!(refused::<T>(json!(example)), Vec::<String>::new());

    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().map(|name| name.as_str().unwrap()).collect())
        .unwrap_or_default();
    assert_eq!(refused::<T>(json!({})), required);

    for (field, property) in schema["properties"].as_object().unwrap() {
        let with = |value: Value| {
            let mut body: Map<String, Value> = example.clone();
            body.insert(field.clone(), value);
            refused::<T>(json!(body))
        };
        let wrong = vec![field.clone()];
        assert!(!with(json!({"no": 1})).is_empty(), "{name}.{field}");
        if property["nullable"] == json!(true) {
            assert!(with(Value::Null).is_empty(), "{name}.{field} may be null");
        }
        for (bound, step) in [("minimum", -1), ("maximum", 1)] {
            if let Some(at) = property[bound].as_f64().map(whole) {
                assert!(with(json!(at)).is_empty(), "{name}.{field} at {at}");
                assert_eq!(with(json!(at + step)), wrong, "{name}.{field} past {at}");
            }
        }
        if let Some(most) = property["maxLength"].as_u64() {
            let most = usize::try_from(most).unwrap();
            let letters = if property["pattern"].is_string() {
                "abcdefgh"
            } else {
                "äbcdefgh"
            };
            let text = |length| letters.chars().cycle().take(length).collect::<String>();
            assert!(with(json!(text(most))).is_empty(), "{name}.{field}");
            assert_eq!(with(json!(text(most + 1))), wrong, "{name}.{field}");
        }
    }
}

#[test]
fn bodies_are_parsed_as_documented() {
    agree::<Draft>();
    agree::<Change>();
    agree::<ParticipationRequest>();
    agree::<Payment>();
    agree::<Order>();
    agree::<Redemption>();
    agree::<Bulk>();
    agree::<Load>();
    agree::<AccountDraft>();
    agree::<accounts::Change>();
    agree::<accounts::PasswordChange>();
    agree::<LogIn>();
}

#[test]
fn a_selection_of_dead_letters_is_parsed_as_documented() {
    let document = document();
    let example = &document["components"]["schemas"]["DeadLetterSelection"]["example"];
    assert!(read::<Selection>(example.clone()).is_ok());
    assert_eq!(refused::<Selection>(json!({})), ["all"]);
}

#[test]
fn the_target_of_a_path_contains_its_campaign() {
    let routes = Routes::new(&openapi_document(), &pages::PAGES, &Telemetry::new().http);
    let target = |path: &str| routes.find(&format!("/api/{path}")).target;
    for (path, expected) in [
        (
            "campaigns/7/participation",
            Target::Participation(CampaignId(7)),
        ),
        (
            "campaigns/7/participation-sync",
            Target::SyncParticipation(CampaignId(7)),
        ),
        ("admin/campaigns/7/allow-list", Target::AllowList),
        ("participations/7/confirm", Target::Change),
        ("participations/7/cancel", Target::Change),
        ("participations/7", Target::Other),
        ("campaigns/7", Target::Other),
        ("campaigns/+1/participation", Target::Other),
        ("campaigns/0001/participation", Target::Other),
        ("campaigns/%31/participation", Target::Other),
    ] {
        assert_eq!(target(path), expected, "{path}");
    }
}
