//! The AsyncAPI document of the topics: which records they contain, and in which order. The document is a file. The
//! tests below compare it with the domain, and `tests/it/service/asyncapi.rs` compares it with real records.

/// The document, as JSON.
#[must_use]
pub const fn document() -> &'static str {
    include_str!("../../openapi/asyncapi.json").trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::document;
    use crate::domain::{
        CampaignEventType, Consumer, EventType, Kind, OrderStatus, State, Status, Topic,
    };

    fn parsed() -> Value {
        serde_json::from_str(document()).unwrap()
    }

    #[test]
    fn the_document_has_the_version_and_licence_of_the_package() {
        let info = &parsed()["info"];
        assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(info["license"]["name"], env!("CARGO_PKG_LICENSE"));
    }

    #[test]
    fn the_document_names_the_topics_of_the_streams() {
        let channels = &parsed()["channels"];
        for (name, stream) in [
            ("participation", Topic::Participation),
            ("campaign", Topic::Campaign),
            ("order", Topic::Order),
        ] {
            assert_eq!(channels[name]["address"], stream.name("{prefix}"));
            let dead_letters = &channels[format!("{name}DeadLetters")];
            assert_eq!(dead_letters["address"], stream.dead_letter_name("{prefix}"));
        }
        for (name, consumer) in [("Points", Consumer::Points), ("Coupons", Consumer::Coupons)] {
            let dead_letters = &channels[format!("participation{name}DeadLetters")];
            let address = Topic::Participation.dead_letter_name_of(consumer, "{prefix}");
            assert_eq!(dead_letters["address"], address);
        }
        let all = Topic::names("{prefix}");
        assert_eq!(channels.as_object().unwrap().len(), all.len());
    }

    #[test]
    fn the_document_names_every_status_and_event_type() {
        let statuses = [
            Status::Reserved,
            Status::Confirmed,
            Status::Cancelled,
            Status::Expired,
        ];
        let document = parsed();
        let schemas = &document["components"]["schemas"];
        let words = statuses.map(Status::as_str);
        assert_eq!(
            schemas["participation"]["properties"]["status"]["enum"],
            json!(words)
        );
        let types = statuses.map(|status| EventType(status).as_str());
        assert_eq!(
            schemas["eventHeaders"]["properties"]["ce_type"]["enum"],
            json!(types)
        );
        let example = &document["components"]["messages"]["participationChanged"]["examples"][0];
        let confirmed = Status::Confirmed;
        assert_eq!(example["headers"]["ce_type"], EventType(confirmed).as_str());
        assert_eq!(example["payload"]["status"], confirmed.as_str());
    }

    #[test]
    fn the_document_names_every_event_of_campaigns_with_an_example() {
        let document = parsed();
        let schemas = &document["components"]["schemas"];
        let types = CampaignEventType::ALL.map(CampaignEventType::ce_type);
        let headers = &schemas["campaignEventHeaders"]["properties"];
        assert_eq!(headers["ce_type"]["enum"], json!(types));
        let properties = &schemas["campaign"]["properties"];
        assert_eq!(properties["kind"]["enum"], json!(Kind::WORDS));
        assert_eq!(properties["state"]["enum"], json!(State::WORDS));
        let examples = &document["components"]["messages"]["campaignChanged"]["examples"];
        let examples = examples.as_array().unwrap();
        let mut described: Vec<&str> = examples
            .iter()
            .filter_map(|example| example["headers"]["ce_type"].as_str())
            .collect();
        let mut types: Vec<&str> = types.iter().map(String::as_str).collect();
        described.sort_unstable();
        types.sort_unstable();
        assert_eq!(described, types);
    }

    #[test]
    fn the_document_names_every_event_of_orders_with_an_example() {
        let document = parsed();
        let schemas = &document["components"]["schemas"];
        let announced = OrderStatus::ALL.into_iter();
        let announced = announced.filter(|status| status.event_type().is_some());
        let (words, types): (Vec<_>, Vec<_>) = announced
            .map(|status| (status.as_str(), status.event_type()))
            .unzip();
        let headers = &schemas["orderEventHeaders"]["properties"];
        assert_eq!(headers["ce_type"]["enum"], json!(types));
        assert_eq!(
            schemas["order"]["properties"]["status"]["enum"],
            json!(words)
        );
        let examples = &document["components"]["messages"]["orderChanged"]["examples"];
        let examples = examples.as_array().unwrap().iter();
        let described: Vec<&Value> = examples.map(|one| &one["headers"]["ce_type"]).collect();
        assert_eq!(json!(described), json!(types));
    }
}
