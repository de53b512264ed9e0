//! What a server believes of its group.

use std::time::Duration;

use crate::server::row_within;

/// How long a server is asked for its view of the group.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// A server's own state and role, whether it accepts writes, the port of the primary, and the numbers of members that
/// it reaches, that are complete, and that it knows.
const VIEW: &str = "SELECT \
     COALESCE(MAX(IF(member_id = @@server_uuid, member_state, NULL)), 'OFFLINE'), \
     COALESCE(MAX(IF(member_id = @@server_uuid, member_role, NULL)), ''), \
     CAST(@@super_read_only AS CHAR), \
     CAST(COALESCE(MAX(IF(member_role = 'PRIMARY', member_port, NULL)), 0) AS CHAR), \
     CAST(COALESCE(SUM(member_state IN ('ONLINE', 'RECOVERING')), 0) AS CHAR), \
     CAST(COALESCE(SUM(member_state = 'ONLINE'), 0) AS CHAR), \
     CAST(COUNT(*) AS CHAR) \
     FROM performance_schema.replication_group_members";

/// What a server believes of its group.
#[derive(Clone, Debug)]
pub struct View {
    pub state: String,
    role: String,
    is_read_only: bool,
    primary_port: u16,
    /// Members that it reaches.
    pub reached: u32,
    /// Members that are complete.
    pub online: u32,
    /// Members that it knows.
    pub members: u32,
}

impl View {
    /// Asks the server at this port; none: no answer in time.
    pub async fn of(port: u16) -> Option<Self> {
        let address = ([127, 0, 0, 1], port).into();
        let row = row_within(ANSWER_MAX, address, VIEW).await?;
        let [
            state,
            role,
            read_only,
            primary_port,
            reached,
            online,
            members,
        ] = row.try_into().ok()?;
        Some(Self {
            state,
            role,
            is_read_only: read_only == "1",
            primary_port: primary_port.parse().ok()?,
            reached: reached.parse().ok()?,
            online: online.parse().ok()?,
            members: members.parse().ok()?,
        })
    }

    /// The port of the primary, if the server belongs to the group and reaches most members.
    pub fn primary_port(&self) -> Option<u16> {
        let is_member = self.state == "ONLINE" && self.reached * 2 > self.members;
        (is_member && self.primary_port > 0).then_some(self.primary_port)
    }

    /// Whether the server is the primary of most members, and accepts writes.
    pub fn is_primary(&self) -> bool {
        self.role == "PRIMARY" && !self.is_read_only && self.primary_port().is_some()
    }
}
