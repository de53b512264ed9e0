//! Fuzz target: any record that somebody with write access to the topic can write.

use super::record::change;
use crate::parts::broker::Delivered;

/// A record is a possible change, or poison.
pub fn record(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let head = parts.next().unwrap_or_default();
    let payload = parts.next().map(<[u8]>::to_vec);
    let headers = head.split(|byte| *byte == b'\n').map(|header| {
        let mut parts = header.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default());
        (name.into_owned(), parts.next().map(<[u8]>::to_vec))
    });
    let record = Delivered {
        headers: headers.collect(),
        payload,
        ..Delivered::default()
    };
    if let Ok(change) = change(&record) {
        assert!(change.sequence > 0 && change.quantity > 0 && change.campaign.0 > 0);
        assert!(change.user.0 > 0, "{change:?}");
        let subject = record.header("ce_subject").unwrap_or_default();
        assert_eq!(subject.parse::<uuid::Uuid>(), Ok(change.participation.0));
    }
}
