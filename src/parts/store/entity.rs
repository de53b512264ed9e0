//! The tables as the object mapper sees them. Nothing outside `store` names these.

pub mod campaign;
pub mod participation;
