//! The building blocks of operations: their parameters, bodies, responses and problems.

pub(super) use poem::Request;
pub(super) use poem_openapi::OpenApi;
pub(super) use poem_openapi::param::{Path, Query};

pub(super) use super::Section;
pub(super) use super::app::AppRef;
pub(super) use super::auth::{Admin, Caller};
pub(super) use super::created::{Created, Resource};
pub(super) use super::fields::{INTEGER_MAX, request_object};
pub(super) use super::json::{Json, JsonRequest};
pub(super) use super::page::{Page, page_cursor, page_limit};
pub(super) use super::problem::{Failure, Problem, documented, kind};
pub(super) use super::reads::{self, Read, by_admin};
pub(super) use super::views::{list, view};
pub(super) use super::words::{Word, vocabulary};

documented! {
    AdminReading: [ADMIN] {}
}
